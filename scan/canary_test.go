package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/landwaiter/landwaiter/fault"
)

func TestProve(t *testing.T) {
	small := Limits{Size: 1 << 20, Expanded: 4 << 20, Depth: 5, Entries: 300}
	unknown := Limits{}
	spoken := small
	spoken.Exceeded = true
	huge := Limits{Size: 1 << 40, Expanded: 1 << 40, Depth: 500, Entries: 1 << 30}
	hugeSpoken := huge
	hugeSpoken.Exceeded = true
	type want struct {
		outcome  Outcome
		from, to int64
	}
	silent := func(from, to int64) want { return want{Silent, from, to} }
	alerted := want{outcome: Alerted}
	for _, c := range []struct {
		name      string
		engine    *fake
		said      Limits // what it says its limits are
		encrypted Outcome
		size      want
		depth     want
		entries   want
		expanded  want
	}{
		{"silent", &fake{lim: small}, small, Silent, silent(1<<20, 1<<20), silent(5, 5), silent(270, 270), silent(3<<20, 4<<20)},
		{"loud", &fake{lim: small, loud: true}, spoken, Alerted, alerted, alerted, alerted, alerted},
		{"silent, says nothing", &fake{lim: small}, unknown, Silent, silent(0, 1<<20), silent(5, 5), silent(100, 300), silent(0, 4<<20)},
		{"loud, says nothing", &fake{lim: small, loud: true}, unknown, Alerted, alerted, alerted, alerted, alerted},
		{"silent, claims to be loud", &fake{lim: small}, spoken, Silent, silent(1<<20, 1<<20), silent(5, 5), silent(270, 270), silent(3<<20, 4<<20)},
		{"too large to try", &fake{}, huge, Silent, silent(1<<40, 1<<40), silent(1, 500), silent(1, 1<<30), silent(1, 1<<40)},
		{"too large to try, says it alerts", &fake{}, hugeSpoken, Silent, alerted, alerted, alerted, alerted},
	} {
		t.Run(c.name, func(t *testing.T) {
			proof, err := Prove(context.Background(), c.engine, c.said)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []struct {
				c Case
				w want
			}{{CaseSize, c.size}, {CaseDepth, c.depth}, {CaseEntries, c.entries}, {CaseExpanded, c.expanded}, {CaseEncrypted, want{outcome: c.encrypted}}} {
				got := proof.Result(r.c)
				if got.Outcome != r.w.outcome || got.Bound < r.w.from || got.Bound > r.w.to {
					t.Errorf("%s: %s up to %d; want %s up to %d … %d", r.c, got.Outcome, got.Bound, r.w.outcome, r.w.from, r.w.to)
				}
			}
		})
	}
}

