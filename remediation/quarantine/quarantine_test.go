package quarantine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ remediation.Vault = (*quarantine.Vault)(nil)
var _ quarantine.Storage = (*connectors.Storage)(nil)

func open(t *testing.T, name string) (*connectortest.Memory, *connectors.Storage) {
	m := connectortest.NewMemory(name)
	st := connectors.NewStorage(connectors.Unit{Name: name}, m, connectors.Options{Probed: &connectors.Probed{Caps: connectortest.AllCaps(), Proven: true}})
	t.Cleanup(func() { _ = st.Close() })
	return m, st
}

func caught(key string, content []byte) remediation.Caught {
	sum := sha256.Sum256(content)
	return remediation.Caught{Name: "0198.lwq", Entry: "0198", Unit: "a", Key: key, Version: "v1", Size: int64(len(content)), SHA256: sum[:],
		ContentType: "text/x-evil", ModTime: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Meta: map[string]string{"owner": "me"}, Tags: map[string]string{"t": "v"},
		Verdict: scan.Infected, Threat: "Test", At: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)}
}

// oddKeys are what strangers call their files.
var oddKeys = []string{"a", "dir/with space/ü.exe", "\xff\xfe\x00bytes", "-rf", strings.Repeat("k", 1024), "a\nb\tc", `back\slash`, "\u202egpj.exe", "con", "x/%2e%2e/y"}

func TestRoundTrip(t *testing.T) {
	cases, violations := 0, 0
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 15, 16, 17, 4095, 1 << 20} {
		for _, key := range oddKeys {
			cases++
			content := make([]byte, size)
			for i := range content {
				content[i] = byte(random.Uint32())
			}
			mq, q := open(t, "q")
			ma, a := open(t, "a")
			v := quarantine.New("q", q)
			c := caught(key, content)
			version, err := v.Store(t.Context(), c, iotest.OneByteReader(bytes.NewReader(content)))
			if size > 4095 {
				version, err = v.Store(t.Context(), c, bytes.NewReader(content))
			}
			if err != nil {
				t.Fatal(err)
			}
			it := quarantine.Item{Key: c.Name, Version: version}
			if size > 16 && bytes.Contains(mq.Content(c.Name), content[:16]) {
				violations++
				t.Errorf("%d bytes: the content lies there in the clear", size)
			}
			in, h, err := v.Open(t.Context(), it)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(in)
			if err := errors.Join(err, in.Close()); err != nil || !bytes.Equal(got, content) {
				violations++
				t.Errorf("%d bytes, %q: %v", size, key, err)
			}
			if string(h.Key) != key || h.Version != "v1" || h.Threat != "Test" || h.Verdict != scan.Infected || !h.ModTime.Equal(c.ModTime) {
				violations++
				t.Errorf("header %+v", h)
			}
			back, err := v.Restore(t.Context(), it, c.SHA256, a, "a", key)
			if err != nil {
				violations++
				t.Errorf("restore %d bytes to %q: %v", size, key, err)
				continue
			}
			info, _ := a.Stat(t.Context(), object.Ref{Key: key})
			tags, _ := a.Tags(t.Context(), object.Ref{Key: key})
			if !bytes.Equal(ma.Content(key), content) || info.Version != back.Info.Version || info.ContentType != c.ContentType ||
				!cmp.Equal(info.Meta, c.Meta) || !cmp.Equal(tags, c.Tags) {
				violations++
				t.Errorf("restored %+v, tags %v", info, tags)
			}
		}
	}
	fmt.Printf("quarantine-restores: cases=%d violations=%d seed=1,2\n", cases, violations)
}

