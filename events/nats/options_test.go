package nats

import (
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

func TestOptions(t *testing.T) {
	good := []string{
		"nats://host:4222/S/c",
		"nats://a:1,b:2/S/c?subject=s3.>&ack_wait=5s&format=eventgrid&retry=1s&in_hand=3&max_receives=2&tls=true",
	}
	for _, url := range good {
		if err := Check(events.Options{Name: "s", URL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, words := range map[string]string{
		"nats://host/S":                     "want nats://",
		"nats://host/S/c/d":                 "want nats://",
		"nats://host/S.x/c":                 "want nats://",
		"nats://host/S/c*":                  "want nats://",
		"sqs://host/S/c":                    "want nats://",
		"nats://host/S/c?ack_wait=1ms":      "option ack_wait",
		"nats://host/S/c?format=xml":        "option format",
		"nats://host/S/c?token=x":           "must not stand",
		"nats://host/S/c?ca=/none":          "option tls",
		"nats://host/S/c?tls=true&ca=/none": "option ca",
		"nats://host/S/c?tls=maybe":         "option tls",
		"nats://host/S/c?subjects=x":        "option subjects: unknown",
	} {
		err := Check(events.Options{Name: "s", URL: url})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want words %q", url, err, words)
		}
		if src, err := Open(events.Options{Name: "s", URL: url}); err == nil || src != nil {
			t.Errorf("%s opens", url)
		}
	}
	for _, options := range []map[string]string{
		{"user": "u", "token": "t"},
		{"credentials": "/no/such/file"},
		{"token": "t", "credentials": "/etc/hostname"},
	} {
		if err := Check(events.Options{Name: "s", URL: good[0], Options: options}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", options, err)
		}
	}
}
