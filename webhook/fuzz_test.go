package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/events"
)

// uncanonical reads the text of canonical again, from its end: it is the proof
// that no two envelopes have the same text.
func uncanonical(text string) (envelope, error) {
	var e envelope
	fields := map[string]*string{"MessageId": &e.MessageId, "SubscribeURL": &e.SubscribeURL, "Timestamp": &e.Timestamp, "Token": &e.Token, "TopicArn": &e.TopicArn, "Type": &e.Type}
	rest := strings.TrimSuffix(text, "\n")
	for {
		cut := func() string {
			i := strings.LastIndexByte(rest, '\n')
			line := rest[i+1:]
			rest = rest[:max(i, 0)]
			return line
		}
		value, name := cut(), cut()
		if name == "Subject" {
			e.Subject = &value
			continue
		}
		into, ok := fields[name]
		if !ok {
			return e, fmt.Errorf("a line %q", name)
		}
		*into = value
		if name == "MessageId" {
			message, ok := strings.CutPrefix(rest, "Message\n")
			e.Message = message
			if !ok {
				return e, fmt.Errorf("no Message in %q", rest)
			}
			return e, nil
		}
	}
}

func FuzzSNSCanonical(f *testing.F) {
	f.Add("Notification", "1", topic, "hello", "2026-11-28T11:59:59Z", "subject", true, "", "")
	f.Add("Notification", "1", topic, "a\nMessageId\n2\nTimestamp\nnow\nTopicArn\nx\nType\nNotification", "now", "", false, "", "")
	f.Add("SubscriptionConfirmation", "1", topic, "x", "now", "", false, "token", "https://sns.eu-central-1.amazonaws.com/")
	f.Add("Notification", "1\nSubject\nx", topic, "hello", "now", "", false, "", "")
	f.Fuzz(func(t *testing.T, kind, id, arn, text, stamp, subject string, has bool, token, url string) {
		e := envelope{Type: kind, MessageId: id, TopicArn: arn, Message: text, Timestamp: stamp, Token: token, SubscribeURL: url}
		if has {
			e.Subject = &subject
		}
		got, err := canonical(e)
		if err != nil {
			return
		}
		back, err := uncanonical(got)
		if err != nil {
			t.Fatalf("%q cannot be read again: %v", got, err)
		}
		if kind == notification { // which signs neither
			back.Token, back.SubscribeURL, e.Token, e.SubscribeURL = "", "", "", ""
		} else { // which does not sign a subject
			back.Subject, e.Subject = nil, nil
		}
		a, b := fmt.Sprintf("%+v", flat(e)), fmt.Sprintf("%+v", flat(back))
		if a != b {
			t.Fatalf("%s was read again as %s", a, b)
		}
	})
}

// flat is e without pointers, for comparison.
func flat(e envelope) any {
	subject := "none"
	if e.Subject != nil {
		subject = "some: " + *e.Subject
	}
	e.Subject = nil
	return []any{e, subject}
}

func FuzzStandard(f *testing.F) {
	f.Add([]byte(stdBody))
	f.Add([]byte(`{"events":[{"vendor":"file","key":"a\\xff","op":"delete","size":1}]}`))
	f.Add([]byte(`{"events":[{"vendor":"s3","container":"b","key":"k","time":"2026-11-28T11:00:00Z"}]} `))
	f.Add([]byte(deep("")))
	f.Fuzz(func(t *testing.T, body []byte) {
		notices, err := parseStandard(body)
		if err != nil {
			if len(notices) > 0 {
				t.Fatal("an error and notices")
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) || len(notices) == 0 || len(notices) > events.MaxNotices {
			t.Fatalf("%d notices of %q", len(notices), body)
		}
		for _, n := range notices {
			if n.Key == "" || len(n.Key) > events.MaxKey || strings.Contains(n.Key, "\x00") || !goodScheme(n.Vendor) || strings.ContainsAny(n.Container, "/\\\x00") || n.Size < -1 {
				t.Fatalf("notice %+v", n)
			}
		}
	})
}
