package smb

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// A reader that ends with io.EOF has read the version that it was opened for.
func TestChangedWhileRead(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	other := p.client(t)
	content := strings.Repeat("x", 3*readChunk)
	inPlace := func(f *smb2.File) error { _, err := f.WriteAt([]byte("y"), 5); return err }
	for name, disturb := range map[string]func() error{
		"written and closed": func() error {
			f, err := other.OpenFile(other.path("file"), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return errors.Join(inPlace(f), f.Close())
		},
		"written and left open": func() error { // Samba tells the new time seconds later
			f, err := other.OpenFile(other.path("file"), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = f.Close() })
			return inPlace(f)
		},
		"appended":  func() error { return appendTo(filepath.Join(p.local, "file")) },
		"truncated": func() error { return os.Truncate(filepath.Join(p.local, "file"), 10) },
		"replaced": func() error {
			return errors.Join(os.WriteFile(filepath.Join(p.local, "new"), []byte(content), 0o666), os.Rename(filepath.Join(p.local, "new"), filepath.Join(p.local, "file")))
		},
		"": func() error { return nil },
	} {
		_ = os.Remove(filepath.Join(p.local, "file"))
		other.must(t, "file", content)
		r, err := d.Open(t.Context(), object.Ref{Key: "file"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, readChunk)); err != nil {
			t.Fatal(err)
		}
		if err := disturb(); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		switch {
		case name == "" && (err != nil || n != 2*readChunk):
			t.Errorf("undisturbed: %d bytes, %v", n, err)
		case name != "" && name != "replaced" && !fault.Is(err, fault.Changed):
			t.Errorf("%s: %d bytes, %v", name, n, err)
		case name == "replaced" && err != nil && !fault.Is(err, fault.Changed): // the old file is whole
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("more")
	return errors.Join(err, f.Close())
}

// A read-only grant makes no change, not even to ask whether a file is open.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	u := p.unit()
	u.ReadOnly, u.Settle = true, 1
	opened, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	d := opened.(*Driver)
	closing(t, d)
	other := p.client(t)
	other.must(t, "file", "content")
	f, err := other.OpenFile(other.path("file"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	settles(t, d, object.Info{Key: "file"}) // it stands still
	if w, err := d.exclusive(t.Context(), "test", "file"); w != openUnknown || err != nil {
		t.Errorf("asked: %v, %v", w, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