func TestStoreTwiceIsStoreOnce(t *testing.T) {
	m, q := open(t, "q")
	v := quarantine.New("q", q)
	c := caught("k", []byte("evil"))
	first, err := v.Store(t.Context(), c, strings.NewReader("evil"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := v.Store(t.Context(), c, strings.NewReader("evil"))
	if err != nil || again != first {
		t.Errorf("again: %s %v", again, err)
	}
	// Another object never takes the place of one that is kept.
	other := caught("k", []byte("live"))
	if _, err := v.Store(t.Context(), other, strings.NewReader("live")); !fault.Is(err, fault.Exists) {
		t.Errorf("another object: %v", err)
	}
	// A damaged one is replaced while the original is at hand.
	bad := m.Content(c.Name)
	bad[len(bad)-40] ^= 1
	m.Write(c.Name, bad)
	if _, err := v.Store(t.Context(), c, strings.NewReader("evil")); err != nil {
		t.Fatal(err)
	}
	in, _, err := v.Open(t.Context(), quarantine.Item{Key: c.Name})
	if err != nil {
		t.Fatalf("after the repair: %v", err)
	}
	_ = in.Close()
}

func TestStoreOfATornSource(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"fails":   io.MultiReader(strings.NewReader("ev"), iotest.ErrReader(fault.New(fault.Changed, "test", "", nil))),
		"shorter": strings.NewReader("ev"),
		"longer":  strings.NewReader("evil and more"),
	} {
		m, q := open(t, "q")
		if _, err := quarantine.New("q", q).Store(t.Context(), caught("k", []byte("evil")), r); err == nil || len(m.Keys()) > 0 {
			t.Errorf("%s: %v, kept %v", name, err, m.Keys())
		}
	}
}

// TestTampered changes each byte of a small file, cuts it at each length and
// lengthens it: none of it may be opened or restored, and nothing appears.
func TestTampered(t *testing.T) {
	m, q := open(t, "q")
	target, a := open(t, "a")
	v := quarantine.New("q", q)
	c := caught("k", []byte("evil"))
	if _, err := v.Store(t.Context(), c, strings.NewReader("evil")); err != nil {
		t.Fatal(err)
	}
	intact := m.Content(c.Name)
	cases, violations := 0, 0
	try := func(name string, file []byte) {
		cases++
		m.Write(c.Name, file)
		_, _, err := v.Open(t.Context(), quarantine.Item{Key: c.Name})
		_, rerr := v.Restore(t.Context(), quarantine.Item{Key: c.Name}, nil, a, "a", "k")
		if !fault.Is(err, fault.Corrupt) || !fault.Is(rerr, fault.Corrupt) || len(target.Keys()) > 0 {
			violations++
			t.Errorf("%s: %v; %v; %v", name, err, rerr, target.Keys())
		}
	}
	for i := range intact {
		for _, bit := range []byte{1, 0x80} {
			file := bytes.Clone(intact)
			file[i] ^= bit
			try(fmt.Sprintf("byte %d", i), file)
		}
		try(fmt.Sprintf("cut at %d", i), intact[:i])
	}
	try("longer", append(bytes.Clone(intact), 0))
	try("empty", nil)
	try("a header without end", append([]byte("LWQUAR1\n\xff\xff\xff\xff"), make([]byte, 100)...))
	try("twice", append(bytes.Clone(intact), intact...))
	fmt.Printf("quarantine-tampered: cases=%d violations=%d seed=enumerated\n", cases, violations)
	m.Write(c.Name, intact)
	other := sha256.Sum256([]byte("live"))
	if _, err := v.Restore(t.Context(), quarantine.Item{Key: c.Name}, other[:], a, "a", "k"); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a file forged as a whole: %v", err)
	}
}

// TestChangedWhileRestored swaps the file between the check and the copy.
func TestChangedWhileRestored(t *testing.T) {
	m, q := open(t, "q")
	target, a := open(t, "a")
	v := quarantine.New("q", q)
	c := caught("k", []byte("evil"))
	if _, err := v.Store(t.Context(), c, strings.NewReader("evil")); err != nil {
		t.Fatal(err)
	}
	n := 0
	m.Fail = func(op, _ string) error {
		if op == "Open" {
			if n++; n == 2 {
				m.Write(c.Name, []byte("anything"))
			}
		}
		return nil
	}
	if _, err := v.Restore(t.Context(), quarantine.Item{Key: c.Name}, nil, a, "a", "k"); !fault.Is(err, fault.Changed) || len(target.Keys()) > 0 {
		t.Errorf("got %v, %v", err, target.Keys())
	}
}

