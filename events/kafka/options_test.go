package kafka

import (
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

func TestOptions(t *testing.T) {
	good := []string{
		"kafka://host:9092/topic?group=g",
		"kafka://a:1,b:2,c:3/topic?group=g&format=eventgrid&session=10s&rebalance=20s&retry=1s&in_hand=9&tls=true",
	}
	for _, url := range good {
		if err := Check(events.Options{Name: "s", URL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, words := range map[string]string{
		"kafka://host/topic":                   "option group",
		"kafka://host?group=g":                 "want kafka://",
		"kafka://host/a/b?group=g":             "want kafka://",
		"nats://host/t?group=g":                "want kafka://",
		"kafka://host/t?group=g&session=1ms":   "option session",
		"kafka://host/t?group=g&sasl=kerberos": "option sasl",
		"kafka://host/t?group=g&password=x":    "must not stand",
		"kafka://host/t?group=g&in_hand=many":  "option in_hand",
		"kafka://host/t?group=g&format=csv":    "option format",
		"kafka://host/t?group=g&cert=/none":    "option tls",
		"kafka://host/t?group=g&groups=g":      "option groups: unknown",
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
		{"user": "u", "password": "p"},
		{"sasl": "plain"},
		{"sasl": "scram-sha-512", "user": "u"},
	} {
		if err := Check(events.Options{Name: "s", URL: good[0], Options: options}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", options, err)
		}
	}
}
