package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

func TestSources(t *testing.T) {
	f := &fake{feeds: []control.Feed{{Name: "q", Kind: "source", URL: "sqs://h/1/q", Received: 1200, Acked: 1199, Buried: 1, Last: noon, Error: "gone\x1b", ErrorAt: noon},
		{Name: "h", Kind: "sns", Connected: true, Note: "open this to confirm: https://x"}}}
	code, out, _ := execute(with(f), "source", "list")
	if code != 0 || strings.Contains(out, "\x1b") {
		t.Fatalf("code %d\n%q", code, out)
	}
	for _, want := range []string{"sqs://h/1/q", "1199", stamp(noon) + ": gone", "never", "open this to confirm: https://x"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestMessages(t *testing.T) {
	f := &fake{letters: []control.Message{{ID: "m1", Time: noon, Source: "q", Tries: 3, Why: "not JSON", Body: strings.Repeat("x", 100)}, {ID: "m2", Why: "no"}}, fail: map[string]error{}}
	code, out, _ := execute(with(f), "dlq", "messages", "--limit", "1")
	if code != 0 || !strings.Contains(out, strings.Repeat("x", 80)+"…") || strings.Contains(out, "m2") {
		t.Errorf("code %d\n%s", code, out)
	}
	_, out, _ = execute(with(f), "dlq", "messages", "-o", "json")
	var all []control.Message
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 2 || len(all[0].Body) != 100 {
		t.Errorf("%v\n%s", err, out)
	}
	f.fail["gone"] = fault.New(fault.NotFound, "store.DropLetter", "gone", nil)
	if code, _, _ := execute(with(f), "dlq", "drop", "m1"); code != 0 || len(f.dropped) != 1 {
		t.Errorf("code %d, dropped %v", code, f.dropped)
	}
	if code, _, _ := execute(with(f), "dlq", "drop", "gone"); code != exitNotFound {
		t.Errorf("code %d, want %d", code, exitNotFound)
	}
}

func TestConform(t *testing.T) {
	var asked ConformOptions
	bad := connectors.Finding{Check: "replace", State: connectors.Failed, Detail: "it was done"}
	p := Program{Conform: func(_ context.Context, o ConformOptions, tell func(connectors.Finding)) error {
		asked = o
		tell(connectors.Finding{Check: "list", State: connectors.Passed})
		if o.Target != "good" {
			tell(bad)
		}
		return nil
	}}
	code, out, talk := execute(p, "conform", "s3://b?endpoint=http://x", "-O", "access_key=a", "-O", "secret_key=env:KEY")
	if code != exitFailed || !strings.Contains(out, "failed") || !strings.Contains(talk, "replace") {
		t.Errorf("code %d\n%s%s", code, out, talk)
	}
	if asked.Options["access_key"].Reveal() != "a" || asked.Options["secret_key"].Ref() != "env:KEY" {
		t.Errorf("%v", asked.Options)
	}
	if code, _, _ := execute(p, "conform", "good"); code != 0 {
		t.Errorf("a unit that conforms: code %d", code)
	}
	if code, _, _ := execute(p, "conform", "good", "-O", "a=b"); code != exitUsage {
		t.Errorf("options of a unit: code %d, want %d", code, exitUsage)
	}
}
