package builtin

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/box"
)

func TestMain(m *testing.M) {
	box.Main()
	goleak.VerifyTestMain(m)
}

// stream is a sample that can only be read in order, file one that a child can
// read by itself.
func stream(b []byte) scan.Sample {
	return scan.Sample{Name: "stream", Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func file(t testing.TB, b []byte) scan.Sample {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s := stream(b)
	s.Name, s.File = "file", f
	return s
}

func open(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func pool(t testing.TB, o box.Options) *box.Pool {
	t.Helper()
	p, err := box.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func zipOf(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestScan(t *testing.T) {
	bad := []byte("the worst there is")
	list := filepath.Join(t.TempDir(), "list.hdb")
	if err := os.WriteFile(list, fmt.Appendf(nil, "%x:%d:Worst\n", md5.Sum(bad), len(bad)), 0o600); err != nil {
		t.Fatal(err)
	}
	e := open(t, Options{HashLists: []string{list}, Box: pool(t, box.Options{})})
	long := bytes.Repeat([]byte("nothing to see. "), 100_000)
	cases := []struct {
		name    string
		content []byte
		want    scan.Verdict
		reason  scan.Reason
		threat  string
	}{
		{"empty", nil, scan.Clean, "", ""},
		{"plain", []byte("hello"), scan.Clean, "", ""},
		{"eicar", eicar(), scan.Infected, "", Threat},
		{"eicar at the end of much", append(bytes.Clone(long), eicar()...), scan.Infected, "", Threat},
		{"eicar across chunks", append(bytes.Repeat([]byte("x"), chunk-30), eicar()...), scan.Infected, "", Threat},
		{"half of eicar", eicar()[:67], scan.Clean, "", ""},
		{"listed", bad, scan.Infected, "", "Worst"},
		{"listed and more", append(bytes.Clone(bad), '.'), scan.Clean, "", ""},
		{"zip", zipOf(t, "a", long), scan.Clean, "", ""},
		{"eicar in a zip", zipOf(t, "a", append(bytes.Clone(long), eicar()...)), scan.Infected, "", Threat},
		{"listed in a zip in a zip", zipOf(t, "b", zipOf(t, "a", bad)), scan.Infected, "", "Worst"},
		{"zip behind a program", append([]byte("MZ"), zipOf(t, "a", append(bytes.Clone(long), eicar()...))...), scan.Infected, "", Threat},
		{"zip behind text", append([]byte("text"), zipOf(t, "a", append(bytes.Clone(long), eicar()...))...), scan.Infected, "", Threat},
		{"7z", []byte("7z\xbc\xaf\x27\x1c and so on"), scan.NotScanned, scan.Unsupported, ""},
	}
	for _, c := range cases {
		for _, s := range []scan.Sample{stream(c.content), file(t, c.content)} {
			t.Run(c.name+"/"+s.Name, func(t *testing.T) {
				got, err := e.Scan(context.Background(), s)
				if err != nil {
					t.Fatal(err)
				}
				if got.Verdict != c.want || got.Reason != c.reason || got.Threat != c.threat {
					t.Errorf("got %v %q %q, want %v %q %q", got.Verdict, got.Reason, got.Threat, c.want, c.reason, c.threat)
				}
			})
		}
	}
	t.Logf("%+v", e.opts.Box.Status())
}
