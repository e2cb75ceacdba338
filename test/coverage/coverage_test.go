// Package coverage counts what is missed. Objects are written, overwritten,
// renamed and deleted on storages of every vendor while their events are
// dropped, doubled and reordered on the way to a running daemon; in the end
// every version that stayed must have been scanned.
package coverage

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/daemon"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan/box"
)

func TestMain(m *testing.M) {
	box.Main()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// What happens to events on their way, in percent.
const (
	dropped   = 30
	doubled   = 10
	reordered = 10
)

// secret signs the calls of the test as a vendor would.
var secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("twenty-four bytes at least"))

// A place is a storage seen from behind the driver's back.
type place interface {
	unit() (url string, options map[string]string)
	write(key string, content []byte) error
	read(key string) ([]byte, error)
	remove(key string) error
	rename(from, to string) error
}

// A version is some content of a key.
type version struct {
	at      time.Time
	scans   int
	verdict string
	cause   string
	seen    time.Time
}

// A tally is what was written and what became of it.
type tally struct {
	mu       sync.Mutex
	versions map[string]*version          // by unit, key and hash
	now      map[string]map[string]string // by unit and key: the hash of what is there
	ended    map[string]int               // by outcome
}

func (t *tally) wrote(unit, key string, content []byte) {
	sum := sha256.Sum256(content)
	h := hex.EncodeToString(sum[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(unit, key, h)
}

func (t *tally) put(unit, key, h string) {
	if v := t.versions[unit+key+h]; v == nil {
		t.versions[unit+key+h] = &version{at: time.Now()}
	}
	t.now[unit][key] = h
}

func (t *tally) moved(unit, from, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to != "" {
		t.put(unit, to, t.now[unit][from])
	}
	delete(t.now[unit], from)
}

// finished counts an entry.
func (t *tally) finished(e *ledger.Entry) {
	r := e.Record()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[string(r.Outcome)]++
	if v := t.versions[r.Unit+e.Key+r.SHA256]; v != nil && r.Outcome == ledger.OutcomeDone {
		if v.scans++; v.seen.IsZero() {
			v.verdict, v.cause, v.seen = r.Verdict, r.Cause, time.Now()
		}
	}
}

// TestNothingIsMissed is the coverage run; TEST_COVERAGE is the number of object
// versions, all places together.
func TestNothingIsMissed(t *testing.T) {
	n := 1500
	if s := os.Getenv("TEST_COVERAGE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	all := places(t)
	said := &tally{versions: map[string]*version{}, now: map[string]map[string]string{}, ended: map[string]int{}}
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names {
		said.now[name] = map[string]string{}
	}
	d, addr := start(t, all, "", said.finished)
	hook := "http://" + addr + "/hooks/lossy"

	began := time.Now()
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			w := &writer{t: t, unit: name, place: all[name], said: said, rnd: rand.New(rand.NewPCG(7, uint64(i))), hook: hook}
			w.run(n / len(names))
		})
	}
	wg.Wait()
	wrote := time.Since(began)
	missed := settle(t, d, said)
	report(t, said, missed, wrote)
}

// start runs a daemon on all places, until the test ends, and returns its address.
func start(t *testing.T, all map[string]place, workflow string, finished func(*ledger.Entry)) (*daemon.Daemon, string) {
	t.Helper()
	dir := t.TempDir()
	var conf strings.Builder
	fmt.Fprintf(&conf, "data: %s\nserver: {listen: '127.0.0.1:0'}\nhooks:\n  - {name: lossy, kind: standard, options: {secret: '%s'}}\nunits:\n", filepath.Join(dir, "data"), secret)
	for name, p := range all {
		url, options := p.unit()
		o, err := json.Marshal(options)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&conf, "  - {name: %s, url: '%s', workflow: '%s', sweep: 3s, settle: 200ms, options: %s}\n", name, url, workflow, o)
	}
	file := filepath.Join(dir, "landwaiter.yaml")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	log := &output{}
	addr := make(chan string, 1)
	d, err := daemon.Open(t.Context(), daemon.Options{Config: c, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Finished: finished, Ready: func(a string) { addr <- a }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%.6000s", log.String())
		}
	})
	return d, <-addr
}

// output is what the daemon says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// settle waits until what stayed is scanned, and returns what is not after long.
func settle(t *testing.T, d *daemon.Daemon, said *tally) (missed []string) {
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(250 * time.Millisecond) {
		missed = missed[:0]
		said.mu.Lock()
		for unit, keys := range said.now {
			for key, h := range keys {
				if said.versions[unit+key+h].scans == 0 {
					missed = append(missed, unit+":"+key)
				}
			}
		}
		said.mu.Unlock()
		pending := int64(0)
		list, err := d.Control().Coverage(control.AsMachine(context.Background()))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			pending += c.Pending
		}
		if len(missed) == 0 && pending == 0 {
			accounted(t, list, said)
			return nil
		}
		if time.Now().After(end) {
			return missed
		}
	}
}

