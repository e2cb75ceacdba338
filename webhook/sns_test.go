package webhook

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

const (
	topic      = "arn:aws:sns:eu-central-1:123456789012:uploads"
	otherTopic = "arn:aws:sns:eu-central-1:999999999999:uploads"
	certAt     = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	certChina  = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-00ff.pem"
	certOld    = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0d.pem"
	certEarly  = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-ea.pem"
	certEC     = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-ec.pem"
	certSmall  = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-5a.pem"
	certPage   = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-aa.pem"
)

// certificate makes one in PEM, self-signed: who signs it is not looked at,
// since it comes over TLS from Amazon's host.
func certificate(t testing.TB, key crypto.Signer, from, to time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// snsPages are Amazon's, as a stand-in.
func snsPages(t testing.TB) map[string][]byte {
	year := 365 * 24 * time.Hour
	amazon := rsaKey(t, "amazon", 2048)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		certAt:    certificate(t, amazon, noon.Add(-year), noon.Add(year)),
		certChina: certificate(t, amazon, noon.Add(-year), noon.Add(year)),
		certOld:   certificate(t, amazon, noon.Add(-2*year), noon.Add(-year)),
		certEarly: certificate(t, amazon, noon.Add(time.Hour), noon.Add(year)),
		certEC:    certificate(t, ec, noon.Add(-year), noon.Add(year)),
		certSmall: certificate(t, rsaKey(t, "small", 1024), noon.Add(-year), noon.Add(year)),
		certPage:  []byte("<html>please log in</html>"),
	}
}

func snsOpen(t testing.TB) func(testing.TB) *bench {
	pages := snsPages(t)
	strangers := certificate(t, rsaKey(t, "stranger", 2048), noon.Add(-time.Hour), noon.Add(time.Hour))
	return func(t testing.TB) *bench {
		b := newBench(t,
			Hook{Name: "in", Kind: "sns", Options: map[string]string{"topics": topic + ", arn:aws-cn:sns:cn-north-1:123456789012:hochladen"}},
			Hook{Name: "tenant2", Kind: "sns", Options: map[string]string{"topics": otherTopic}})
		b.web.pages, b.web.other = maps.Clone(pages), strangers
		return b
	}
}

// An unsent message is an envelope that the test may still change.
type unsent map[string]string

func notify(changes ...string) unsent {
	e := unsent{"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": topic, "Subject": "Amazon S3 Notification",
		"Message": strings.Replace(s3Body, `"2.0"`, `"2.1"`, 1), "Timestamp": "2026-11-28T11:59:59.655Z", "SignatureVersion": "2", "SigningCertURL": certAt}
	return e.but(changes...)
}

func confirmMessage(changes ...string) unsent {
	e := unsent{"Type": "SubscriptionConfirmation", "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", "Token": "2336412f37fb687f5d51e6e2425", "TopicArn": topic,
		"Message": "You have chosen to subscribe.\nTo confirm, visit the SubscribeURL.", "Timestamp": "2026-11-28T11:59:59.655Z", "SignatureVersion": "1", "SigningCertURL": certAt,
		"SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=2336412f37fb687f5d51e6e2425"}
	return e.but(changes...)
}

// but changes members, given as name and value in turn; "-" takes one away.
func (e unsent) but(changes ...string) unsent {
	e = maps.Clone(e)
	for i := 0; i+1 < len(changes); i += 2 {
		if changes[i+1] == "-" {
			delete(e, changes[i])
		} else {
			e[changes[i]] = changes[i+1]
		}
	}
	return e
}

// text writes what Amazon signs, from the documentation and not by our code.
func (e unsent) text() string {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if e["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var b strings.Builder
	for _, n := range names {
		if v, ok := e[n]; ok {
			b.WriteString(n + "\n" + v + "\n")
		}
	}
	return b.String()
}

// by signs the message with key, in the version that it names.
func (e unsent) by(t testing.TB, key *rsa.PrivateKey) unsent {
	t.Helper()
	var sig []byte
	var err error
	if e["SignatureVersion"] == "1" {
		sum := sha1.Sum([]byte(e.text()))
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum[:])
	} else {
		sum := sha256.Sum256([]byte(e.text()))
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return e.but("Signature", base64.StdEncoding.EncodeToString(sig))
}

// call posts the message as SNS does.
func (e unsent) call() *http.Request {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // a map of strings
	}
	return post(string(body), "Content-Type", "text/plain; charset=UTF-8", snsTypeHeader, e["Type"], snsTopicHeader, e["TopicArn"], "User-Agent", "Amazon Simple Notification Service Agent")
}

