package report

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"iter"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

var update = flag.Bool("update", false, "write testdata")

// keep writes a document for somebody to look at, where that is asked for.
func keep(t *testing.T, name string, doc []byte) {
	if dir := os.Getenv("REPORT_DIR"); dir != "" {
		if err := os.WriteFile(dir+"/"+name+".pdf", doc, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// TestGolden: what the pages say, word for word.
func TestGolden(t *testing.T) {
	const golden = "testdata/sample.txt"
	r := sample()
	r.Total = 300
	doc := pdf(t, r, many(60))
	keep(t, "sample", doc)
	got := strings.Join(pages(t, doc), "---\n")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// TestSameBytes: the same input makes the same document, also beside another.
func TestSameBytes(t *testing.T) {
	font := sha256.Sum256(sans)
	docs := make([][]byte, 4)
	var wg sync.WaitGroup
	for i := range docs {
		wg.Go(func() {
			var b bytes.Buffer
			if err := PDF(&b, sample(), many(400)); err != nil {
				t.Error(err)
			}
			docs[i] = b.Bytes()
		})
	}
	wg.Wait()
	for _, doc := range docs[1:] {
		if !bytes.Equal(docs[0], doc) {
			t.Fatal("two documents differ")
		}
	}
	if sha256.Sum256(sans) != font {
		t.Error("the font was changed")
	}
}

func TestFewFiles(t *testing.T) {
	doc := pdf(t, Report{Product: "Landwaiter", Time: day, Storage: "in", State: "running", Started: day}, many(0))
	keep(t, "none", doc)
	if got := pages(t, doc); len(got) != 1 || !strings.Contains(got[0], "There are no files.") || !strings.Contains(got[0], "Page 1 of 1") {
		t.Errorf("of nothing: %q", got)
	}
	doc = pdf(t, sample(), many(1))
	keep(t, "one", doc)
	if got := pages(t, doc); len(got) != 2 || !strings.Contains(got[1], "invoice 00000 from supplier.pdf\nincoming/2026/acme\n0 B\nclean\nallowed\n2026-11-27 08:00:00\n") {
		t.Errorf("of one file: %q", got)
	}
}

// A scale weighs what lives in memory when the document is there and nothing of
// it is written yet.
type scale struct {
	bytes.Buffer
	heap uint64
}

func (s *scale) Write(p []byte) (int, error) {
	if s.heap == 0 {
		s.heap = heap()
	}
	return s.Buffer.Write(p)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManyFiles: of more than MaxFiles the first are shown, in bounded memory,
// also if every name is as long as names get.
func TestManyFiles(t *testing.T) {
	long := object.FormatKey(strings.Repeat("\xff", 2000) + "/" + strings.Repeat("я", 1000))
	widest := func(yield func(File, error) bool) {
		f := File{Key: long, Threat: long, Size: 1 << 30, Verdict: "infected", Decision: "blocked", Time: day, Actions: []ledger.ActionRecord{{Type: long}}}
		for i := 0; i <= MaxFiles && yield(f, nil); i++ {
			f.Time = f.Time.Add(time.Second)
		}
	}
	r := sample()
	r.Total = 48_211
	for name, files := range map[string]iter.Seq2[File, error]{"ordinary": many(MaxFiles + 1), "widest": widest} {
		before, began := heap(), time.Now()
		var w scale
		if err := PDF(&w, r, files); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		extra := int64(w.heap) - int64(before)
		keep(t, name, w.Bytes())
		got := pages(t, w.Bytes())
		rows := 0
		for _, p := range got[1:] {
			rows += strings.Count(p, "B\n")
		}
		t.Logf("%s: files=%d pages=%d bytes=%d took=%s extra=%d KiB", name, rows, len(got), w.Len(), took.Round(time.Millisecond), extra>>10)
		if rows != MaxFiles {
			t.Errorf("%s: %d files are shown", name, rows)
		}
		const note = "10,000 of 48,211 files are shown.\n"
		if !strings.Contains(got[0], note) || !strings.Contains(got[len(got)-1], note) {
			t.Errorf("%s: it does not say that not all are shown", name)
		}
		if extra > 64<<20 {
			t.Errorf("%s: it took %d bytes of memory", name, extra)
		}
	}
}

func TestHowManyAreShown(t *testing.T) {
	for _, c := range []struct {
		r    Report
		n    int
		more bool
		want string
	}{
		{Report{}, 3, false, ""},
		{Report{Total: 3}, 3, false, ""},
		{Report{}, 10_000, true, "The first 10,000 files are shown; there are more."},
		{Report{Total: 1_234_567}, 10_000, true, "10,000 of 1,234,567 files are shown."},
		{Report{Total: 20_000, AtLeast: true}, 10_000, true, "10,000 of more than 20,000 files are shown."},
	} {
		if got := c.r.shownOf(c.n, c.more); got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}

// TestHostileNames: whatever names are, they stay within their cells, and what
// is printed is visible.
func TestHostileNames(t *testing.T) {
	r := sample()
	r.Storage, r.Name, r.Folder, r.By, r.Filters = strings.Repeat("\u202e", 300), "\x00\xff", strings.Repeat("/x", 4000), strings.Repeat("線", 500), hostile
	doc := pdf(t, r, of(hostile...))
	keep(t, "hostile", doc)
	chars, err := charsetOf(sans)
	if err != nil {
		t.Fatal(err)
	}
	list := pages(t, doc)
	for _, page := range list {
		for _, c := range page {
			if c != '\n' && (!unicode.IsPrint(c) || !chars.has(c)) {
				t.Errorf("%U is printed", c)
			}
		}
	}
	all := strings.Join(list, "")
	for _, want := range []string{`\xff\xfe\xfd.bin`, `\u{1F4A9}.txt`, `(\\) Tj ET (`, "Отчёт", "%%EOF", "םולש"} {
		if !strings.Contains(all, want+"\n") {
			t.Errorf("%q is not there", want)
		}
	}
	if n := bytes.Count(doc, []byte("/Type /Page\n")); n != len(list) || n != 2 {
		t.Errorf("%d pages, %d of text", n, len(list))
	}
}

func TestBrokenOff(t *testing.T) {
	broken := errors.New("broken")
	files := func(yield func(File, error) bool) { _ = yield(File{Key: "a"}, nil) && yield(File{}, broken) }
	var b bytes.Buffer
	if err := PDF(&b, sample(), files); !errors.Is(err, broken) || b.Len() != 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	if err := CSV(&b, files); !errors.Is(err, broken) {
		t.Errorf("csv: %v", err)
	}
	full := errors.New("full")
	if err := PDF(failing{full}, sample(), many(1)); !errors.Is(err, full) {
		t.Errorf("a writer's error: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
