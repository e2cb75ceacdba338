package all_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/all"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/scan/builtin"
	"github.com/landwaiter/landwaiter/scan/scantest"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	box.Main()
	os.Exit(m.Run())
}

func TestOpen(t *testing.T) {
	ctx := context.Background()
	for _, raw := range []string{"builtin:", "clamd:///run/clamd.sock", "clamd://127.0.0.1:3310", "clamd://[::1]", "mdcore://127.0.0.1:8008", "mdcores://core.example"} {
		e, err := all.Open(ctx, raw, all.Options{})
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if err := e.Close(); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, raw := range []string{"", ":", "builtin", "builtin:x", "nosuch://x", "clamd:", "clamd://", "clamd://h/path", "clamd:///s?nosuch=1", "clamd:///s?in_flight=0",
		"clamd:///s?timeout=-1s", "clamd:///s?max_file_size=x", "clamd://u:p@h", "\x00"} {
		e, err := all.Open(ctx, raw, all.Options{})
		if !fault.Is(err, fault.Invalid) || e != nil {
			t.Errorf("%q: %v, %v; want fault.Invalid", raw, e, err)
		}
	}
}

// pool returns a ready pool with the engine at raw, and Close at the end.
func pool(t *testing.T, raw string, walker *box.Pool) *scan.Pool {
	t.Helper()
	in, err := all.Instance(context.Background(), "engine", raw, 0, all.Options{Builtin: builtin.Options{Box: walker}})
	if err != nil {
		t.Fatal(err)
	}
	p := scan.NewPool(scan.PoolOptions{Name: "p", Instances: []*scan.Instance{in}, Walker: walker})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if !p.Check(context.Background()) {
		t.Fatalf("not ready: %+v", p.Status())
	}
	return p
}

// TestLimits is I12: EICAR where an engine does not look, through a clamd with
// and without its alerts and through the builtin engine; nothing is clean.
func TestLimits(t *testing.T) {
	walker, err := box.Open(context.Background(), box.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := walker.Close(); err != nil {
			t.Error(err)
		}
	})
	// The one has clamd's own defaults, and objects of that size; for the others
	// smaller ones say the same.
	silent, _ := servers.Clamd(t, servers.ClamdOptions{Config: []string{"StreamMaxLength 100M", "MaxFileSize 100M", "MaxScanSize 400M"}})
	small := []string{"StreamMaxLength 10M", "MaxFileSize 10M", "MaxScanSize 40M"}
	_, unknown := servers.Clamd(t, servers.ClamdOptions{Config: small})
	loud, _ := servers.Clamd(t, servers.ClamdOptions{Config: append(small, "AlertExceedsMax yes", "AlertEncrypted yes")})
	conf := func(socket string) string { return "?conf=" + filepath.Join(filepath.Dir(socket), "clamd.conf") }
	var cases, falseClean int
	for _, e := range []struct {
		name, raw string
		size      int // MiB that it looks at most at
	}{
		{"silent", "clamd://" + silent + conf(silent), 100}, {"unknown", "clamd://" + unknown, 10},
		{"loud", "clamd://" + loud + conf(loud), 10}, {"builtin", "builtin:", 10},
	} {
		t.Run(e.name, func(t *testing.T) {
			samples := beyond(t, e.size<<20)
			raw := e.raw
			p := pool(t, raw, walker)
			for _, r := range p.Status().Instances[0].Proof.Results {
				t.Logf("%-9s %-7s %d %s", r.Case, r.Outcome, r.Bound, r.Detail)
			}
			t.Logf("proof took %v", p.Status().Instances[0].Proof.Took)
			for what, s := range samples {
				if strings.HasSuffix(what, "too large in gzip") && e.size > 10 {
					continue // slow as well
				}
				for _, stream := range []bool{false, true} {
					if stream && e.size > 10 {
						continue // slow, and the next shows it
					}
					if stream {
						s.File = nil
					}
					cases++
					rep, err := p.Scan(context.Background(), s)
					if err != nil {
						t.Errorf("%s: %v", what, err)
						continue
					}
					if rep.Verdict == scan.Clean {
						falseClean++
						t.Errorf("%s (stream %v) is clean", what, stream)
					}
					t.Logf("%-20s stream %-5v %s %s in %v", what, stream, rep.Verdict, rep.Reason, rep.Took.Round(time.Millisecond))
				}
			}
			for what, content := range map[string][]byte{"text": scantest.Benign(10_000), "zip": zipped(t, false, "a", scantest.Benign(1000)), "program": append([]byte("MZ"), scantest.Benign(100_000)...)} {
				for _, s := range []scan.Sample{scantest.File(t, content), scantest.Stream(content)} {
					if rep, err := p.Scan(context.Background(), s); err != nil || rep.Verdict != scan.Clean {
						t.Errorf("a harmless %s is %s (%s), %v", what, rep.Verdict, rep.Reason, err)
					}
				}
			}
		})
	}
	t.Logf("cases=%d violations=%d seed=0", cases, falseClean)
}

// beyond returns EICAR in places that a clamd does not look at which looks at
// size bytes of an object and four times that unpacked.
func beyond(t *testing.T, size int) map[string]scan.Sample {
	deep := scantest.EICAR()
	for range 20 {
		deep = zipped(t, false, "a.zip", deep)
	}
	var crowd []any
	for i := range 10_050 {
		crowd = append(crowd, fmt.Sprint(i), []byte(fmt.Sprint(i)))
	}
	crowd = append(crowd, "eicar.com", scantest.EICAR())
	pad := make([]byte, size/10*9)
	large := zipped(t, true, "pad", pad, "pad2", pad[:size/5], "eicar.com", zipped(t, false, "eicar.com", scantest.EICAR()))
	return map[string]scan.Sample{
		"too deep":            scantest.File(t, deep),
		"too many":            scantest.File(t, zipped(t, false, crowd...)),
		"expanding":           scantest.File(t, zipped(t, false, "1", pad, "2", pad, "3", pad, "4", pad, "5", pad, "eicar.com", scantest.EICAR())),
		"too large":           scantest.File(t, large),
		"member too large":    scantest.File(t, zipped(t, false, "in.zip", large)),
		"too large in gzip":   scantest.File(t, gzipped(t, large)),
		"encrypted":           scantest.File(t, encrypted(t)),
		"encrypted, deeper":   scantest.File(t, zipped(t, false, "in.zip", encrypted(t))),
		"encrypted behind MZ": scantest.File(t, append([]byte("MZ program"), encrypted(t)...)),
	}
}

// zipped returns a zip of name, content, name, content …
func zipped(t *testing.T, store bool, members ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		h := &zip.FileHeader{Name: members[i].(string), Method: zip.Deflate}
		if store {
			h.Method = zip.Store
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(members[i+1].([]byte))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.Copy(z, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encrypted returns a zip that says that its member is: nobody can tell what is in it.
func encrypted(t *testing.T) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	content := scantest.Benign(100)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "eicar.com", Flags: 1, CRC32: 1, CompressedSize64: 100, UncompressedSize64: 88})
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