func TestSNS(t *testing.T) {
	amazon, stranger := rsaKey(t, "amazon", 2048), rsaKey(t, "stranger", 2048)
	genuine := func() *http.Request { return notify().by(t, amazon).call() }
	signed := func(changes ...string) *http.Request { return notify(changes...).by(t, amazon).call() }
	after := func(changes ...string) *http.Request { return notify().by(t, amazon).but(changes...).call() }
	// A certificate of the attacker's own is at url: only the check of the URL keeps it out.
	at := func(url string) *http.Request { return notify("SigningCertURL", url).by(t, stranger).call() }
	raw := func(s string) *http.Request {
		return post(s, "Content-Type", "text/plain; charset=UTF-8", snsTypeHeader, "Notification", snsTopicHeader, topic)
	}
	v1, v2 := notify("SignatureVersion", "1").by(t, amazon), notify("SignatureVersion", "2").by(t, amazon)
	file := "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	vectors := append(anywhere(genuine), []vector{
		{"version 2", taken, 200, genuine()},
		{"version 1", taken, 200, signed("SignatureVersion", "1")},
		{"no subject", taken, 200, signed("Subject", "-")},
		{"an empty subject", taken, 200, signed("Subject", "")},
		{"of China", taken, 200, signed("TopicArn", "arn:aws-cn:sns:cn-north-1:123456789012:hochladen", "SigningCertURL", certChina)},
		{"an hour old", taken, 200, signed("Timestamp", "2026-11-28T11:00:00.000Z")},
		{"as JSON", taken, 200, with(genuine(), "Content-Type", "application/json")},
		{"without SNS's headers", taken, 200, without(without(genuine(), snsTypeHeader), snsTopicHeader)},
		{"EventBridge in SNS", taken, 200, signed("Message", `{"version":"0","detail-type":"Object Created","source":"aws.s3","time":"2026-11-28T11:59:00Z","detail":{"bucket":{"name":"inbox"},"object":{"key":"a+b","size":1,"sequencer":"00"},"reason":"PutObject"}}`)},
		{"a confirmation", silent, 200, confirmMessage().by(t, amazon).call()},
		{"an end of subscription", silent, 200, confirmMessage("Type", "UnsubscribeConfirmation").by(t, amazon).call()},
		{"S3's test event", silent, 200, signed("Message", `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}`)},

		{"a certificate over http", refused, 403, at("http://sns.eu-central-1.amazonaws.com" + file)},
		{"a certificate elsewhere", refused, 403, at("https://evil.example" + file)},
		{"amazonaws.com as a prefix", refused, 403, at("https://sns.eu-central-1.amazonaws.com.evil.example" + file)},
		{"a host that ends the same", refused, 403, at("https://evilsns.eu-central-1.amazonaws.com" + file)},
		{"a bucket named sns", refused, 403, at("https://sns.s3.eu-central-1.amazonaws.com" + file)},
		{"a bucket at S3", refused, 403, at("https://s3.eu-central-1.amazonaws.com/sns" + file)},
		{"no region", refused, 403, at("https://sns.amazonaws.com" + file)},
		{"two regions", refused, 403, at("https://sns.a.b.amazonaws.com" + file)},
		{"amazonaws.com.cn.evil", refused, 403, at("https://sns.cn-north-1.amazonaws.com.cn.evil.example" + file)},
		{"amazonaws-com", refused, 403, at("https://sns.eu-central-1.amazonaws-com" + file)},
		{"a letter that looks alike", refused, 403, at("https://sns.eu-central-1.аmazonaws.com" + file)},
		{"in upper case", refused, 403, at("https://SNS.eu-central-1.amazonaws.com" + file)},
		{"a dot at the end", refused, 403, at("https://sns.eu-central-1.amazonaws.com." + file)},
		{"a port", refused, 403, at("https://sns.eu-central-1.amazonaws.com:8443" + file)},
		{"the standard port", refused, 403, at("https://sns.eu-central-1.amazonaws.com:443" + file)},
		{"a user", refused, 403, at("https://sns.eu-central-1.amazonaws.com@evil.example" + file)},
		{"a user before the host", refused, 403, at("https://u@sns.eu-central-1.amazonaws.com" + file)},
		{"a backslash", refused, 403, at(`https://evil.example\sns.eu-central-1.amazonaws.com` + file)},
		{"a second line", refused, 403, at("https://evil.example/\nsns.eu-central-1.amazonaws.com" + file)},
		{"a fragment", refused, 403, at("https://evil.example#sns.eu-central-1.amazonaws.com" + file)},
		{"another file", refused, 403, at("https://sns.eu-central-1.amazonaws.com/mine.pem")},
		{"a query", refused, 403, at(certAt + "?Action=Publish")},
		{"an empty query", refused, 403, at(certAt + "?")},
		{"a path that climbs", refused, 403, at("https://sns.eu-central-1.amazonaws.com/x/.." + file)},
		{"a path encoded", refused, 403, at("https://sns.eu-central-1.amazonaws.com/%53impleNotificationService-00.pem")},
		{"no certificate", refused, 403, signed("SigningCertURL", "-")},
		{"a certificate that is not there", refused, 403, signed("SigningCertURL", "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-404.pem")},
		{"an expired certificate", refused, 403, signed("SigningCertURL", certOld)},
		{"a certificate of tomorrow", refused, 403, signed("SigningCertURL", certEarly)},
		{"a certificate of another algorithm", refused, 403, signed("SigningCertURL", certEC)},
		{"a certificate of 1024 bits", refused, 403, notify("SigningCertURL", certSmall).by(t, rsaKey(t, "small", 1024)).call()},
		{"a page instead of a certificate", refused, 503, signed("SigningCertURL", certPage)},

		{"signed by a stranger", refused, 403, notify().by(t, stranger).call()},
		{"version 2 said to be 1", refused, 403, v2.but("SignatureVersion", "1").call()},
		{"version 1 said to be 2", refused, 403, v1.but("SignatureVersion", "2").call()},
		{"version 3", refused, 403, signed("SignatureVersion", "3")},
		{"no version", refused, 403, signed("SignatureVersion", "-")},
		{"no signature", refused, 403, notify().call()},
		{"an empty signature", refused, 403, after("Signature", "")},
		{"half a signature", refused, 403, after("Signature", v2["Signature"][:100])},
		{"a signature in another alphabet", refused, 403, after("Signature", strings.Repeat("_-", 172))},
		{"another message's signature", refused, 403, notify("MessageId", "2").but("Signature", v2["Signature"]).call()},
		{"a message swapped", refused, 403, after("Message", strings.Replace(s3Body, "a+b", "evil", 1))},
		{"a subject added", refused, 403, notify("Subject", "-").by(t, amazon).but("Subject", "x").call()},
		{"a subject taken away", refused, 403, after("Subject", "-")},
		{"a timestamp swapped", refused, 403, after("Timestamp", "2026-11-28T11:59:58.000Z")},
		{"an id swapped", refused, 403, after("MessageId", "1")},
		{"a topic swapped", refused, 403, after("TopicArn", "arn:aws-cn:sns:cn-north-1:123456789012:hochladen")},
		{"a notification said to be a confirmation", refused, 0, after("Type", "SubscriptionConfirmation")},
		{"another tenant's topic", refused, 403, signed("TopicArn", otherTopic)},
		{"a topic that begins the same", refused, 403, signed("TopicArn", topic+"x")},
		{"no topic", refused, 403, signed("TopicArn", "-")},
		{"a type that is unknown", refused, 400, signed("Type", "Notice")},
		{"no type", refused, 400, signed("Type", "-")},
		{"stale", refused, 403, signed("Timestamp", "2026-11-28T10:59:59.000Z")},
		{"of the future", refused, 403, signed("Timestamp", "2026-11-28T12:05:01.000Z")},
		{"a timestamp that is none", refused, 400, signed("Timestamp", "yesterday")},
		{"a second line in the id", refused, 400, signed("MessageId", "1\nSubject\nx")},
		{"a second line in the subject", refused, 400, signed("Subject", "a\nTimestamp\nb")},
		{"the topic header of another", refused, 403, with(genuine(), snsTopicHeader, "arn:aws-cn:sns:cn-north-1:123456789012:hochladen")},
		{"the type header of another", refused, 403, with(genuine(), snsTypeHeader, "SubscriptionConfirmation")},
		{"the topic header twice", refused, 403, twice(genuine(), snsTopicHeader, topic)},
		{"the type header twice", refused, 403, twice(genuine(), snsTypeHeader, "Notification")},
		{"raw delivery", refused, 403, with(post(s3Body, "Content-Type", "text/plain"), snsRawHeader, "true")},
		{"records without an envelope", refused, 403, raw(s3Body)},
		{"an empty body", refused, 400, raw("")},
		{"no JSON", refused, 400, raw("Type=Notification")},
		{"deep", refused, 400, raw(deep(`"Type":"Notification",`))},
		{"members of other types", refused, 400, raw(`{"Type":"Notification","Message":{"a":1}}`)},
		{"two members Message", refused, 400, raw(`{"Type":"Notification","Message":"a","message":"b"}`)},
		{"a confirmation by a stranger", refused, 403, confirmMessage().by(t, stranger).call()},
		{"a confirmation of another topic", refused, 403, confirmMessage("TopicArn", otherTopic).by(t, amazon).call()},
		{"a confirmation that leads elsewhere", refused, 403, confirmMessage("SubscribeURL", "https://evil.example/?Action=ConfirmSubscription&TopicArn="+topic).by(t, amazon).call()},
		{"a confirmation over http", refused, 403, confirmMessage("SubscribeURL", "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="+topic).by(t, amazon).call()},
		{"a confirmation of another action", refused, 403, confirmMessage("SubscribeURL", "https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&TopicArn="+topic).by(t, amazon).call()},
		{"a confirmation for another topic", refused, 403, confirmMessage("SubscribeURL", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="+otherTopic).by(t, amazon).call()},
		{"a confirmation without its token", refused, 400, confirmMessage("Token", "-").by(t, amazon).call()},

		{"a message that is no event", buried, 200, signed("Message", "hello")},
		{"a message of an unknown version", buried, 200, signed("Message", strings.Replace(s3Body, `"eventVersion":"2.0"`, `"eventVersion":"3.0"`, 1))},
		{"a deep message", buried, 200, signed("Message", deep(`"Records":[],`))},
	}...)
	run(t, "sns", snsOpen(t), vectors)
}

