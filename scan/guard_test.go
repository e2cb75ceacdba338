package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// walkerFunc is a Walker.
type walkerFunc func(Sample, Limits) (Facts, error)

func (f walkerFunc) Walk(_ context.Context, s Sample, l Limits) (Facts, error) { return f(s, l) }

// silentProof is that of an engine that is silent about everything.
func silentProof() *Proof {
	return &Proof{Results: []Result{
		{Case: CaseArchive, Outcome: Seen}, {Case: CaseSize, Outcome: Silent, Bound: 1000}, {Case: CaseDepth, Outcome: Silent, Bound: 3},
		{Case: CaseEntries, Outcome: Silent, Bound: 50}, {Case: CaseExpanded, Outcome: Silent, Bound: 5000}, {Case: CaseEncrypted, Outcome: Silent},
		{Case: CaseMember, Outcome: Silent, Bound: 1000}, {Case: CaseHidden, Outcome: Silent},
	}}
}

func loudProof() *Proof {
	p := silentProof()
	for i := range p.Results[1:] {
		p.Results[i+1].Outcome = Alerted
	}
	return p
}

func quietBehind() *Proof {
	p := loudProof()
	p.Results[len(p.Results)-1] = Result{Case: CaseHidden, Outcome: Silent}
	return p
}

func TestGuard(t *testing.T) {
	clean, infected := Report{Verdict: Clean}, Report{Verdict: Infected, Threat: "X"}
	small := zipOf(t, func(w io.Writer) error { return nested(w, 1) })
	text := []byte("just text")
	prefixed := append([]byte("MZ a program in front of it"), small...)
	met := func(r Reason) walkerFunc {
		return func(Sample, Limits) (Facts, error) { return Facts{Kind: "zip", Reason: r, Path: "a/b"}, nil }
	}
	never := walkerFunc(func(Sample, Limits) (Facts, error) { return Facts{}, errors.New("not to be asked") })
	for _, c := range []struct {
		name    string
		proof   *Proof
		lim     Limits
		walker  Walker
		content []byte
		says    Report
		want    Verdict
		reason  Reason
	}{
		{"text", silentProof(), Limits{}, never, text, clean, Clean, ""},
		{"empty", silentProof(), Limits{}, never, nil, clean, Clean, ""},
		{"archive within bounds", silentProof(), Limits{}, met(""), small, clean, Clean, ""},
		{"too deep", silentProof(), Limits{}, met(ArchiveDepth), small, clean, NotScanned, ArchiveDepth},
		{"too many", silentProof(), Limits{}, met(ArchiveFiles), small, clean, NotScanned, ArchiveFiles},
		{"too much", silentProof(), Limits{}, met(ArchiveSize), small, clean, NotScanned, ArchiveSize},
		{"member too large", silentProof(), Limits{}, met(TooLarge), small, clean, NotScanned, TooLarge},
		{"encrypted", silentProof(), Limits{}, met(Encrypted), small, clean, NotScanned, Encrypted},
		{"unsupported", silentProof(), Limits{}, met(Unsupported), small, clean, NotScanned, Unsupported},
		{"behind a program", silentProof(), Limits{}, met(Encrypted), prefixed, clean, NotScanned, Encrypted},
		{"infected wins", silentProof(), Limits{}, met(Encrypted), small, infected, Infected, ""},
		{"engine that alerts", loudProof(), Limits{}, never, small, clean, Clean, ""},
		{"engine that alerts, but not behind a program", quietBehind(), Limits{}, met(Encrypted), prefixed, clean, NotScanned, Encrypted},
		{"engine that alerts, but not behind a program; an archive", quietBehind(), Limits{}, never, small, clean, Clean, ""},
		{"larger than the engine looks", silentProof(), Limits{}, never, make([]byte, 1001), infected, NotScanned, TooLarge},
		{"as large as it looks", silentProof(), Limits{}, never, make([]byte, 1000), clean, Clean, ""},
		{"no walker", silentProof(), Limits{}, nil, small, clean, NotScanned, Unsupported},
		{"engine that opens no archive", &Proof{}, Limits{}, met(""), small, clean, NotScanned, Unsupported},
		{"engine that opens no archive, no walker", &Proof{}, Limits{}, nil, small, clean, NotScanned, Unsupported},
		{"engine that opens no archive, a program", &Proof{}, Limits{}, met(""), []byte("MZ program"), clean, Clean, ""},
		{"engine that opens no archive, one in a program", &Proof{}, Limits{}, met(Unsupported), []byte("MZ program"), clean, NotScanned, Unsupported},
		{"a program without a walker", silentProof(), Limits{}, nil, []byte("MZ program"), clean, Clean, ""},
		{"large member", silentProof(), Limits{}, walkerFunc(func(Sample, Limits) (Facts, error) {
			return Facts{Kind: "zip", Largest: 1001}, nil
		}), small, clean, NotScanned, TooLarge},
		{"engine that opens no archive, text", &Proof{}, Limits{}, never, text, clean, Clean, ""},
		{"engine that opens no archive, large", &Proof{}, Limits{Size: 5}, never, text, clean, NotScanned, TooLarge},
		{"walk crashed", silentProof(), Limits{}, walkerFunc(func(Sample, Limits) (Facts, error) {
			return Facts{}, &fault.Error{Op: "box", Reason: string(EngineCrash)}
		}), small, clean, NotScanned, EngineCrash},
		{"too slow to believe", silentProof(), Limits{Timeout: time.Second}, never, text, Report{Verdict: Clean, Took: time.Second}, NotScanned, Timeout},
		{"slow, but it would say so", silentProof(), Limits{Timeout: time.Second, Exceeded: true}, never, text, Report{Verdict: Clean, Took: time.Second}, Clean, ""},
		{"no verdict's reason", silentProof(), Limits{}, never, text, Report{Verdict: NotScanned}, NotScanned, EngineError},
	} {
		for _, s := range []Sample{stream(c.content), file(t, c.content)} {
			in := &Instance{Name: "i", Engine: engineFunc(func(s Sample) (Report, error) {
				if s.File == nil {
					r, err := s.Open(context.Background())
					if err != nil {
						return Report{}, err
					}
					defer r.Close()
					if _, err := io.Copy(io.Discard, iotest.OneByteReader(r)); err != nil {
						return Report{}, err
					}
				}
				return c.says, nil
			})}
			rep, err := in.ask(context.Background(), newGuard(c.proof, c.lim, c.walker, false), s)
			if err != nil || rep.Verdict != c.want || rep.Reason != c.reason {
				t.Errorf("%s (file: %v): %s (%s), %v; want %s (%s)", c.name, s.File != nil, rep.Verdict, rep.Reason, err, c.want, c.reason)
			}
			if rep.Code != Code(rep.Verdict, rep.Reason) {
				t.Errorf("%s: code %d", c.name, rep.Code)
			}
		}
	}
}

