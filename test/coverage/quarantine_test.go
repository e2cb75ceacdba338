package coverage

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// eicar is the test file, assembled so that no source holds it whole.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*")
}

// On every vendor an infected object is put away, under the vendor's own fence,
// and restored to where it was, where it is allowed then.
func TestPutAwayAndBack(t *testing.T) {
	all := places(t)
	var mu sync.Mutex
	records := map[string][]ledger.Record{}
	d, _ := start(t, all, "quarantine", func(e *ledger.Entry) {
		mu.Lock()
		defer mu.Unlock()
		records[e.UnitName] = append(records[e.UnitName], e.Record())
	})
	last := func(unit string, ok func(ledger.Record) bool) (found ledger.Record, has bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records[unit] {
			if r.Key == "in/bad one.com" && ok(r) {
				found, has = r, true
			}
		}
		return found, has
	}
	await := func(unit, what string, ok func(ledger.Record) bool) ledger.Record {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if r, has := last(unit, ok); has {
				return r
			}
			if time.Now().After(end) {
				mu.Lock()
				defer mu.Unlock()
				t.Fatalf("%s: not within a minute: %s; %+v", unit, what, records[unit])
			}
		}
	}
	for name, p := range all {
		if err := p.write("in/bad one.com", eicar()); err != nil {
			t.Fatal(name, err)
		}
	}
	for name, p := range all {
		r := await(name, "put away", func(r ledger.Record) bool { return r.Verdict == "infected" })
		if len(r.Actions) != 2 || r.Actions[0].State != "done" || r.Actions[1].State != "done" || r.Actions[1].Unfenced {
			t.Errorf("%s: %+v", name, r.Actions)
		}
		if got, err := p.read("in/bad one.com"); err == nil {
			t.Errorf("%s: it is still there: %d bytes", name, len(got))
		}
		if _, err := d.Control().Restore(control.AsMachine(t.Context()), control.RestoreRequest{ID: r.ID, Allow: time.Hour}); err != nil {
			t.Errorf("%s: restore: %v", name, err)
			continue
		}
		await(name, "allowed", func(r ledger.Record) bool { return r.Verdict == "infected" && r.Decision == "allowed" })
		if got, err := p.read("in/bad one.com"); err != nil || !bytes.Equal(got, eicar()) {
			t.Errorf("%s: restored as %d bytes, %v", name, len(got), err)
		}
	}
}
