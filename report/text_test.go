package report

import (
	"bytes"
	"encoding/csv"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/ledger"
)

func TestCharset(t *testing.T) {
	c, err := charsetOf(sans)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range "aZ ~äßéŁžΩДяא…–€" {
		if !c.has(r) {
			t.Errorf("%U is not there", r)
		}
	}
	for _, r := range []rune{'線', 0x1f4a9, 0xffff, 0xe000, -1} {
		if c.has(r) {
			t.Errorf("%U is there", r)
		}
	}
	for _, cut := range []int{0, 4, 5, 100, 300, 5000} {
		if _, err := charsetOf(sans[:cut]); err == nil {
			t.Errorf("%d bytes of a font are taken for one", cut)
		}
	}
	if len(sans) > 800<<10 {
		t.Errorf("the font has %d bytes", len(sans))
	}
	if text, err := os.ReadFile("font/LICENSE"); err != nil || !bytes.Contains(text, []byte("Bitstream Vera Fonts Copyright")) {
		t.Errorf("the font's licence: %v", err)
	}
}

func FuzzCharset(f *testing.F) {
	f.Add(sans[:1000])
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = charsetOf(data) })
}

func TestVisual(t *testing.T) {
	for in, want := range map[string]string{
		"":               "",
		"abc/def":        "abc/def",
		"שלום":           "םולש",
		"a שלום עולם b":  "a םלוע םולש b",
		"שלום/מה.pdf":    "םולש/המ.pdf",
		"א\u05b8ב 12 גד": "בא\u05b8 12 דג",
		"שלום ":          "םולש ",
	} {
		if got := visual(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestFold: lines are never wider or more than there is room for, and a long name
// keeps its ends.
func TestFold(t *testing.T) {
	p, err := newPen(&Report{Time: day})
	if err != nil {
		t.Fatal(err)
	}
	p.AddPage()
	p.turn(1)
	for _, text := range append(hostile, "short", "words that are broken where one ends, and that go on for a while") {
		for _, width := range []float64{5, 17, 60} {
			for _, lines := range []int{1, 2, 4} {
				got := p.fold(text, width, lines)
				if len(got) == 0 || len(got) > lines {
					t.Errorf("%.20q in %d lines of %g: %q", text, lines, width, got)
				}
				for _, line := range got {
					if p.width(line) > width+0.01 {
						t.Errorf("%q is wider than %g", line, width)
					}
				}
			}
		}
	}
	if got := p.fold("begin"+strings.Repeat("x", 9000)+"end.docx", 40, 1)[0]; !strings.HasPrefix(got, "begin") || !strings.HasSuffix(got, "end.docx") || !strings.Contains(got, "…") {
		t.Errorf("the ends are lost: %q", got)
	}
	if got := p.fold("incoming/2026/november/friday/file", 30, 2); !strings.HasSuffix(got[0], "/") {
		t.Errorf("not broken at a folder: %q", got)
	}
}

func TestSplit(t *testing.T) {
	for key, want := range map[string][2]string{"": {"", ""}, "a": {"", "a"}, "a/b/c": {"a/b", "c"}, "/a": {"", "a"}, "a/b/": {"a", "b/"}, "/": {"", "/"}, "//": {"", "/"}} {
		if path, name := split(key); path != want[0] || name != want[1] {
			t.Errorf("%q: %q, %q", key, path, name)
		}
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{-1: "", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := bytesOf(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for _, c := range []struct {
		n, of int
		want  string
	}{{0, 5, "0.0%"}, {1, 100_000, "<0.1%"}, {1, 3, "33.3%"}, {99_999, 100_000, ">99.9%"}, {5, 5, "100%"}} {
		if got := percent(c.n, c.of); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.n, c.of, got, c.want)
		}
	}
}

func TestTimeline(t *testing.T) {
	at := func(apart ...time.Duration) (string, []bucket) {
		var s summary
		for i, d := range apart {
			s.add(&File{Time: day.Add(d), Verdict: []string{"clean", "infected"}[i%2], State: "finished"})
		}
		return s.timeline()
	}
	unit, list := at(90*time.Second, 0, 0)
	want := []bucket{{day, 2, 1}, {day.Add(time.Minute), 1, 0}}
	if diff := cmp.Diff(want, list, cmp.AllowUnexported(bucket{})); diff != "" || unit != "minute" {
		t.Error(unit, diff)
	}
	for end, want := range map[time.Duration]string{0: "minute", 3 * time.Hour: "hour", 80 * time.Hour: "day", 200 * 24 * time.Hour: "week", 3000 * 24 * time.Hour: "year", 100_000 * 24 * time.Hour: "year"} {
		unit, list := at(0, end)
		n := 0
		for _, b := range list {
			n += b.all
		}
		if unit != want || n != 2 || len(list) > maxBuckets {
			t.Errorf("over %s: %s, %d buckets, %d files", end, unit, len(list), n)
		}
	}
	if _, list := at(); len(list) != 0 {
		t.Errorf("of nothing: %v", list)
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	if err := CSV(&b, of(hostile...)); err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(got) != 1+len(hostile) {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	for _, line := range got[1:] {
		for _, cell := range line {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r|%") {
				t.Errorf("%.40q is a formula", cell)
			}
		}
	}
	f := File{Time: day, ID: "1", Unit: "in", Key: "a,b", Version: "v", Size: 5, SHA256: "00", Verdict: "infected", Threat: "Eicar", Engine: "clamd", Decision: "blocked", State: "finished", Outcome: "done",
		Actions: []ledger.ActionRecord{{Type: "tag", Target: "in:a,b", State: "done"}, {Type: "remove", Target: "in:a,b", State: "refused"}}}
	b.Reset()
	if err := CSV(&b, func(yield func(File, error) bool) { yield(f, nil) }); err != nil {
		t.Fatal(err)
	}
	const want = "time,id,storage,key,version,size,sha256,verdict,reason,threat,engine,decision,by,actions,state,outcome,error\n" +
		"2026-11-27T08:00:00Z,1,in,\"a,b\",v,5,00,infected,,Eicar,clamd,blocked,,\"tag in:a,b, remove refused in:a,b\",finished,done,\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
