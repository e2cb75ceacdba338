package all_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/all"
	"github.com/landwaiter/landwaiter/fault"
)

// good are URLs and options that open, by scheme.
func good() map[string]events.Options {
	return map[string]events.Options{
		"azqueue": {URL: "azqueue://account/queue", Options: map[string]string{"key": "c2VjcmV0"}},
		"kafka":   {URL: "kafka://a:9092,b:9092/topic?group=g"},
		"nats":    {URL: "nats://host:4222/STREAM/consumer"},
		"pubsub":  {URL: "pubsub://project/subscription"},
		"sqs":     {URL: "sqs://sqs.eu-central-1.amazonaws.com/123456789012/queue", Options: map[string]string{"access_key": "a", "secret_key": "s"}},
	}
}

func TestEveryScheme(t *testing.T) {
	for _, scheme := range all.Schemes() {
		o, known := good()[scheme]
		if !known {
			t.Errorf("%s is not tested", scheme)
		}
		o.Name = "s"
		if err := all.Check(o); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		bad := o
		bad.Options = map[string]string{"no_such_option": "1"}
		var option *events.OptionError
		if err := all.Check(bad); !fault.Is(err, fault.Invalid) || !errors.As(err, &option) {
			t.Errorf("%s with an unknown option: %v", scheme, err)
		}
		if src, err := all.Open(bad); !fault.Is(err, fault.Invalid) || src != nil {
			t.Errorf("%s opens with an unknown option: %v", scheme, err)
		}
		bad = o
		bad.URL = scheme + "://"
		if err := all.Check(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s without a host: %v", scheme, err)
		}
	}
	for _, scheme := range []string{"kafka", "nats", "sqs"} { // the others may look for credentials
		o := good()[scheme]
		o.Name = "s"
		src, err := all.Open(o)
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		if st := src.Status(); st.Connected || st.Received != 0 {
			t.Errorf("%s: status %+v", scheme, st)
		}
		if err := src.Close(); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestUnknownScheme(t *testing.T) {
	for _, url := range []string{"", "gopher://host/q", "/path", "sqs:queue", "SQS://host/a/q"} {
		if err := all.Check(events.Options{Name: "s", URL: url}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "kafka, nats") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
