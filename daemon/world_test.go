package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan/box"
)

func TestMain(m *testing.M) {
	box.Main()
	goleak.VerifyTestMain(m)
}

// eicar is the test file, assembled so that no source holds it whole.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*")
}

// A world is a configuration file with its data folder and the daemons on it.
type world struct {
	t    *testing.T
	dir  string
	data string
	file string
	log  *logBuffer
}

// A logBuffer is a log that tests look into.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{t: t, dir: dir, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "landwaiter.yaml"), log: &logBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			l := w.log.String()
			t.Log(l[max(0, len(l)-6000):])
		}
	})
	return w
}

// folder makes a folder and returns its path.
func (w *world) folder(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// configure writes the file; data and listener are given.
func (w *world) configure(yaml string) {
	w.t.Helper()
	put(w.t, w.file, []byte("data: "+w.data+"\n"+yaml))
}

func (w *world) load() (*config.Config, error) { return config.Load(config.Options{File: w.file}) }

func (w *world) config() *config.Config {
	w.t.Helper()
	c, err := w.load()
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// unit is a unit of a folder as it stands in the file.
func unit(name, dir, more string) string {
	return fmt.Sprintf("  - {name: %s, url: 'file://%s'%s}\n", name, dir, more)
}

// A running is a daemon under way.
type running struct {
	*Daemon
	w    *world
	addr string
	stop context.CancelFunc
	done chan error

	mu       sync.Mutex
	finished []ledger.Record
}

// open opens a daemon on the file; change may change it before it runs.
func (w *world) open() (*running, error) {
	r := &running{w: w, done: make(chan error, 1)}
	d, err := Open(w.t.Context(), Options{Config: w.config(), Log: slog.New(slog.NewTextHandler(w.log, nil)), Load: w.load,
		Finished: func(e *ledger.Entry) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.finished = append(r.finished, e.Record())
		},
		Ready: func(addr string) { r.addr = addr }})
	r.Daemon = d
	return r, err
}

// start opens a daemon, runs it until the test ends, and waits for it to be ready.
func (w *world) start(before ...func(*running)) *running {
	w.t.Helper()
	r, err := w.open()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range before {
		f(r)
	}
	ready := make(chan struct{})
	then := r.o.Ready
	r.o.Ready = func(addr string) { then(addr); close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- r.Run(ctx) }()
	w.t.Cleanup(func() { r.end() })
	select {
	case <-ready:
	case err := <-r.done:
		r.done <- err
		w.t.Fatalf("it did not become ready: %v", err)
	}
	return r
}

// end stops the daemon and waits for it; it may have ended before.
func (r *running) end() error {
	r.stop()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(40 * time.Second):
		r.w.t.Error("the daemon did not end within 40 s")
		return errors.New("it hangs")
	}
}

// records returns what finished of a key so far.
func (r *running) records(unit, key string) (l []ledger.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.finished {
		if rec.Unit == unit && rec.Key == key {
			l = append(l, rec)
		}
	}
	return l
}

// verdict waits for a verdict on a key.
func (r *running) verdict(unit, key, want string) (found ledger.Record) {
	r.w.t.Helper()
	r.w.eventually(unit+":"+key+" "+want, func() error {
		l := r.records(unit, key)
		for _, rec := range l {
			if rec.Verdict == want {
				found = rec
				return nil
			}
		}
		return fmt.Errorf("%+v", l)
	})
	return found
}

// get asks the listener.
func (r *running) get(path string) (int, string) {
	r.w.t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + r.addr + path)
	if err != nil {
		r.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (w *world) eventually(what string, f func() error) {
	w.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within 60 s: %v", what, err)
		}
	}
}

// logged waits until the log holds all of words in what was written since from.
func (w *world) logged(from int, words ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("log with %q", words), func() error {
		l := w.log.String()[from:]
		for _, word := range words {
			if !strings.Contains(l, word) {
				return fmt.Errorf("%q is not in the log", word)
			}
		}
		return nil
	})
}

func (w *world) mark() int { return len(w.log.String()) }

// local opens the ledger as a command does.
func (w *world) local() *Local {
	w.t.Helper()
	l, err := OpenControl(w.t.Context(), w.config(), slog.New(slog.NewTextHandler(w.log, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return l
}

func entries(t *testing.T, c *control.Control, q control.EntryQuery) (l []ledger.Record) {
	t.Helper()
	for r, err := range c.Entries(control.AsMachine(t.Context()), q) {
		if err != nil {
			t.Fatal(err)
		}
		l = append(l, r)
	}
	return l
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
