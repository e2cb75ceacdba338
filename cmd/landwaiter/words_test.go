package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/scan"
)

func TestErrorsInPlainWords(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fault.New(fault.NotFound, "store.OpenReadOnly", "/d/ledger.db", fs.ErrNotExist), "there is no ledger yet (/d/ledger.db): start landwaiter serve"},
		{errors.Join(fault.New(fault.NotFound, "store.OpenReadOnly", "/d/ledger.db", fs.ErrNotExist), nil), "there is no ledger yet (/d/ledger.db): start"},
		{fault.New(fault.Exists, "daemon.Listen", "127.0.0.1:8480", errors.New("bind")), "127.0.0.1:8480 is taken already: choose"},
		{fault.New(fault.NotFound, "control.Quarantine", "ID", errors.New("nothing in quarantine has this id")), "ID: nothing in quarantine has this id"},
		{fault.New(fault.Exists, "file.Put", "hello.txt", nil), "hello.txt: exists"},
		{usage(fault.New(fault.Invalid, "control", "x", errors.New("not an id"))), "x: not an id"},
		{fault.New(fault.Internal, "store.Get", "x", errors.New("odd")), "store.Get x: "},
		{fmt.Errorf("open unit a: %w", fs.ErrExist), "open unit a: file already exists"},
	} {
		if got := plainly(c.err); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestSarifLocations(t *testing.T) {
	for _, c := range []struct{ unit, key, want string }{
		{"/srv/in", "a b.txt", "file:///srv/in/a%20b.txt"},
		{"/", "a", "file:///a"},
		{"/srv", `b\x1b\xff.exe`, "file:///srv/b%1B%FF.exe"},
		{"s3://bucket/in?endpoint=http://h:1", "x/../y#1", "s3://bucket/in/x/../y%231"},
		{"s3://bucket", "k", "s3://bucket/k"},
	} {
		if got := location(ledger.Record{Unit: c.unit, Key: c.key}); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestLogOfRefusal: an action that was not done leaves a warning that says why.
func TestLogOfRefusal(t *testing.T) {
	var b bytes.Buffer
	logEntry(slog.New(slog.NewTextHandler(&b, nil)), &ledger.Entry{UnitName: "in", Key: "a", State: ledger.Finished, Outcome: ledger.OutcomeDone,
		Verdict: scan.Infected, Plan: remediation.Plan{{Action: remediation.Remove, State: remediation.Refused, Detail: "cannot be fenced"}}})
	if got := b.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, `not_done="remove refused: cannot be fenced"`) {
		t.Error(got)
	}
}

func TestExplainSaysWhatIsNext(t *testing.T) {
	story := control.Story{Unit: "in", Key: "a", Entries: []control.Chapter{
		{Record: ledger.Record{ID: "1", State: "pending", Error: "no engine is ready"}},
		{Record: ledger.Record{ID: "2", State: "finished", Verdict: "infected"}, Kept: &control.Kept{ID: "Q", State: ledger.QuarantineHeld}},
		{Record: ledger.Record{ID: "3", State: "finished", Verdict: "infected"}, Kept: &control.Kept{ID: "R", State: ledger.QuarantinePurged, By: "me"}},
		{Record: ledger.Record{ID: "4", State: "finished", Verdict: "clean", Engine: "builtin"}},
	}}
	got := narrate(output.Printer{}, story)
	for _, want := range []string{"waits: no engine is ready\n", "in quarantine: landwaiter quarantine restore Q\n", "purged from quarantine", "by me\n", "builtin said clean\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}