func TestProveUseless(t *testing.T) {
	boom := fault.New(fault.Unavailable, "fake", "", nil)
	for _, c := range []struct {
		engine *fake
		want   error
	}{
		{&fake{blind: true}, ErrBlind},
		{&fake{nervous: true}, ErrFalseAlarm},
		{&fake{err: boom}, boom},
	} {
		if _, err := Prove(context.Background(), c.engine, Limits{}); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
	proof, err := Prove(context.Background(), &fake{noZip: true}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Case{CaseArchive, CaseDepth, CaseEntries, CaseEncrypted} {
		if r := proof.Result(c); r.Outcome != Silent {
			t.Errorf("an engine that opens no archives: %s is %s", c, r.Outcome)
		}
	}
}

// TestZips reads back what the canaries are made of.
func TestZips(t *testing.T) {
	members := func(b []byte) []*zip.File {
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		return z.File
	}
	read := func(f *zip.File) []byte {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, packed := range []bool{true, false} {
		for _, n := range []int64{1, 1 << 20, 3<<20 + 17} {
			b := zipOf(t, func(w io.Writer) error { return padded(w, n, 2<<20, packed) })
			var sum int64
			ms := members(b)
			for _, m := range ms[:len(ms)-1] {
				sum += int64(len(read(m)))
			}
			if sum != n || !bytes.Equal(read(ms[len(ms)-1]), eicar()) {
				t.Errorf("padded(%d, %v): %d bytes of padding", n, packed, sum)
			}
			if packed && int64(len(b)) > n/100+2000 || !packed && int64(len(b)) < n {
				t.Errorf("padded(%d, %v) takes %d bytes", n, packed, len(b))
			}
		}
	}
	if ms := members(zipOf(t, func(w io.Writer) error { return crowded(w, 77) })); len(ms) != 77 || !bytes.Equal(read(ms[76]), eicar()) {
		t.Errorf("crowded(77) has %d members", len(ms))
	}
	b := zipOf(t, func(w io.Writer) error { return nested(w, 4) })
	if ms := members(read(members(zipOf(t, func(w io.Writer) error { return bulky(w, 3<<20) }))[0])); !bytes.Equal(read(ms[1]), eicar()) {
		t.Error("bulky has no EICAR in it")
	}
	if m := members(zipOf(t, hiddenZip))[0]; m.Flags&1 == 0 {
		t.Error("hiddenZip is not encrypted")
	}
	for range 4 {
		if bytes.Contains(b, eicar()[20:40]) {
			t.Error("EICAR stands in the zip as it is")
		}
		b = read(members(b)[0])
	}
	if !bytes.Equal(b, eicar()) {
		t.Error("nested(4) is not 4 deep")
	}
	if m := members(zipOf(t, encryptedZip))[0]; m.Flags&1 == 0 {
		t.Error("encryptedZip is not encrypted")
	}
}

// TestZipCrypto decrypts what Info-ZIP 3.0 made of `printf landwaiter` with
// `zip -0 -P secret`: twelve bytes of header, then the content.
func TestZipCrypto(t *testing.T) {
	b, err := hex.DecodeString("dfc6bd4897f5b8f7d1b1dfcb30bb6c836c087108bb5d")
	if err != nil {
		t.Fatal(err)
	}
	decrypt := func(b []byte, password string) []byte {
		k := newZipCrypto([]byte(password))
		for i, c := range b {
			w := uint16(k[2] | 2)
			b[i] = c ^ byte(uint32(w)*uint32(w^1)>>8)
			k.update(b[i])
		}
		return b
	}
	if got := decrypt(b, "secret")[12:]; string(got) != "landwaiter" {
		t.Errorf("decrypts to %q", got)
	}
	ours := []byte("twelve bytes and the content")
	newZipCrypto([]byte("pw")).encrypt(ours)
	if got := decrypt(ours, "pw"); string(got) != "twelve bytes and the content" {
		t.Errorf("ours decrypts to %q", got)
	}
}

func TestSparse(t *testing.T) {
	p := &prover{engine: engineFunc(func(s Sample) (Report, error) {
		b, err := io.ReadAll(io.NewSectionReader(s.File, 0, s.Size))
		if err != nil {
			return Report{}, err
		}
		v, _ := (&look{f: &fake{}}).at(b, 0)
		return Report{Verdict: v, JobID: fmt.Sprint(len(b))}, nil
	}), dir: t.TempDir()}
	rep, err := p.show(context.Background(), "a", false, func(w io.Writer) error { return padded(w, 5<<20, 5<<20, false) })
	if err != nil || rep.Verdict != Infected {
		t.Errorf("a zip with holes for zeros: %s, %v", rep.Verdict, err)
	}
}

// engineFunc is an engine that only scans.
type engineFunc func(Sample) (Report, error)

func (f engineFunc) Scan(_ context.Context, s Sample) (Report, error) { return f(s) }
func (f engineFunc) Probe(context.Context) (Health, error)            { return Health{Ready: true}, nil }
func (f engineFunc) Close() error                                     { return nil }