func TestRestoreReplacesNothing(t *testing.T) {
	_, q := open(t, "q")
	target, a := open(t, "a")
	v := quarantine.New("q", q)
	c := caught("k", []byte("evil"))
	if _, err := v.Store(t.Context(), c, strings.NewReader("evil")); err != nil {
		t.Fatal(err)
	}
	it := quarantine.Item{Key: c.Name}
	target.Write("k", []byte("live"))
	if _, err := v.Restore(t.Context(), it, nil, a, "a", "k"); !fault.Is(err, fault.Exists) || string(target.Content("k")) != "live" {
		t.Errorf("got %v, %q", err, target.Content("k"))
	}
	// --to another key; a second call, after a crash, finds what the first did.
	for range 2 {
		if _, err := v.Restore(t.Context(), it, nil, a, "a", "k2"); err != nil || string(target.Content("k2")) != "evil" {
			t.Errorf("got %v, %q", err, target.Content("k2"))
		}
	}
	unsafe := connectortest.AllCaps()
	unsafe.FencedPut = false
	st := connectors.NewStorage(connectors.Unit{Name: "a"}, target, connectors.Options{Probed: &connectors.Probed{Caps: unsafe, Proven: true}})
	if _, err := v.Restore(t.Context(), it, nil, st, "a", "k3"); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a unit without a precondition: %v", err)
	}
}

func TestPurge(t *testing.T) {
	m, q := open(t, "q")
	v := quarantine.New("q", q)
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for i, expiry := range []time.Time{{}, now.Add(-time.Second), now.Add(time.Second), now.Add(-time.Hour)} {
		c := caught("k", []byte("evil"))
		c.Name, c.Expiry = fmt.Sprintf("%d.lwq", i), expiry
		if _, err := v.Store(t.Context(), c, strings.NewReader("evil")); err != nil {
			t.Fatal(err)
		}
	}
	m.Write("broken.lwq", []byte("who knows"))
	m.Write("README", []byte("not ours"))
	n, err := v.PurgeExpired(t.Context(), now)
	if n != 2 || !fault.Is(err, fault.Corrupt) && !strings.Contains(fmt.Sprint(err), "broken.lwq") {
		t.Errorf("purged %d, %v", n, err)
	}
	if d := cmp.Diff([]string{"0.lwq", "2.lwq", "README", "broken.lwq"}, m.Keys()); d != "" {
		t.Error(d)
	}
	var keys []string
	for it, err := range v.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, it.Key)
	}
	if d := cmp.Diff([]string{"0.lwq", "2.lwq", "broken.lwq"}, keys); d != "" {
		t.Error(d)
	}
	for range 2 {
		if err := v.Purge(t.Context(), quarantine.Item{Key: "0.lwq"}); err != nil {
			t.Error(err)
		}
	}
}

func TestHeaderStandsAlone(t *testing.T) {
	_, q := open(t, "q")
	v := quarantine.New("q", q)
	c := caught("k", []byte("evil"))
	if _, err := v.Store(t.Context(), c, strings.NewReader("evil")); err != nil {
		t.Fatal(err)
	}
	h, err := v.Header(t.Context(), quarantine.Item{Key: c.Name})
	if err != nil || h.Entry != "0198" {
		t.Errorf("%+v %v", h, err)
	}
	if _, err := v.Header(t.Context(), quarantine.Item{Key: "nothing"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := v.Open(ctx, quarantine.Item{Key: c.Name}); !fault.Canceled(err) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := json.Marshal(h); err != nil {
		t.Error(err)
	}
}

// FuzzOpen: whatever lies in the vault, Open yields only what its header's hash
// names, and never panics.
func FuzzOpen(f *testing.F) {
	m := connectortest.NewMemory("q")
	v := quarantine.New("q", connectors.NewStorage(connectors.Unit{Name: "q"}, m, connectors.Options{Probed: &connectors.Probed{Caps: connectortest.AllCaps(), Proven: true}}))
	c := caught("k", []byte("evil"))
	if _, err := v.Store(context.Background(), c, strings.NewReader("evil")); err != nil {
		f.Fatal(err)
	}
	f.Add(m.Content(c.Name))
	f.Add([]byte("LWQUAR1\n\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		m.Write(c.Name, file)
		in, h, err := v.Open(t.Context(), quarantine.Item{Key: c.Name})
		if err != nil {
			return
		}
		defer in.Close()
		got, err := io.ReadAll(in)
		if sum := sha256.Sum256(got); err != nil || !bytes.Equal(sum[:], h.SHA256) || int64(len(got)) != h.Size {
			t.Errorf("%d bytes: %v", len(got), err)
		}
	})
}