// A certificate at a wrong place is not fetched, and a confirmation is never
// followed: a stranger's call makes no call of ours.
func TestSNSCallsNobody(t *testing.T) {
	open := snsOpen(t)
	amazon := rsaKey(t, "amazon", 2048)
	b := open(t)
	for _, url := range []string{"http://169.254.169.254/latest/meta-data", "https://evil.example/SimpleNotificationService-00.pem", "file:///etc/passwd", certAt + "#", ""} {
		if w := b.call(notify("SigningCertURL", url).by(t, amazon).call()); w.Code != http.StatusForbidden {
			t.Errorf("%q: %d", url, w.Code)
		}
	}
	if n := b.web.count(); n != 0 {
		t.Errorf("fetched %q", b.web.asked)
	}
	for range 3 {
		if w := b.call(confirmMessage().by(t, amazon).call()); w.Code != http.StatusOK {
			t.Fatal(w.Code)
		}
	}
	if n := b.web.count(); n != 1 || b.web.asked[0] != certAt {
		t.Errorf("fetched %q, want the certificate alone, once", b.web.asked)
	}
	s := b.Status()[0]
	if len(s.Confirm) != 1 || s.Confirm[0].Topic != topic || s.Confirm[0].URL != confirmMessage()["SubscribeURL"] {
		t.Errorf("status %+v, want the confirmation", s)
	}
	if strings.Contains(b.log.String(), "2336412f37fb687f5d51e6e2425") {
		t.Error("the log holds the token that confirms")
	}
	if !strings.Contains(b.log.String(), "SNS asks to confirm") {
		t.Error("the log says nothing of the confirmation")
	}
	if w := b.call(notify().by(t, amazon).call()); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
	if s := b.Status()[0]; len(s.Confirm) != 0 {
		t.Errorf("status %+v: a topic that notifies is confirmed", s)
	}
}