// TestWalkBounds: the Walker gets the engine's bounds, less what the engine
// counts besides.
func TestWalkBounds(t *testing.T) {
	content := zipOf(t, func(w io.Writer) error { return nested(w, 1) })
	var got Limits
	g := newGuard(silentProof(), Limits{}, walkerFunc(func(_ Sample, l Limits) (Facts, error) {
		got = l
		return Facts{Kind: "zip"}, nil
	}), false)
	in := &Instance{Name: "i", Engine: engineFunc(func(Sample) (Report, error) { return Report{Verdict: Clean}, nil })}
	if _, err := in.ask(context.Background(), g, file(t, content)); err != nil {
		t.Fatal(err)
	}
	want := Limits{Size: 1000, Depth: 3, Entries: 50, Expanded: 5000 - int64(len(content)), Ratio: 1 << 40}
	if got != want {
		t.Errorf("the walker's bounds are %+v, want %+v", got, want)
	}
}

// TestReaders: what the sample's own reader does is told as it is, whatever the
// engine makes of it.
func TestReaders(t *testing.T) {
	boom := fault.New(fault.Unavailable, "s3.Open", "k", nil)
	for _, c := range []struct {
		name string
		open func(context.Context) (io.ReadCloser, error)
		want error
	}{
		{"open fails", func(context.Context) (io.ReadCloser, error) { return nil, boom }, boom},
		{"read fails", func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(boom))), nil
		}, boom},
		{"short", func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abc")), nil }, nil},
		{"long", func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("abcabcabcabc")), nil
		}, nil},
	} {
		careless := engineFunc(func(s Sample) (Report, error) {
			if r, err := s.Open(context.Background()); err == nil {
				_, _ = io.Copy(io.Discard, r)
			}
			return Report{Verdict: Clean}, nil
		})
		in := &Instance{Name: "i", Engine: careless}
		rep, err := in.ask(context.Background(), newGuard(loudProof(), Limits{}, nil, false), Sample{Size: 10, Open: c.open})
		if c.want != nil {
			if !errors.Is(err, c.want) || retriable(context.Background(), err) {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if err != nil || rep.Verdict != NotScanned {
			t.Errorf("%s: %s, %v", c.name, rep.Verdict, err)
		}
	}
	// A first reader that failed does not count when a second was read in full.
	tries := 0
	in := &Instance{Name: "i", Engine: engineFunc(func(s Sample) (Report, error) {
		for range 2 {
			r, err := s.Open(context.Background())
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, r)
		}
		return Report{Verdict: Clean}, nil
	})}
	rep, err := in.ask(context.Background(), newGuard(loudProof(), Limits{}, nil, false), Sample{Size: 3, Open: func(context.Context) (io.ReadCloser, error) {
		if tries++; tries == 1 {
			return nil, boom
		}
		return io.NopCloser(strings.NewReader("abc")), nil
	}})
	if err != nil || rep.Verdict != Clean {
		t.Errorf("second try: %s, %v", rep.Verdict, err)
	}
}

