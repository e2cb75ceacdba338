package daemon

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReadiness has no engine: the daemon lives and is not ready, and says why.
func TestReadiness(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	put(t, filepath.Join(in, "waits"), []byte("x"))
	clamd := "  - {name: default, instances: [{url: 'clamd://" + filepath.Join(w.dir, "no.sock") + "'}]}\n"
	w.configure("server: {listen: '127.0.0.1:0'}\npools:\n" + clamd + "units:\n" + unit("in", in, ""))
	r := w.start()
	if code, body := r.get("/livez"); code != 200 || body != "ok\n" {
		t.Errorf("livez: %d %q", code, body)
	}
	w.eventually("a reason", func() error {
		code, body := r.get("/readyz")
		if code != 503 || !strings.Contains(body, "[-] engines: ") || !strings.Contains(body, "default") || !strings.Contains(body, "no.sock") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	if l := r.records("in", "waits"); len(l) != 0 {
		t.Errorf("a verdict without an engine: %+v", l)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}

	// One pool of two is enough to be ready; the other is named.
	w.configure("server: {listen: '127.0.0.1:0'}\npools:\n" + clamd + "  - {name: spare, instances: [{url: 'builtin:'}]}\n")
	r = w.start()
	w.eventually("ready", func() error {
		code, body := r.get("/readyz?verbose")
		if code != 200 || !strings.Contains(body, "[+] engines ok") || !strings.Contains(body, "[!] pools: ") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// TestMetrics looks for keys among the labels and counts series.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	in := w.folder("in")
	w.configure("server: {listen: '127.0.0.1:0'}\nunits:\n" + unit("in", in, ", workflow: quarantine"))
	r := w.start()
	const secret = "key-that-nobody-may-see"
	n := 0
	series := func(more int) int {
		for range more {
			put(t, filepath.Join(in, fmt.Sprintf("%s-%d", secret, n)), []byte("x"))
			put(t, filepath.Join(in, fmt.Sprintf("%s-%d.bad", secret, n)), append(eicar(), '\n'))
			n++
		}
		last := fmt.Sprintf("%s-%d", secret, n-1)
		r.verdict("in", last, "clean")
		w.eventually("all of them", func() error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.finished) < 2*n {
				return fmt.Errorf("%d of %d", len(r.finished), 2*n)
			}
			return nil
		})
		code, body := r.get("/metrics")
		if code != 200 || strings.Contains(body, secret) || !strings.Contains(body, `landwaiter_entries_finished_total{outcome="done",reason="",unit="in",verdict="infected"}`) {
			t.Errorf("metrics: %d\n%s", code, body)
		}
		count := 0
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "landwaiter_") {
				count++
			}
		}
		return count
	}
	few := series(10)
	if many := series(150); many > few+4 {
		t.Errorf("%d series after 10 objects, %d after 160", few, many)
	}
}

// systemd listens as systemd does.
func systemd(t *testing.T, addr string) <-chan string {
	t.Helper()
	name := addr
	if strings.HasPrefix(addr, "@") {
		name = "\x00" + addr[1:]
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	said, done := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	t.Setenv("NOTIFY_SOCKET", addr)
	return said
}

// next waits for a message that begins so; signs of life between are skipped.
func next(t *testing.T, said <-chan string, want string) string {
	t.Helper()
	for {
		select {
		case s := <-said:
			if strings.HasPrefix(s, want) {
				return s
			}
			if s != "WATCHDOG=1" {
				t.Fatalf("got %q, want %q", s, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no %q within 10 s", want)
		}
	}
}

// TestNotify follows a start, a reload and a stop as systemd sees them.
func TestNotify(t *testing.T) {
	for _, kind := range []string{"path", "abstract"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			addr := filepath.Join(w.dir, "n.sock")
			if kind == "abstract" {
				addr = fmt.Sprintf("@landwaiter-test-%d", os.Getpid())
			}
			said := systemd(t, addr)
			w.configure("server: {listen: 'off'}\n")
			r := w.start()
			next(t, said, "READY=1")
			r.hup("reloaded")
			next(t, said, "RELOADING=1\nMONOTONIC_USEC=")
			next(t, said, "READY=1")
			put(t, w.file, []byte("nonsense: yes\n"))
			r.hup("reload refused")
			next(t, said, "RELOADING=1")
			next(t, said, "READY=1") // it serves, as before
			if err := r.end(); err != nil {
				t.Error(err)
			}
			next(t, said, "STOPPING=1")
		})
	}
}

// TestWatchdog wants a sign of life at half the interval, and none while the
// ledger cannot be read.
func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	said := systemd(t, filepath.Join(w.dir, "n.sock"))
	t.Setenv("WATCHDOG_USEC", "400000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	w.configure("server: {listen: '127.0.0.1:0'}\n")
	r := w.start()
	next(t, said, "READY=1")
	next(t, said, "WATCHDOG=1")
	began := time.Now()
	for range 5 {
		next(t, said, "WATCHDOG=1")
	}
	if each := time.Since(began) / 5; each < 150*time.Millisecond || each > 390*time.Millisecond {
		t.Errorf("a sign of life every %v, want 200ms", each)
	}

	db, err := sql.Open("sqlite", filepath.Join(w.data, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("ALTER TABLE tenants RENAME TO hidden"); err != nil {
		t.Fatal(err)
	}
	w.logged(0, "no sign of life for the watchdog")
	for len(said) > 0 {
		<-said
	}
	select {
	case s := <-said:
		t.Errorf("%q while the ledger cannot be read", s)
	case <-time.After(time.Second):
	}
	if code, body := r.get("/livez"); code != 503 || !strings.Contains(body, "[-] ledger") {
		t.Errorf("livez: %d %s", code, body)
	}
	if _, err := db.Exec("ALTER TABLE hidden RENAME TO tenants"); err != nil {
		t.Fatal(err)
	}
	next(t, said, "WATCHDOG=1")

	// Nobody listens any more: that does not end us.
	t.Setenv("NOTIFY_SOCKET", filepath.Join(w.dir, "nobody.sock"))
	from := w.mark()
	w.logged(from, "no sign of life")
	if code, _ := r.get("/livez"); code != 200 {
		t.Errorf("livez: %d", code)
	}
}

func TestWatchdogInterval(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0}, {"60000000", "", 30 * time.Second}, {"60000000", fmt.Sprint(os.Getpid()), 30 * time.Second},
		{"60000000", "1", 0}, {"-5", "", 0}, {"soon", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", tt.usec)
		t.Setenv("WATCHDOG_PID", tt.pid)
		if got := watchdogInterval(); got != tt.want {
			t.Errorf("%q %q: got %v, want %v", tt.usec, tt.pid, got, tt.want)
		}
	}
}
