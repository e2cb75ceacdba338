package daemon

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// hookKey signs calls of hooks of the kind standard.
const hookKey = "twenty-four bytes at least"

const standardHook = "server: {listen: '127.0.0.1:0'}\nhooks:\n  - {name: in, kind: standard, options: {secret: 'whsec_dHdlbnR5LWZvdXIgYnl0ZXMgYXQgbGVhc3Q='}}\n"

// tell calls the hook in of a daemon, and returns the status of its answer.
func (r *running) tell(id, unit string, keys ...string) (int, http.Header, error) {
	var list []map[string]any
	for _, key := range keys {
		list = append(list, map[string]any{"vendor": "unit", "container": unit, "key": key})
	}
	body, err := json.Marshal(map[string]any{"events": list})
	if err != nil {
		return 0, nil, err
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(hookKey))
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	req, err := http.NewRequest(http.MethodPost, "http://"+r.addr+"/hooks/in", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the status is the answer
	return resp.StatusCode, resp.Header, nil
}

// TestReloadUnderHooks reloads again and again while a hook is called: one unit
// changes, another comes and goes. What was accepted is in the ledger, or was
// counted as nobody's while its unit was not there.
func TestReloadUnderHooks(t *testing.T) {
	const callers = 4
	reloads := 25
	if n, err := strconv.Atoi(os.Getenv("TEST_RELOADS")); err == nil && n > 0 {
		reloads = n
	}
	w := newWorld(t)
	stays, comes := w.folder("stays"), w.folder("comes")
	for _, dir := range []string{stays, comes} {
		put(t, filepath.Join(dir, "a", "there"), []byte("x"))
	}
	configure := func(i int) {
		more := []string{", settle: 100ms", ", settle: 200ms, partitions: [a]", ", workflow: quarantine", ", read_only: true"}[i%4]
		yaml := standardHook + "units:\n" + unit("stays", stays, ", sweep: 1h"+more)
		if i%2 == 0 {
			yaml += unit("comes", comes, ", sweep: 1h")
		}
		w.configure(yaml)
	}
	configure(0)
	r := w.start()

	var mu sync.Mutex
	accepted, refused := map[string][]string{}, 0 // by unit: keys told
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n := 0; ; n++ {
				for unit, keys := range map[string][]string{
					"stays": {fmt.Sprintf("a/%d-%d-1", c, n), fmt.Sprintf("a/%d-%d-2", c, n)},
					"comes": {fmt.Sprintf("a/%d-%d", c, n)}, // one: the call is accepted or not
				} {
					select {
					case <-stop:
						return
					default:
					}
					status, _, err := r.tell(fmt.Sprintf("%s-%d-%d", unit, c, n), unit, keys...)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if status == http.StatusOK {
						accepted[unit] = append(accepted[unit], keys...)
					} else {
						refused++
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range reloads {
		configure(i + 1)
		if err := r.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		had := len(accepted["stays"]) + len(accepted["comes"])
		mu.Unlock()
		w.eventually("calls between two reloads", func() error {
			mu.Lock()
			defer mu.Unlock()
			if n := len(accepted["stays"]) + len(accepted["comes"]); n < had+2*callers {
				return fmt.Errorf("%d more", n-had)
			}
			return nil
		})
	}
	close(stop)
	wg.Wait()

	known := map[string]map[string]bool{}
	for unit := range accepted {
		known[unit] = map[string]bool{}
		for _, e := range entries(t, r.Control(), control.EntryQuery{Unit: unit}) {
			known[unit][e.Key] = true
		}
	}
	lost, absent := 0, 0
	for _, key := range accepted["stays"] {
		if !known["stays"][object.FormatKey(key)] {
			lost++
		}
	}
	for _, key := range accepted["comes"] {
		if !known["comes"][object.FormatKey(key)] {
			absent++
		}
	}
	strays := int(r.feeds.router.strays(hookSource + "in"))
	lost += max(0, absent-strays)
	if lost > 0 || len(accepted["comes"]) == absent || strays == 0 {
		t.Errorf("%d lost; of %d for the unit that comes and goes %d are not in the ledger and %d were counted as nobody's",
			lost, len(accepted["comes"]), absent, strays)
	}
	fmt.Printf("reload-hooks: cases=%d violations=%d seed=none reloads=%d refused=%d nobodys=%d lost=%d\n",
		len(accepted["stays"])+len(accepted["comes"]), lost, reloads, refused, strays, lost)
}

// TestNotServed delivers for a unit that the index has and the pipeline not yet,
// as in the middle of a reload, and for one that went between look-up and
// delivery.
func TestNotServed(t *testing.T) {
	w := newWorld(t)
	w.configure(standardHook + "units:\n" + unit("in", w.folder("in"), ", sweep: 1h"))
	r := w.start()
	id := r.list()[0].ID
	r.pipe.Drop(id)
	notices := []events.Notice{{Vendor: events.ByUnit, Container: "in", Key: "k"}}
	for _, source := range []string{"hooks/in", "queue"} {
		if err := r.feeds.router.Deliver(t.Context(), source, notices); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v, want that it comes again", source, err)
		}
		if n := r.feeds.router.strays(source); n != 0 {
			t.Errorf("%s: %d strays of a unit that is being opened", source, n)
		}
	}
	r.Daemon.mu.Lock()
	r.index = newIndex(nil)
	r.Daemon.mu.Unlock()
	found := map[int64][]object.Event{id: {eventOf("in", "k", &notices[0], "hook")}}
	if err := r.feeds.router.hand(t.Context(), "hooks/in", found); err != nil || r.feeds.router.strays("hooks/in") != 1 {
		t.Errorf("%v, %d strays; want 1 of a unit that is not there any more", err, r.feeds.router.strays("hooks/in"))
	}
}

// TestFloodOfOneUnit fills the share of one unit through the hook that serves
// another one, too: what it cannot take is refused at once, the other's gets in.
func TestFloodOfOneUnit(t *testing.T) {
	w := newWorld(t)
	w.configure(standardHook + "bounds: {push_backlog: 40}\npools:\n  - {name: default, instances: [{url: 'clamd://" + filepath.Join(w.dir, "no.sock") + "'}]}\nunits:\n" +
		unit("flood", w.folder("flood"), ", sweep: 1h") + unit("quiet", w.folder("quiet"), ", sweep: 1h"))
	r := w.start()
	tell := func(n int, unit string) int {
		t.Helper()
		status, header, err := r.tell(fmt.Sprintf("%s-%d", unit, n), unit, fmt.Sprint("k", n))
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusServiceUnavailable && header.Get("Retry-After") == "" {
			t.Error("refused without a word about when to come again")
		}
		return status
	}
	took := 0
	for n := range 40 {
		if tell(n, "flood") == http.StatusOK {
			took++
		}
	}
	if took != 20 {
		t.Errorf("%d calls of a flood were accepted, want 20 of a backlog of 40", took)
	}
	for n := range 5 {
		if got := tell(n, "quiet"); got != http.StatusOK {
			t.Errorf("the other unit's call got %d", got)
		}
	}
	if got := tell(100, "flood"); got != http.StatusServiceUnavailable {
		t.Errorf("a call above the share got %d", got)
	}
	// A queue's message waits for the one, and not with what it says of the other.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	both := []events.Notice{{Vendor: events.ByUnit, Container: "flood", Key: "waits"}, {Vendor: events.ByUnit, Container: "quiet", Key: "k5"}}
	if err := r.feeds.router.Deliver(ctx, "queue", both); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a queue's message for a full unit: %v, want that it waits", err)
	}
	for unit, want := range map[string]int{"flood": 20, "quiet": 6} {
		waits := 0
		for _, e := range entries(t, r.Control(), control.EntryQuery{Unit: unit}) {
			if e.Outcome == ledger.Outcome("") {
				waits++
			}
		}
		if waits != want {
			t.Errorf("%s: %d entries wait, want %d: all that was accepted and nothing else", unit, waits, want)
		}
	}
}
