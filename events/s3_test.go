package events

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A vector is a message and what must come of it: notices, words of a fault, or
// both where a part made sense.
type vector struct {
	name  string
	body  string
	want  []Notice
	words string // of a fault.Invalid; "" = none
}

// check runs the vectors of a parser.
func check(t *testing.T, parse func([]byte) ([]Notice, error), vectors []vector) {
	t.Helper()
	malformed := 0
	for _, v := range vectors {
		if v.words != "" {
			malformed++
		}
		checkOne(t, v, parse)
	}
	t.Logf("cases=%d malformed=%d", len(vectors), malformed)
	if malformed < 40 {
		t.Errorf("only %d malformed", malformed)
	}
}

func checkOne(t *testing.T, v vector, parse func([]byte) ([]Notice, error)) {
	t.Helper()
	got, err := parse([]byte(v.body))
	if v.words != "" {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), v.words) || !cmp.Equal(got, v.want) {
			t.Errorf("%s: %v, %v, want %v and words %q", v.name, got, err, v.want, v.words)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", v.name, err)
	}
	if diff := cmp.Diff(v.want, got); diff != "" {
		t.Errorf("%s: want -, got +\n%s", v.name, diff)
	}
}

// broken are messages that no parser may read, as they are no messages.
func broken() []vector {
	return []vector{
		{name: "nothing", body: "", words: "not JSON"},
		{name: "blanks", body: " \n", words: "not JSON"},
		{name: "half", body: `{"Records":[`, words: "not JSON"},
		{name: "two", body: `{}{}`, words: "not JSON"},
		{name: "xml", body: `<a/>`, words: "not JSON"},
		{name: "a number", body: `1`, words: "neither"},
		{name: "null", body: `null`, words: "neither"},
		{name: "a text", body: `"Records"`, words: "neither"},
		{name: "byte order mark", body: "\xef\xbb\xbf{}", words: "not JSON"},
		{name: "not UTF-8", body: "{\"a\":\"\xff\"}", words: "UTF-8"},
		{name: "UTF-16", body: "{\x00}\x00", words: "not JSON"},
		{name: "control character", body: "{\"a\":\"\x01\"}", words: "not JSON"},
		{name: "deep", body: strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), words: "deeper"},
		{name: "deep array", body: strings.Repeat("[", 9000) + strings.Repeat("]", 9000), words: "deeper"},
		{name: "deeper than any reader goes", body: strings.Repeat("[", 400000) + strings.Repeat("]", 400000), words: "not JSON"},
		{name: "huge", body: `{"a":"` + strings.Repeat("x", MaxBody) + `"}`, words: "bytes"},
		{name: "member twice", body: `{"a":1,"a":2}`, words: "twice"},
		{name: "member twice in other case", body: `{"Records":[],"records":[]}`, words: "twice"},
		{name: "member twice, escaped", body: `{"key":1,"\u006bey":2}`, words: "twice"},
		{name: "member twice, folded", body: `{"key":1,"\u212aey":2}`, words: "twice"},
		{name: "half a surrogate", body: `{"a":"\ud800"}`, words: "surrogate"},
		{name: "low half first", body: `{"a":"\udc00\ud800"}`, words: "surrogate"},
	}
}

func awsRecord(version, name, bucket, key, more string) string {
	k, _ := json.Marshal(key)
	return fmt.Sprintf(`{"eventVersion":%q,"eventSource":"aws:s3","awsRegion":"eu-central-1","eventTime":"2026-01-02T03:04:05.678Z","eventName":%q,
		"s3":{"s3SchemaVersion":"1.0","configurationId":"x","bucket":{"name":%q,"arn":"arn:aws:s3:::%s"},"object":{"key":%s,"sequencer":"00"%s}}}`, version, name, bucket, bucket, k, more)
}

func records(r ...string) string { return `{"Records":[` + strings.Join(r, ",") + `]}` }

