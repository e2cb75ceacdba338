package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/internal/seal"
)

func TestSeal(t *testing.T) {
	b, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	text := "a secret of somebody"
	sealed := b.Seal("unit", text)
	if strings.Contains(sealed, "secret") || !seal.Sealed(sealed) || sealed == b.Seal("unit", text) {
		t.Errorf("sealed as %q", sealed)
	}
	if got, err := b.Open("unit", sealed); err != nil || got != text {
		t.Errorf("got %q, %v", got, err)
	}
	other, _ := seal.New(seal.NewKey())
	for name, f := range map[string]func() (string, error){
		"another place": func() (string, error) { return b.Open("pool", sealed) },
		"another key":   func() (string, error) { return other.Open("unit", sealed) },
		"plain text":    func() (string, error) { return b.Open("unit", text) },
		"cut off":       func() (string, error) { return b.Open("unit", sealed[:len(sealed)-3]) },
		"nothing in it": func() (string, error) { return b.Open("unit", "sealed:1:") },
		"changed":       func() (string, error) { return b.Open("unit", sealed[:20]+"A"+sealed[21:]+"x") },
		"no base64":     func() (string, error) { return b.Open("unit", "sealed:1:***") },
	} {
		if got, err := f(); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if got, err := b.Open("unit", b.Seal("unit", "")); got != "" || err != nil {
		t.Errorf("empty: %q, %v", got, err)
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	first, _, err := seal.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := seal.Load(dir)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("another key: %v", err)
	}
	path := filepath.Join(dir, seal.FileName)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%d files are left", len(list))
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := seal.Load(dir); err == nil {
		t.Error("a damaged key was taken")
	}
	next := seal.NewKey()
	if err := seal.Save(dir, next, first); err != nil {
		t.Fatal(err)
	}
	if key, old, err := seal.Load(dir); err != nil || !bytes.Equal(key, next) || !bytes.Equal(old, first) {
		t.Errorf("two keys: %v", err)
	}
	b, _ := seal.New(first)
	one, _ := b.Derive("tokens")
	two, _ := b.Derive("tokens")
	three, _ := b.Derive("exports")
	if !bytes.Equal(one, two) || bytes.Equal(one, three) || bytes.Equal(one, first) {
		t.Error("derived keys: want one for each purpose, none of them the key")
	}
	if _, err := seal.New([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

func TestTurn(t *testing.T) {
	first, second, third := seal.NewKey(), seal.NewKey(), seal.NewKey()
	b, err := seal.New(first)
	if err != nil {
		t.Fatal(err)
	}
	sealed := b.Seal("unit", "secret")
	for _, c := range []struct {
		key, old []byte
		opens    bool
	}{{second, first, true}, {third, second, false}, {first, nil, true}} {
		if err := b.Turn(c.key, c.old); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Open("unit", sealed); (err == nil && got == "secret") != c.opens {
			t.Errorf("got %q, %v", got, err)
		}
	}
}
