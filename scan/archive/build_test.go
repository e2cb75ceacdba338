package archive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive/archivetest"
)

// seen is what a walk met.
type seen struct {
	scan.Facts
	paths []string
	hit   bool
}

func walk(t testing.TB, content []byte, o Options) seen {
	t.Helper()
	var s seen
	o.Visit = func(path string) io.WriteCloser {
		s.paths = append(s.paths, path)
		return &witness{Look: NewLook(0, []byte(archivetest.Marker)), hit: &s.hit}
	}
	f, err := Walk(context.Background(), bytes.NewReader(content), int64(len(content)), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Facts = f
	return s
}

type witness struct {
	*Look
	hit *bool
}

func (w *witness) Close() error {
	*w.hit = *w.hit || w.Hit()
	return nil
}

func (s seen) String() string {
	return fmt.Sprintf("%s depth=%d entries=%d expanded=%d reason=%q at %q hit=%v [%s]", s.Kind, s.Depth, s.Entries,
		s.Expanded, s.Reason, s.Path, s.hit, strings.Join(s.paths[:min(len(s.paths), 8)], " "))
}