// accounted compares what the ledger says of each unit with what is there.
func accounted(t *testing.T, list []control.Coverage, said *tally) {
	said.mu.Lock()
	defer said.mu.Unlock()
	for _, c := range list {
		if c.Missing != 0 { // whether it is within its promise is a matter of the server's speed, too
			t.Errorf("%s: %d unaccounted", c.Unit, c.Missing)
		}
		t.Logf("%-10s keys=%d there=%d listed=%d unscanned=%d lag=%v within=%v", c.Unit, c.Keys, len(said.now[c.Unit]), c.Listed, c.Unscanned, c.Lag, c.Within)
	}
}

func report(t *testing.T, said *tally, missed []string, wrote time.Duration) {
	said.mu.Lock()
	defer said.mu.Unlock()
	scans, scanned, stay, wrong := 0, 0, 0, 0
	lag := map[string][]time.Duration{}
	for _, v := range said.versions {
		if v.scans == 0 {
			continue // replaced before its scan: superseded, never clean
		}
		scans, scanned = scans+v.scans, scanned+1
		lag[v.cause] = append(lag[v.cause], v.seen.Sub(v.at))
		if v.verdict != "clean" {
			wrong++
		}
	}
	for _, keys := range said.now {
		stay += len(keys)
	}
	fmt.Printf("coverage: cases=%d violations=%d seed=7 stayed=%d scanned=%d scans-per-version=%.4f outcomes=%v wrote-in=%v\n",
		len(said.versions), len(missed), stay, scanned, float64(scans)/float64(max(scanned, 1)), said.ended, wrote.Round(time.Millisecond))
	for cause, l := range lag {
		slices.Sort(l)
		fmt.Printf("coverage: by %-6s n=%d p50=%v p99=%v\n", cause, len(l), l[len(l)/2].Round(time.Millisecond), l[len(l)*99/100].Round(time.Millisecond))
	}
	if len(missed) > 0 || wrong > 0 {
		t.Errorf("%d missed, %d judged wrongly: %.2000v", len(missed), wrong, missed)
	}
	if float64(scans) > 1.01*float64(scanned)+2 {
		t.Errorf("%d scans of %d versions", scans, scanned)
	}
}

// A writer is a vendor's client, and the vendor that tells of what it did.
type writer struct {
	t     *testing.T
	unit  string
	place place
	said  *tally
	rnd   *rand.Rand
	hook  string
	late  []string // keys whose events are held back
	n     int
}

// run writes n versions.
func (w *writer) run(n int) {
	keys := []string{}
	for i := 0; i < n; i++ {
		var err error
		switch roll := w.rnd.IntN(100); {
		case roll < 60 || len(keys) == 0: // a new object
			key := fmt.Sprintf("d%02d/o%06d", w.rnd.IntN(20), i)
			err = w.write(key, i)
			keys = append(keys, key)
		case roll < 85: // another version
			err = w.write(keys[w.rnd.IntN(len(keys))], i)
		case roll < 93: // another name
			j := w.rnd.IntN(len(keys))
			from, to := keys[j], fmt.Sprintf("d%02d/r%06d", w.rnd.IntN(20), i)
			if err = w.place.rename(from, to); err == nil {
				w.said.moved(w.unit, from, to)
				keys[j] = to
				w.tell(from)
				w.tell(to)
			}
		default:
			j := w.rnd.IntN(len(keys))
			if err = w.place.remove(keys[j]); err == nil {
				w.said.moved(w.unit, keys[j], "")
				w.tell(keys[j])
				keys = slices.Delete(keys, j, j+1)
			}
		}
		if err != nil {
			w.t.Errorf("%s: %v", w.unit, err)
			return
		}
	}
	for _, key := range w.late {
		w.send(key)
	}
}

func (w *writer) write(key string, i int) error {
	content := fmt.Appendf(nil, "%s %s version %d of many", w.unit, key, i)
	w.said.wrote(w.unit, key, content)
	err := w.place.write(key, content)
	if err == nil {
		w.tell(key)
	}
	return err
}

// tell delivers the event of a key as badly as vendors are allowed to.
func (w *writer) tell(key string) {
	roll := w.rnd.IntN(100)
	switch {
	case roll < dropped:
		return
	case roll < dropped+reordered:
		w.late = append(w.late, key)
		return
	case roll < dropped+reordered+doubled:
		w.send(key)
	}
	w.send(key)
	if len(w.late) > 5 {
		w.send(w.late[0])
		w.late = w.late[1:]
	}
}

func (w *writer) send(key string) {
	w.n++
	body, err := json.Marshal(map[string]any{"events": []any{map[string]any{"vendor": "unit", "container": w.unit, "key": key}}})
	if err != nil {
		w.t.Error(err)
		return
	}
	id, stamp := fmt.Sprintf("%s-%d", w.unit, w.n), strconv.FormatInt(time.Now().Unix(), 10)
	key64, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	mac := hmac.New(sha256.New, key64)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.hook, bytes.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		w.t.Errorf("the hook answered %s", resp.Status)
	}
}
