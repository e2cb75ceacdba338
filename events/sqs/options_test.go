package sqs

import (
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

func TestOptions(t *testing.T) {
	good := []string{
		"sqs://sqs.eu-central-1.amazonaws.com/123456789012/queue",
		"sqs://sqs.cn-north-1.amazonaws.com.cn/1/q.fifo?wait=5s&visibility=2m&in_hand=5&max_receives=3&retry=2s",
		"sqs://any:1/1/q?endpoint=http://127.0.0.1:9&region=x",
	}
	for _, url := range good {
		if err := Check(events.Options{Name: "s", URL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, words := range map[string]string{
		"sqs://sqs.eu-central-1.amazonaws.com/queue": "want sqs://",
		"sqs://host/1/q":                                       "option region",
		"sqs://a,b/1/q?region=x":                               "want sqs://",
		"nats://sqs.x.amazonaws.com/1/q":                       "want sqs://",
		"sqs://sqs.x.amazonaws.com/1/q?endpoint=ftp://h":       "option endpoint",
		"sqs://sqs.x.amazonaws.com/1/q?endpoint=http://h/path": "option endpoint",
		"sqs://sqs.x.amazonaws.com/1/q?visibility=13h":         "option visibility",
		"sqs://sqs.x.amazonaws.com/1/q?wait=21s":               "option wait",
		"sqs://sqs.x.amazonaws.com/1/q?access_key=a":           "must not stand",
		"sqs://sqs.x.amazonaws.com/1/q?in_hand=0":              "option in_hand",
		"sqs://sqs.x.amazonaws.com/1/q?waits=1s":               "option waits: unknown",
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
		{"access_key": "a"},
		{"secret_key": "s"},
		{"session_token": "t"},
	} {
		if err := Check(events.Options{Name: "s", URL: good[0], Options: options}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", options, err)
		}
	}
}
