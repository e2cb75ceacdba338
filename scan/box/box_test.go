package box

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

func TestMain(m *testing.M) {
	if mark := os.Getenv(envMark); mark != "" {
		os.Exit(serve(mark, hook))
	}
	if os.Getenv("BOX_LANDLOCK_ONLY") != "" {
		os.Exit(landlockOnly())
	}
	goleak.VerifyTestMain(m)
}

type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func open(t testing.TB, o Options) *Pool {
	t.Helper()
	o.Dir = t.TempDir()
	p, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func file(t testing.TB, b []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "content"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}

func inspect(t testing.TB, p *Pool, b []byte, ask Ask) (Result, error) {
	t.Helper()
	return p.Inspect(context.Background(), file(t, b), int64(len(b)), scan.Limits{}, ask)
}

const needle = "a needle of some length"

func zipOf(parts ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		f, err := w.Create(parts[i])
		if err == nil {
			_, err = io.WriteString(f, parts[i+1])
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestInspect(t *testing.T) {
	p := open(t, Options{})
	bad := sha256.Sum256([]byte("listed"))
	res, err := inspect(t, p, zipOf("a", "harmless", "b/c\xff", "x "+needle, "d", "listed"), Ask{
		Needle: []byte(needle), Threat: "Needle", Digests: archive.SHA256 | archive.MD5,
		Match: func(s *archive.Sums, size int64) (string, bool) { return "Listed", s.SHA256 == bad && size == 6 },
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Facts.Entries != 3 || res.Facts.Reason != "" || len(res.Infected) != 2 {
		t.Fatalf("got %+v", res)
	}
	if m := res.Infected[0]; m.Path != `b/c\xff` || m.Threat != "Needle" || m.Size != int64(2+len(needle)) || len(m.SHA256) != 64 {
		t.Errorf("got %+v", m)
	}
	if m := res.Infected[1]; m.Path != "d" || m.Threat != "Listed" {
		t.Errorf("got %+v", m)
	}
}

// TestWalk: files and streams, archives and others.
func TestWalk(t *testing.T) {
	p := open(t, Options{})
	var pax bytes.Buffer
	w := tar.NewWriter(&pax)
	if err := w.WriteHeader(&tar.Header{Name: "a", Size: 20 << 20, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 20<<20)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "{Kind: Depth:0 Entries:0 Expanded:0 Largest:0 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"plain", []byte("plain"), "{Kind: Depth:0 Entries:0 Expanded:0 Largest:0 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"zip", zipOf("a", "b"), "{Kind:zip Depth:1 Entries:1 Expanded:1 Largest:1 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"behind text", append([]byte("text"), zipOf("a", "b")...), "{Kind:zip Depth:1 Entries:1 Expanded:1 Largest:1 Ratio:0 Encrypted:0 Reason: Path:}"},
		{"7z in zip", zipOf("a", "7z\xbc\xaf\x27\x1c....."), "{Kind:zip Depth:2 Entries:1 Expanded:11 Largest:11 Ratio:0 Encrypted:0 Reason:unsupported Path:a}"},
		{"large tar", pax.Bytes(), "{Kind:tar Depth:1 Entries:1 Expanded:20971520 Largest:20971520 Ratio:0 Encrypted:0 Reason: Path:}"},
	} {
		s := scan.Sample{Size: int64(len(c.b)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(c.b)), nil
		}}
		for range 2 {
			f, err := p.Walk(context.Background(), s, scan.Limits{})
			if got := fmt.Sprintf("%+v", f); err != nil || got != c.want {
				t.Errorf("%s (file %v): got %s, %v, want %s", c.name, s.File != nil, got, err, c.want)
			}
			s.File = file(t, c.b)
		}
	}
	short := scan.Sample{Size: 100, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(zipOf("a", "b")[:90])), nil
	}}
	if _, err := p.Walk(context.Background(), short, scan.Limits{}); err == nil {
		t.Error("a stream shorter than its size is no error")
	}
}

// TestCrash: content that kills its parser is given up after the third child,
// and takes nothing else with it.
func TestCrash(t *testing.T) {
	var words log
	p := open(t, Options{Size: 2, Memory: 128 << 20, Spool: 8 << 20, Timeout: 3 * time.Second,
		Log: slog.New(slog.NewTextHandler(&words, nil))})
	good := zipOf("a", needle)
	for _, c := range []struct {
		word string
		want scan.Reason
		dead int
	}{
		{"PANIC", scan.EngineCrash, tries},
		{"EXIT", scan.EngineCrash, tries},
		{"SEGV", scan.EngineCrash, tries},
		{"MEMORY", scan.EngineCrash, tries},
		{"DISK", scan.EngineCrash, tries},
		{"LIES\n\x00\x00\x00\x00\x00", scan.EngineCrash, tries},
		{"LIES\n\xff\xff\xff\xff\x00", scan.EngineCrash, tries},
		{"LIES\n\x02\x00\x00\x00d{", scan.EngineCrash, tries},
		{"LIES\n\x02\x00\x00\x00m\x02", scan.EngineCrash, tries},
		{"LIES\n\x01\x00\x00\x00?", scan.EngineCrash, tries},
		{`LIES` + "\n\x24\x00\x00\x00d" + `{"facts":{"reason":"everything ok"}}`[:35] + "\n", scan.EngineCrash, tries},
	} {
		name, _, _ := strings.Cut(c.word, "\n")
		t.Run(name, func(t *testing.T) {
			words.mu.Lock()
			words.b.Reset()
			words.mu.Unlock()
			var wg sync.WaitGroup
			stop := make(chan struct{})
			wg.Go(func() { // others go on
				for n := 0; ; n++ {
					res, err := inspect(t, p, good, Ask{Needle: []byte(needle), Threat: "T"})
					if err != nil || len(res.Infected) != 1 {
						t.Errorf("another content: %+v, %v", res, err)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
			_, err := inspect(t, p, []byte(c.word), Ask{})
			close(stop)
			wg.Wait()
			if got := scan.Reason(fault.ReasonOf(err)); got != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if n := strings.Count(words.String(), "parser died"); n != c.dead {
				t.Errorf("%d children died, want %d: %s", n, c.dead, &words)
			}
		})
	}
}

// TestTimeout: a content that holds its parser up ends as timeout, in about
// that time, and a cancelled one at once.
func TestTimeout(t *testing.T) {
	p := open(t, Options{Size: 1})
	f := file(t, []byte("HANG\n"))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := p.Inspect(ctx, f, 5, scan.Limits{}, Ask{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled: %v", err)
	}
	_, err := p.Inspect(context.Background(), f, 5, scan.Limits{Timeout: 100 * time.Millisecond}, Ask{})
	if got := fault.ReasonOf(err); got != string(scan.Timeout) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > grace+5*time.Second {
		t.Errorf("took %v", took)
	}
	// A walk that merely takes long (4 GiB in 4 MiB) ends by itself, with what it knows.
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 100 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	long := bytes.Repeat(b.Bytes(), 40)
	res, err := p.Inspect(context.Background(), file(t, long), int64(len(long)),
		scan.Limits{Timeout: 20 * time.Millisecond, Ratio: 1 << 30}, Ask{})
	if err != nil || res.Facts.Reason != scan.Timeout || res.Facts.Entries != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
}

// TestPool: children are bounded, kept, replaced, retired and ended; none is
// left.
func TestPool(t *testing.T) {
	p := open(t, Options{Size: 2, Uses: 3, Idle: 50 * time.Millisecond})
	good := zipOf("a", needle)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := inspect(t, p, good, Ask{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := children(p); n > 2 {
		t.Errorf("%d idle children", n)
	}
	deadline := time.Now().Add(10 * time.Second)
	for children(p) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("children are not retired")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := inspect(t, p, good, Ask{}); err != nil {
		t.Errorf("after retirement: %v", err)
	}
	var ours *child
	p.mu.Lock()
	if len(p.idle) > 0 {
		ours = p.idle[0]
	}
	p.mu.Unlock()
	p.Close()
	if ours != nil {
		if err := ours.cmd.Process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("a child is left: %v", err)
		}
	}
	if _, err := inspect(t, p, good, Ask{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("closed: %v", err)
	}
}

// TestCloseAtWork: Close does not wait for what may take minutes.
func TestCloseAtWork(t *testing.T) {
	p := open(t, Options{Size: 1})
	f := file(t, []byte("HANG\n"))
	done := make(chan error)
	go func() {
		_, err := p.Inspect(context.Background(), f, 5, scan.Limits{}, Ask{})
		done <- err
	}()
	for end := time.Now().Add(10 * time.Second); children(p) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	p.Close()
	if err := <-done; !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func children(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

func TestFrames(t *testing.T) {
	want := member{hit: true, size: 7, path: "a/b"}
	want.sums.Has = archive.MD5 | archive.SHA256
	want.sums.SHA256[3] = 9
	b := appendMember(nil, want)
	typ, p, err := readFrame(bytes.NewReader(b), nil)
	if err != nil || typ != frameMember {
		t.Fatal(typ, err)
	}
	if got, err := parseMember(p); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range p[:len(p)-len(want.path)] {
		if _, err := parseMember(p[:n]); err == nil {
			t.Errorf("cut at %d: no error", n)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(appendMember(nil, member{hit: true, size: 7, path: "a/b"}))
	f.Add([]byte("\x02\x00\x00\x00d{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, p, err := readFrame(bytes.NewReader(b), nil)
		if err != nil {
			return
		}
		if len(p) > maxFrame {
			t.Fatal("too long")
		}
		if typ == frameMember {
			if m, err := parseMember(p); err == nil && (m.size < 0 || len(m.path) > maxPath) {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	p := open(b, Options{Size: 1})
	z := zipOf("a", needle)
	f := file(b, z)
	for b.Loop() {
		if _, err := p.Inspect(context.Background(), f, int64(len(z)), scan.Limits{}, Ask{Needle: []byte(needle)}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	p := open(b, Options{Size: 1})
	for b.Loop() {
		c, err := p.start(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		c.end()
	}
}