func TestSniff(t *testing.T) {
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	tar := make([]byte, 1024)
	copy(tar, "name")
	copy(tar[100:], "0000644\x00")
	copy(tar[124:], "00000000000\x00")
	copy(tar[148:], "        ")
	var sum int
	for _, c := range tar[:512] {
		sum += int(c)
	}
	copy(tar[148:], fmt.Sprintf("%06o\x00 ", sum))
	text := bytes.Repeat([]byte("text "), 30_000)
	for _, c := range []struct {
		name    string
		content []byte
		want    looks
	}{
		{"empty", nil, plain},
		{"text", text, plain},
		{"zip", []byte("PK\x03\x04"), archive},
		{"gzip", []byte{0x1f, 0x8b, 8}, archive},
		{"tar without a magic", tar, archive},
		{"end of a zip at the end", append(bytes.Clone(text), end...), behind},
		{"with a long comment", append(append(bytes.Clone(text), end...), make([]byte, 1<<16-1)...), behind},
		{"too far from the end", append(append(bytes.Clone(text), end...), make([]byte, 80<<10)...), plain},
		{"with more behind than a comment holds", append(append(bytes.Clone(text), end...), make([]byte, 66_000)...), behind},
		{"tar behind junk", append(bytes.Repeat([]byte("junk"), 128), tar...), archive},
		{"tar behind a program", append(append([]byte("MZ"), make([]byte, 1<<19-2)...), tar...), archive},
		{"tar between blocks", append(bytes.Repeat([]byte("junk"), 127), tar...), plain},
		{"tar too far from the beginning", append(make([]byte, TarJunk), tar...), plain},
		{"digits that are no tar", bytes.Repeat([]byte("00061440 "), 30_000), plain},
		{"end of a zip alone", end, archive},
		{"a program with a zip behind", append(append([]byte("MZ"), text...), end...), behind},
		{"pdf", []byte("%PDF-1.7"), plain},
		{"program", []byte("MZ abc"), maybe},
		{"iso", append(make([]byte, 0x8001), "CD001"...), archive},
		{"zeros", make([]byte, 2000), plain},
		{"lha", append([]byte("!!-lh5-"), make([]byte, 20)...), archive},
		{"compress", append([]byte{0x1f, 0x9d, 0x90}, make([]byte, 20)...), archive},
		{"not compress", append([]byte{0x1f, 0x9d, 0xff}, make([]byte, 20)...), plain},
		{"arj", append([]byte{0x60, 0xea, 0x22, 0}, make([]byte, 20)...), archive},
		{"cpio", append([]byte{0xc7, 0x71}, bytes.Repeat([]byte{5, 0}, 10)...), archive},
		{"cpio, other end", append([]byte{0x71, 0xc7}, bytes.Repeat([]byte{0, 5}, 10)...), archive},
	} {
		if got := sniffFile(file(t, c.content)); got != c.want {
			t.Errorf("%s: as a file %v", c.name, got)
		}
		for range 10 {
			var w watch
			s := w.over(stream(c.content), true)
			r, err := s.Open(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1+rand.IntN(1<<rand.IntN(17)))
			for err == nil {
				_, err = r.Read(buf[:1+rand.IntN(len(buf))])
			}
			if got := w.looks(); got != c.want || w.unread() != 0 {
				t.Errorf("%s: as a stream %v, %d unread", c.name, got, w.unread())
			}
		}
	}
	f := file(t, text)
	f.File.Close()
	if sniffFile(f) != archive {
		t.Error("a file that cannot be read is taken for harmless")
	}
}

// FuzzSniff: file and stream agree about any content.
func FuzzSniff(f *testing.F) {
	f.Add([]byte("PK\x05\x06"), uint16(3))
	f.Add([]byte("abcPK\x05\x06abc"), uint16(1))
	f.Fuzz(func(t *testing.T, content []byte, step uint16) {
		tmp, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer tmp.Close()
		if _, err := tmp.Write(content); err != nil {
			t.Fatal(err)
		}
		s := stream(content)
		s.File = tmp
		want := sniffFile(s)
		var w watch
		r, err := w.over(stream(content), true).Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, int(step)+1)
		for err == nil {
			_, err = r.Read(buf)
		}
		if w.looks() != want {
			t.Errorf("stream %v, file %v", w.looks(), want)
		}
	})
}