// While a certificate cannot be fetched SNS must try again; names that nobody
// knows are asked for a few times only, and keep none from use that is here.
func TestSNSCertificates(t *testing.T) {
	open := snsOpen(t)
	amazon := rsaKey(t, "amazon", 2048)
	b := open(t)
	b.web.fail(fault.New(fault.Unavailable, "test", "", errors.New("no route")))
	if w := b.call(notify().by(t, amazon).call()); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a network: %d", w.Code)
	}
	b.web.fail(nil)
	if w := b.call(notify().by(t, amazon).call()); w.Code != http.StatusOK {
		t.Errorf("with a network again: %d", w.Code)
	}
	before := b.web.count()
	for range 100 {
		sum := make([]byte, 8)
		if _, err := rand.Read(sum); err != nil {
			t.Fatal(err)
		}
		url := "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-" + strings.ToLower(big.NewInt(0).SetBytes(sum).Text(16)) + ".pem"
		if w := b.call(notify("SigningCertURL", url).by(t, amazon).call()); w.Code < 400 {
			t.Fatal(w.Code)
		}
	}
	if n := b.web.count() - before; n > 10 {
		t.Errorf("%d fetches for a stranger's 100 calls", n)
	}
	if w := b.call(notify("MessageId", "3").by(t, amazon).call()); w.Code != http.StatusOK {
		t.Errorf("a known certificate after a flood: %d", w.Code)
	}
	// After a day it is fetched again, and one that is gone is trusted no more.
	b.clock.add(25 * time.Hour)
	b.web.pages, b.web.other = nil, nil
	late := notify("Timestamp", b.clock.now().Format(time.RFC3339Nano)).by(t, amazon).call()
	if w := b.call(late); w.Code != http.StatusForbidden {
		t.Errorf("a certificate that Amazon took back: %d", w.Code)
	}
}