func TestParseS3(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	made := func(key string) Notice {
		return Notice{Vendor: "s3", Container: "b", Key: key, Size: -1, Time: at, Event: "ObjectCreated:Put"}
	}
	one := func(n Notice) []Notice { return []Notice{n} }
	put := func(key string) string { return awsRecord("2.1", "ObjectCreated:Put", "b", key, "") }
	full := Notice{Vendor: "s3", Container: "b", Key: "k", Version: "v1", Size: 12, Time: at, Event: "ObjectCreated:Put"}
	deleted := Notice{Vendor: "s3", Container: "b", Key: "k", Op: object.Delete, Version: "v1", Size: -1, Time: at, Event: "ObjectRemoved:Delete"}
	marker := Notice{Vendor: "s3", Container: "b", Key: "k", Op: object.Delete, Size: -1, Time: at, Event: "ObjectRemoved:DeleteMarkerCreated"}
	sns := func(message string) string {
		b, _ := json.Marshal(message)
		return `{"Type":"Notification","MessageId":"1","TopicArn":"arn:aws:sns:x:1:t","Subject":"Amazon S3 Notification","Message":` + string(b) + `,"Timestamp":"2026-01-02T03:04:05.678Z"}`
	}
	bridge := func(detailType, detail string) string {
		return `{"version":"0","id":"1","detail-type":"` + detailType + `","source":"aws.s3","account":"1","time":"2026-01-02T03:04:05.678Z","region":"x","resources":["arn:aws:s3:::b"],"detail":` + detail + `}`
	}
	long := strings.Repeat("k", 1024)
	many := make([]string, MaxNotices+1)
	for i := range many {
		many[i] = put("k")
	}
	vectors := append(broken(), []vector{
		{name: "plain", body: records(put("k")), want: one(made("k"))},
		{name: "all hints", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"size":12,"versionId":"v1","eTag":"x"`)), want: one(full)},
		{name: "each of several", body: records(put("a"), put("b")), want: []Notice{made("a"), made("b")}},
		{name: "a later minor", body: records(awsRecord("2.99", "ObjectCreated:Put", "b", "k", "")), want: one(made("k"))},
		{name: "another major", body: records(awsRecord("3.0", "ObjectCreated:Put", "b", "k", "")), words: `"3.0"`},
		{name: "another major after a good record", body: records(put("k"), awsRecord("1.0", "ObjectCreated:Put", "b", "k", "")), want: one(made("k")), words: `"1.0"`},
		{name: "version of no form", body: records(awsRecord("2.x", "ObjectCreated:Put", "b", "k", "")), words: "2.x"},
		{name: "no version", body: records(awsRecord("", "ObjectCreated:Put", "b", "k", "")), words: "version"},
		{name: "key with plus and percent", body: records(put("a+b%2Bc%25d/%C3%A4")), want: one(made("a b+c%d/ä"))},
		{name: "key encoded twice is decoded once", body: records(put("a%252Fb")), want: one(made("a%2Fb"))},
		{name: "key badly encoded", body: records(put("a%zz")), words: "form-urlencoded"},
		{name: "key cut off in a code", body: records(put("a%2")), words: "form-urlencoded"},
		{name: "key of bytes", body: records(put("a%ff")), want: one(made("a\xff"))},
		{name: "key with control characters", body: records(put("a%0A%1B")), want: one(made("a\n\x1b"))},
		{name: "key with a zero byte", body: records(put("a%00")), words: "zero"},
		{name: "key of dots", body: records(put("..%2F..%2Fetc")), want: one(made("../../etc"))},
		{name: "key of 1,024 bytes", body: records(put(long)), want: one(made(long))},
		{name: "key of 1,024 encoded bytes", body: records(put(strings.Repeat("%C3%A4", 512))), want: one(made(strings.Repeat("ä", 512)))},
		{name: "key too long", body: records(put(strings.Repeat("k", MaxKey+1))), words: "bytes"},
		{name: "no key", body: records(put("")), words: "no key"},
		{name: "no bucket", body: records(awsRecord("2.1", "ObjectCreated:Put", "", "k", "")), words: "container"},
		{name: "bucket that is a path", body: records(awsRecord("2.1", "ObjectCreated:Put", "a/b", "k", "")), words: "container"},
		{name: "no event name", body: records(awsRecord("2.1", "", "b", "k", "")), words: "eventName"},
		{name: "key of another type", body: `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":7}}}]}`, words: "key"},
		{name: "bucket of another type", body: `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":["b"],"object":{"key":"k"}}}]}`, words: "bucket"},
		{name: "version id of another type", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"versionId":1`)), words: "versionId"},
		{name: "size that is a text", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"size":"many"`)), want: one(made("k"))},
		{name: "size below zero", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"size":-5`)), want: one(made("k"))},
		{name: "size beyond all", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"size":1e400`)), want: one(made("k"))},
		{name: "size that is an object", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"size":{"a":1}`)), want: one(made("k"))},
		{name: "records of another type", body: `{"Records":{"0":1}}`, words: "Records"},
		{name: "records of null", body: `{"Records":[null]}`, words: "version"},
		{name: "null for records", body: `{"Records":null}`, words: "neither"},
		{name: "no records", body: `{"Records":[]}`, words: "0 records"},
		{name: "too many records", body: records(many...), words: "1001 records"},
		{name: "key twice", body: `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","key":"l"}}}]}`, words: "twice"},
		{name: "key twice in two cases", body: `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","KEY":"l"}}}]}`, words: "twice"},
		{name: "users' metadata say what they like", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"userMetadata":{"a":"1","a":"2"}`)), want: one(made("k"))},
		{name: "an array", body: `[` + records(put("k")) + `]`, words: "array"},
		{name: "something else", body: `{"a":1}`, words: "neither"},
		{name: "version deleted", body: records(awsRecord("2.1", "ObjectRemoved:Delete", "b", "k", `,"versionId":"v1"`)), want: one(deleted)},
		{name: "marker made", body: records(awsRecord("2.1", "ObjectRemoved:DeleteMarkerCreated", "b", "k", `,"versionId":"m1"`)), want: one(marker)},
		{name: "expired", body: records(awsRecord("2.3", "LifecycleExpiration:Delete", "b", "k", `,"versionId":"v1"`)),
			want: one(Notice{Vendor: "s3", Container: "b", Key: "k", Op: object.Delete, Version: "v1", Size: -1, Time: at, Event: "LifecycleExpiration:Delete"})},
		{name: "tags and lists say nothing", body: records(awsRecord("2.1", "ObjectTagging:Put", "b", "k", ""), awsRecord("2.1", "ObjectAcl:Put", "b", "k", ""), awsRecord("2.1", "s3:ObjectCreated:PutTagging", "b", "k", ""))},
		{name: "MinIO", body: `{"EventName":"s3:ObjectCreated:Put","Key":"b/dir/a b","Records":[` + strings.Replace(awsRecord("2.0", "s3:ObjectCreated:Put", "b", "dir%2Fa+b", ""), "aws:s3", "minio:s3", 1) + `]}`, want: one(made("dir/a b"))},
		{name: "Versity gateway writes keys as they are", body: strings.Replace(records(awsRecord("2.2", "s3:ObjectCreated:Put", "b", "a+b%20c", `,"versionId":null`)), "arn:aws:s3:::b", "arn:aws:s3:::/b/a+b%20c", 1), want: one(made("a+b%20c"))},
		{name: "null version", body: records(awsRecord("2.1", "ObjectCreated:Put", "b", "k", `,"versionId":"null"`)), want: one(made("k"))},
		{name: "time that is none", body: strings.Replace(records(put("k")), "2026-01-02T03:04:05.678Z", "yesterday", 1), want: one(Notice{Vendor: "s3", Container: "b", Key: "k", Size: -1, Event: "ObjectCreated:Put"})},
		{name: "test event", body: `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-02T03:04:05.678Z","Bucket":"b","RequestId":"1","HostId":"2"}`},
		{name: "SNS", body: sns(records(put("a+b"))), want: one(made("a b"))},
		{name: "SNS with a test event", body: sns(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`)},
		{name: "SNS with EventBridge", body: sns(bridge("Object Created", `{"bucket":{"name":"b"},"object":{"key":"a+b"}}`)), want: one(Notice{Vendor: "s3", Container: "b", Key: "a+b", Size: -1, Time: at, Event: "Object Created"})},
		{name: "SNS in SNS", body: sns(sns(records(put("k")))), words: "neither"},
		{name: "SNS with no JSON", body: sns("hello"), words: "not JSON"},
		{name: "SNS with deep JSON", body: sns(strings.Repeat("[", 99) + strings.Repeat("]", 99)), words: "deeper"},
		{name: "SNS of another type", body: strings.Replace(sns(records(put("k"))), "Notification", "SubscriptionConfirmation", 1), words: "Notification"},
		{name: "SNS message that is an object", body: `{"Type":"Notification","Message":{"Records":[]}}`, words: "Message"},
		{name: "EventBridge key is not decoded", body: bridge("Object Created", `{"version":"0","bucket":{"name":"b"},"object":{"key":"a+b%20c","size":5,"etag":"x","version-id":"v1","sequencer":"0"},"reason":"PutObject"}`),
			want: one(Notice{Vendor: "s3", Container: "b", Key: "a+b%20c", Version: "v1", Size: 5, Time: at, Event: "Object Created"})},
		{name: "EventBridge deletes", body: bridge("Object Deleted", `{"bucket":{"name":"b"},"object":{"key":"k","version-id":"v1"},"deletion-type":"Permanently Deleted"}`),
			want: one(Notice{Vendor: "s3", Container: "b", Key: "k", Op: object.Delete, Version: "v1", Size: -1, Time: at, Event: "Object Deleted"})},
		{name: "EventBridge makes a marker", body: bridge("Object Deleted", `{"bucket":{"name":"b"},"object":{"key":"k","version-id":"m1"},"deletion-type":"Delete Marker Created"}`),
			want: one(Notice{Vendor: "s3", Container: "b", Key: "k", Op: object.Delete, Size: -1, Time: at, Event: "Object Deleted"})},
		{name: "EventBridge tags", body: bridge("Object Tags Added", `{"bucket":{"name":"b"},"object":{"key":"k"}}`)},
		{name: "EventBridge without a type", body: bridge("", `{"bucket":{"name":"b"},"object":{"key":"k"}}`), words: "detail-type"},
		{name: "EventBridge detail of another type", body: bridge("Object Created", `["b","k"]`), words: "detail"},
		{name: "EventBridge detail of null", body: bridge("Object Created", `null`), words: "container"},
		{name: "EventBridge without a key", body: bridge("Object Created", `{"bucket":{"name":"b"},"object":{}}`), words: "no key"},
		{name: "EventBridge key with half a surrogate", body: bridge("Object Created", `{"bucket":{"name":"b"},"object":{"key":"\ud83d"}}`), words: "surrogate"},
		{name: "EventBridge key with a whole one", body: bridge("Object Created", `{"bucket":{"name":"b"},"object":{"key":"\ud83d\ude00"}}`), want: one(Notice{Vendor: "s3", Container: "b", Key: "😀", Size: -1, Time: at, Event: "Object Created"})},
	}...)
	check(t, ParseS3, vectors)
}

// sane is what holds for each notice, whatever the message.
func sane(t *testing.T, vendor string, got []Notice, err error) {
	t.Helper()
	if err != nil {
		if !fault.Is(err, fault.Invalid) || !utf8.ValidString(err.Error()) || len(err.Error()) > 2000 {
			t.Errorf("%d notices, %v", len(got), err)
		}
	}
	if len(got) > 2*MaxNotices {
		t.Errorf("%d notices", len(got))
	}
	for _, n := range got {
		if n.Vendor != vendor || n.Container == "" || n.Key == "" || len(n.Key) > MaxKey || strings.ContainsAny(n.Container, "/\x00") || n.Size < -1 || n.Event == "" ||
			n.Op != object.Look && n.Op != object.Delete {
			t.Errorf("notice %+v", n)
		}
	}
}

func FuzzParseS3(f *testing.F) {
	f.Add([]byte(records(awsRecord("2.1", "ObjectCreated:Put", "b", "a+b", `,"size":12,"versionId":"v1"`))))
	f.Add([]byte(`{"Type":"Notification","Message":"{\"Records\":[{\"eventVersion\":\"2.1\",\"eventName\":\"ObjectRemoved:Delete\",\"s3\":{\"bucket\":{\"name\":\"b\"},\"object\":{\"key\":\"k\"}}}]}"}`))
	f.Add([]byte(`{"detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{"key":"k\ud83d\ude00"}}}`))
	f.Add([]byte(`{"Event":"s3:TestEvent"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseS3(body)
		sane(t, "s3", got, err)
		if err != nil {
			return
		}
		// What was read is read again from a record made of it.
		for _, n := range got {
			if n.Op != object.Look {
				continue
			}
			again, err := ParseS3([]byte(records(awsRecord("2.1", "ObjectCreated:Put", "b", url.QueryEscape(n.Key), ""))))
			if err != nil || len(again) != 1 || again[0].Key != n.Key {
				t.Errorf("%q: %v, %v", n.Key, again, err)
			}
		}
	})
}
