package events

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/object"
)

// attributes are those of a notification, changed by pairs; "-" takes one away.
func attributes(pairs ...string) map[string]string {
	a := map[string]string{"bucketId": "b", "objectId": "k", "objectGeneration": "17", "eventType": "OBJECT_FINALIZE",
		"eventTime": "2026-01-02T03:04:05.678Z", "payloadFormat": "JSON_API_V1", "notificationConfig": "projects/_/buckets/b/notificationConfigs/1"}
	for i := 0; i < len(pairs); i += 2 {
		a[pairs[i]] = pairs[i+1]
	}
	maps.DeleteFunc(a, func(_, v string) bool { return v == "-" })
	return a
}

func TestParsePubSub(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	made := func(change ...func(*Notice)) []Notice {
		n := Notice{Vendor: "gs", Container: "b", Key: "k", Version: "17", Size: -1, Time: at, Event: "OBJECT_FINALIZE"}
		for _, c := range change {
			c(&n)
		}
		return []Notice{n}
	}
	key := func(k string) []Notice { return made(func(n *Notice) { n.Key = k }) }
	size := func(s int64) []Notice { return made(func(n *Notice) { n.Size = s }) }
	long := strings.Repeat("k", 1024)
	cases := []struct {
		name  string
		attr  map[string]string
		data  string
		want  []Notice
		words string
	}{
		{name: "no payload", attr: attributes(), want: made()},
		{name: "payload", attr: attributes(), data: `{"kind":"storage#object","bucket":"b","name":"k","generation":"17","size":"12","metadata":{"a":"1"}}`, want: size(12)},
		{name: "size as a number", attr: attributes(), data: `{"bucket":"b","name":"k","generation":17,"size":12}`, want: size(12)},
		{name: "size that is none", attr: attributes(), data: `{"bucket":"b","name":"k","size":"many"}`, want: made()},
		{name: "size below zero", attr: attributes(), data: `{"size":"-3"}`, want: made()},
		{name: "size of another type", attr: attributes(), data: `{"size":[1]}`, want: made()},
		{name: "empty object for payload", attr: attributes(), data: `{}`, want: made()},
		{name: "deleted", attr: attributes("eventType", "OBJECT_DELETE"), data: `{"size":"12"}`,
			want: made(func(n *Notice) { n.Op, n.Event = object.Delete, "OBJECT_DELETE" })},
		{name: "overwritten", attr: attributes("eventType", "OBJECT_DELETE", "overwrittenByGeneration", "18"),
			want: made(func(n *Notice) { n.Op, n.Event = object.Delete, "OBJECT_DELETE" })},
		{name: "archived", attr: attributes("eventType", "OBJECT_ARCHIVE"), data: `{"size":"12"}`,
			want: made(func(n *Notice) { n.Version, n.Event = "", "OBJECT_ARCHIVE" })},
		{name: "metadata", attr: attributes("eventType", "OBJECT_METADATA_UPDATE")},
		{name: "an event of tomorrow", attr: attributes("eventType", "OBJECT_DREAMT")},
		{name: "no event", attr: attributes("eventType", "-"), words: "eventType"},
		{name: "no attributes", words: "container"},
		{name: "no bucket", attr: attributes("bucketId", "-"), words: "container"},
		{name: "empty bucket", attr: attributes("bucketId", ""), words: "container"},
		{name: "bucket that is a path", attr: attributes("bucketId", "a/b"), words: "container"},
		{name: "bucket with a zero byte", attr: attributes("bucketId", "a\x00"), words: "container"},
		{name: "bucket too long", attr: attributes("bucketId", strings.Repeat("b", 300)), words: "container"},
		{name: "no key", attr: attributes("objectId", "-"), words: "no key"},
		{name: "key is not decoded", attr: attributes("objectId", "a+b%20c%2520"), want: key("a+b%20c%2520")},
		{name: "key of dots", attr: attributes("objectId", "../../etc"), want: key("../../etc")},
		{name: "key with a slash first", attr: attributes("objectId", "/k"), want: key("/k")},
		{name: "key with control characters", attr: attributes("objectId", "a\n\x1b"), want: key("a\n\x1b")},
		{name: "key with a zero byte", attr: attributes("objectId", "a\x00"), words: "zero"},
		{name: "key that is not UTF-8", attr: attributes("objectId", "a\xff"), want: key("a\xff")},
		{name: "key of 1,024 bytes", attr: attributes("objectId", long), want: key(long)},
		{name: "key too long", attr: attributes("objectId", strings.Repeat("k", MaxKey+1)), words: "bytes"},
		{name: "no generation", attr: attributes("objectGeneration", "-"), want: made(func(n *Notice) { n.Version = "" })},
		{name: "generation that is no number", attr: attributes("objectGeneration", "17x"), words: "17x"},
		{name: "generation below zero", attr: attributes("objectGeneration", "-17"), words: "-17"},
		{name: "generation without end", attr: attributes("objectGeneration", strings.Repeat("1", 40)), words: "no number"},
		{name: "no time", attr: attributes("eventTime", "-"), want: made(func(n *Notice) { n.Time = time.Time{} })},
		{name: "time that is none", attr: attributes("eventTime", "today"), want: made(func(n *Notice) { n.Time = time.Time{} })},
		{name: "payload of another bucket", attr: attributes(), data: `{"bucket":"other","name":"k"}`, words: "another object"},
		{name: "payload of another key", attr: attributes(), data: `{"bucket":"b","name":"l"}`, words: "another object"},
		{name: "payload of another generation", attr: attributes(), data: `{"generation":"18"}`, words: "another object"},
		{name: "payload with a number for a bucket", attr: attributes(), data: `{"bucket":1}`, words: "bucket"},
		{name: "payload with a list for a name", attr: attributes(), data: `{"name":["k"]}`, words: "name"},
		{name: "payload with the name twice", attr: attributes(), data: `{"name":"k","name":"k"}`, words: "twice"},
		{name: "payload with the name twice in two cases", attr: attributes(), data: `{"name":"k","Name":"l"}`, words: "twice"},
		{name: "payload that is an array", attr: attributes(), data: `[{}]`, words: "array"},
		{name: "metadata may say what it likes below", attr: attributes(), data: `{"metadata":{"Owner":"1","owner":"2"}}`, want: made()},
	}
	malformed := 0
	for _, b := range broken()[1:] { // an empty payload is none
		b.words = "invalid"
		cases = append(cases, struct {
			name  string
			attr  map[string]string
			data  string
			want  []Notice
			words string
		}{b.name, attributes(), b.body, nil, b.words})
	}
	for _, c := range cases {
		if c.words != "" {
			malformed++
		}
		// The shape of check: a message is what its attributes and payload are.
		one := vector{name: c.name, want: c.want, words: c.words}
		checkOne(t, one, func([]byte) ([]Notice, error) { return ParsePubSub(c.attr, []byte(c.data)) })
	}
	t.Logf("cases=%d malformed=%d", len(cases), malformed)
	if malformed < 40 {
		t.Errorf("only %d malformed", malformed)
	}
}

func FuzzParsePubSub(f *testing.F) {
	f.Add("b", "k", "17", "OBJECT_FINALIZE", []byte(`{"bucket":"b","name":"k","generation":"17","size":"12"}`))
	f.Add("b", "a/b", "", "OBJECT_DELETE", []byte(nil))
	f.Add("b", "a\xff", "0", "OBJECT_ARCHIVE", []byte(`{}`))
	f.Fuzz(func(t *testing.T, bucket, key, generation, event string, data []byte) {
		got, err := ParsePubSub(attributes("bucketId", bucket, "objectId", key, "objectGeneration", generation, "eventType", event), data)
		sane(t, "gs", got, err)
		for _, n := range got {
			if n.Container != bucket || n.Key != key || n.Version != "" && n.Version != generation {
				t.Errorf("notice %+v", n)
			}
			var p map[string]any
			if len(data) > 0 && json.Unmarshal(data, &p) != nil {
				t.Errorf("read a payload that is no object: %q", data)
			}
		}
	})
}
