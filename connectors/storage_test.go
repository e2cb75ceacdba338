package connectors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing returns a hook that fails the first n calls of op.
func failing(op string, n int, err error) func(string, string) error {
	var mu sync.Mutex
	return func(got, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if got != op || n <= 0 {
			return nil
		}
		n--
		return err
	}
}

var (
	throttled   = &fault.Error{Op: "test", Kind: fault.Throttled, After: 2 * time.Second}
	unavailable = fault.New(fault.Unavailable, "test", "", nil)
	denied      = fault.New(fault.Denied, "test", "", nil)
	strange     = errors.New("nobody knows")
)

func storage(d connectors.Driver, u connectors.Unit, o connectors.Options) *connectors.Storage {
	if o.Probed == nil {
		o.Probed = &connectors.Probed{Caps: connectortest.AllCaps(), Proven: true}
	}
	return connectors.NewStorage(u, d, o)
}

// What is safe to repeat is repeated, what is not is not, and never for long.
func TestRetry(t *testing.T) {
	type call func(ctx context.Context, s *connectors.Storage, ref object.Ref) error
	calls := map[string]call{
		"Stat": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Stat(ctx, ref)
			return err
		},
		"Open": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			r, err := s.Open(ctx, ref, 0)
			return errors.Join(err, closeIf(r))
		},
		"Settled": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Settled(ctx, object.Info{Key: ref.Key})
			return err
		},
		"Tags": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Tags(ctx, ref)
			return err
		},
		"Tag": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Tag(ctx, ref, map[string]string{"a": "b"})
			return err
		},
		"Remove": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Remove(ctx, ref, connectors.Fence{})
			return err
		},
		"Copy": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Copy(ctx, ref, "copy", connectors.PutOptions{})
			return err
		},
		"Prune": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Prune(ctx, ref.Key)
			return err
		},
		"Put": func(ctx context.Context, s *connectors.Storage, ref object.Ref) error {
			_, err := s.Put(ctx, "put", strings.NewReader("seekable"), connectors.PutOptions{Size: 8})
			return err
		},
	}
	onlyRefused := []string{"Tag", "Copy", "Put"}
	for op, do := range calls {
		for _, c := range []struct {
			name  string
			err   error
			times int
			want  bool // it succeeds in the end
		}{
			{"throttled twice", throttled, 2, true},
			{"throttled for ever", throttled, 99, false},
			{"unavailable twice", unavailable, 2, !slices.Contains(onlyRefused, op)},
			{"unknown once", strange, 1, !slices.Contains(onlyRefused, op)},
			{"denied", denied, 1, false},
			{"throttled beyond the bound", &fault.Error{Op: "test", Kind: fault.Throttled, After: time.Hour}, 1, false},
		} {
			t.Run(op+"/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := connectortest.NewMemory("u")
					ref := object.Ref{Unit: "u", Key: "key", Version: m.Write("key", []byte("content"))}
					m.Fail = failing(op, c.times, c.err)
					s := storage(m, connectors.Unit{Name: "u"}, connectors.Options{})
					defer s.Close()
					start := time.Now()
					err := do(t.Context(), s, ref)
					if (err == nil) != c.want {
						t.Errorf("got %v, want success %v", err, c.want)
					}
					if err != nil && !errors.Is(err, c.err) {
						t.Errorf("got %v, want %v as it was", err, c.err)
					}
					if took := time.Since(start); took > 30*time.Second || c.name == "throttled twice" && took < 4*time.Second {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

func closeIf(r connectors.Reader) error {
	if r == nil {
		return nil
	}
	return r.Close()
}

// A removal whose answer was lost is not reported as a missing object.
func TestRemoveAnswerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := connectortest.NewMemory("u")
		v := m.Write("key", []byte("x"))
		m.Fail = failing("Remove+", 1, unavailable)
		s := storage(m, connectors.Unit{Name: "u"}, connectors.Options{})
		defer s.Close()
		rem, err := s.Remove(t.Context(), object.Ref{Key: "key", Version: v}, connectors.Fence{})
		if err != nil || !rem.Already {
			t.Errorf("got %+v, %v", rem, err)
		}
		if _, err := s.Remove(t.Context(), object.Ref{Key: "key", Version: v}, connectors.Fence{}); !fault.Is(err, fault.NotFound) {
			t.Errorf("removing what is not there: %v", err)
		}
	})
}

// A Put is repeated only if nothing was read of what cannot be rewound.
func TestPutSource(t *testing.T) {
	for name, c := range map[string]struct {
		r    io.Reader
		want string
	}{
		"seekable":      {strings.NewReader("content"), "content"},
		"in the middle": {func() io.Reader { r := strings.NewReader("xxcontent"); _, _ = r.Seek(2, 0); return r }(), "content"},
		"stream":        {io.MultiReader(strings.NewReader("content")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := connectortest.NewMemory("u")
				m.Fail = failing("Put", 1, throttled)
				s := storage(m, connectors.Unit{Name: "u"}, connectors.Options{})
				defer s.Close()
				_, err := s.Put(t.Context(), "key", c.r, connectors.PutOptions{Size: -1})
				if (err == nil) != (c.want != "") || string(m.Content("key")) != c.want {
					t.Errorf("got %v, the object holds %q, want %q", err, m.Content("key"), c.want)
				}
			})
		})
	}
}

// A listing that breaks goes on where it was, with every key once.
func TestListResumes(t *testing.T) {
	for _, versions := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := connectortest.NewMemory("u")
			m.Versioned = true
			var want []string
			for i := range 2500 {
				key := fmt.Sprintf("%04d", i)
				m.Write(key, nil)
				want = append(want, key)
				if versions && i%5 == 0 {
					m.Write(key, []byte("newer"))
					want = append(want, key)
				}
			}
			calls := 0
			f := &connectortest.Faults{Driver: m, Before: func(op, key string) error {
				if calls++; calls%700 == 0 {
					return unavailable
				}
				return nil
			}}
			s := storage(f, connectors.Unit{Name: "u"}, connectors.Options{})
			defer s.Close()
			list := s.List
			if versions {
				list = s.ListVersions
			}
			var got []string
			for info, err := range list(t.Context(), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, info.Key)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("versions %v (-want +got):\n%s", versions, diff)
			}
			f.Before = func(op, _ string) error { return unavailable } // for good
			n := 0
			var last error
			for _, err := range list(t.Context(), "", "") {
				n, last = n+1, err
			}
			if n != 1 || !fault.Is(last, fault.Unavailable) {
				t.Errorf("a listing that never works yields %d times, last %v", n, last)
			}
		})
	}
}

// gapped lists with a gap in the middle.
type gapped struct{ *connectortest.Memory }

func (g gapped) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		_ = yield(object.Info{Key: "a", Version: "1"}, nil) &&
			yield(object.Info{}, &connectors.Gap{Prefix: "b/", Err: denied}) &&
			yield(object.Info{Key: "c", Version: "1"}, nil)
	}
}

// A connection that breaks while reading is taken up at the byte where it broke.
func TestReadResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := connectortest.NewMemory("u")
		want := bytes.Repeat([]byte("0123456789"), 10_000)
		m.Write("key", want)
		reads := 0
		m.Fail = func(op, _ string) error {
			if op == "Read" {
				if reads++; reads == 2 || reads == 3 {
					return unavailable
				}
			}
			return nil
		}
		obs := &observer{}
		s := storage(m, connectors.Unit{Name: "u"}, connectors.Options{Observer: obs})
		r, err := s.Open(t.Context(), object.Ref{Key: "key"}, 7)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(struct{ io.Reader }{r})
		if err != nil || !bytes.Equal(got, want[7:]) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(want)-7)
		}
		_ = r.Close()
		if n := obs.bytes("Read"); n != int64(len(want)-7) {
			t.Errorf("observed %d bytes", n)
		}
		// A version that is gone cannot be taken up: the error stays.
		reads = 1
		r, err = s.Open(t.Context(), object.Ref{Key: "key"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		m.Write("key", []byte("replaced"))
		if _, err := io.ReadAll(r); !fault.Is(err, fault.Unavailable) {
			t.Errorf("reading on after a replacement: %v", err)
		}
		_ = r.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

type observer struct {
	mu    sync.Mutex
	calls []connectors.Call
}

func (o *observer) Observe(c connectors.Call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, c)
}

func (o *observer) bytes(op string) (n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.calls {
		if c.Op == op {
			n += c.Bytes
		}
	}
	return n
}

// bare is a driver with nothing beyond the least.
type bare struct{ connectors.Driver }

// What is not there, not granted or not proven is refused without a call.
func TestCapabilities(t *testing.T) {
	ctx := t.Context()
	acts := map[string]func(s *connectors.Storage) error{
		"Put": func(s *connectors.Storage) error {
			_, err := s.Put(ctx, "k", strings.NewReader(""), connectors.PutOptions{})
			return err
		},
		"Copy": func(s *connectors.Storage) error {
			_, err := s.Copy(ctx, object.Ref{Key: "key"}, "k", connectors.PutOptions{})
			return err
		},
		"Remove": func(s *connectors.Storage) error {
			_, err := s.Remove(ctx, object.Ref{Key: "key", Version: "v1"}, connectors.Fence{})
			return err
		},
		"Tag": func(s *connectors.Storage) error {
			_, err := s.Tag(ctx, object.Ref{Key: "key"}, map[string]string{"a": "b"})
			return err
		},
		"Prune": func(s *connectors.Storage) error { _, err := s.Prune(ctx, "key"); return err },
	}
	m := connectortest.NewMemory("u")
	m.Write("key", []byte("x"))
	m.Fail = func(op, _ string) error {
		if _, ok := acts[strings.TrimSuffix(op, "+")]; ok {
			t.Errorf("%s was called", op)
		}
		return nil
	}
	all := connectors.Probed{Caps: connectortest.AllCaps(), Proven: true}
	nothing := connectors.Probed{Proven: true}
	for name, s := range map[string]*connectors.Storage{
		"bare":        connectors.NewStorage(connectors.Unit{Name: "u"}, bare{m}, connectors.Options{Probed: &all}),
		"read-only":   connectors.NewStorage(connectors.Unit{Name: "u", ReadOnly: true}, m, connectors.Options{Probed: &all}),
		"not proven":  connectors.NewStorage(connectors.Unit{Name: "u"}, m, connectors.Options{Probed: &nothing}),
		"both":        connectors.NewStorage(connectors.Unit{Name: "u", ReadOnly: true}, bare{m}, connectors.Options{}),
		"unfenced ro": connectors.NewStorage(connectors.Unit{Name: "u", ReadOnly: true, Unfenced: true}, m, connectors.Options{Probed: &all}),
	} {
		for op, act := range acts {
			if err := act(s); !fault.Is(err, fault.Unsupported) {
				t.Errorf("%s: %s: got %v, want unsupported", name, op, err)
			}
		}
		if _, err := s.Stat(ctx, object.Ref{Key: "key"}); err != nil {
			t.Errorf("%s: Stat: %v", name, err)
		}
	}
	m.Fail = nil
	unproven := connectors.NewStorage(connectors.Unit{Name: "u"}, m, connectors.Options{})
	ref := object.Ref{Key: "key", Version: "v1"}
	if _, err := unproven.Remove(ctx, ref, connectors.Fence{}); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "unfenced") {
		t.Errorf("a removal without a fence: %v", err)
	}
	allowed := connectors.NewStorage(connectors.Unit{Name: "u", Unfenced: true}, m, connectors.Options{})
	if _, err := allowed.Remove(ctx, object.Ref{Key: "key"}, connectors.Fence{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a removal without a version: %v", err)
	}
	if rem, err := allowed.Remove(ctx, ref, connectors.Fence{}); err != nil || !rem.Unfenced {
		t.Errorf("a removal that is allowed: %+v, %v", rem, err)
	}
	if wait, err := connectors.NewStorage(connectors.Unit{}, bare{m}, connectors.Options{}).Settled(ctx, object.Info{}); wait != 0 || err != nil {
		t.Errorf("objects that appear whole: %v, %v", wait, err)
	}
}

func TestProbe(t *testing.T) {
	m := connectortest.NewMemory("u")
	p, err := connectors.Probe(t.Context(), connectors.Unit{Name: "u"}, m)
	if err != nil || !p.Proven || p.Caps != connectortest.AllCaps() || p.Prefix != connectors.DefaultProbePrefix {
		t.Errorf("Probe = %+v, %v", p, err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back connectors.Probed
	if err := json.Unmarshal(text, &back); err != nil || !cmp.Equal(p, back) {
		t.Errorf("through JSON: %+v, %v", back, err)
	}
	for name, u := range map[string]connectors.Unit{"off": {Probe: "off"}, "read-only": {ReadOnly: true}} {
		if p, err := connectors.Probe(t.Context(), u, m); err != nil || p.Proven || p.Caps.FencedRemove || p.Error == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	m.Fail = failing("Probe", 1, denied)
	if p, err := connectors.Probe(t.Context(), connectors.Unit{Probe: "other/"}, m); !fault.Is(err, fault.Denied) || p.Proven || p.Error == "" || p.Prefix != "other/" {
		t.Errorf("a probe that fails: %+v, %v", p, err)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := connectortest.NewMemory("u")
		m.Write("key", nil)
		s := storage(m, connectors.Unit{Name: "u", Rate: 10}, connectors.Options{})
		defer s.Close()
		start := time.Now()
		for range 50 {
			if _, err := s.Stat(t.Context(), object.Ref{Key: "key"}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 3900*time.Millisecond || took > 5*time.Second {
			t.Errorf("50 calls at 10 a second, 10 at once: %v", took)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := s.Stat(short, object.Ref{Key: "key"}); !fault.Is(err, fault.Throttled) {
			t.Errorf("a call that cannot be made in time: %v", err)
		}
	})
}

func TestGapIsPassedOn(t *testing.T) {
	s := storage(gapped{connectortest.NewMemory("u")}, connectors.Unit{Name: "u"}, connectors.Options{})
	var got []string
	for info, err := range s.List(t.Context(), "", "") {
		var gap *connectors.Gap
		if errors.As(err, &gap) {
			got = append(got, "gap "+gap.Prefix)
		} else {
			got = append(got, info.Key)
		}
	}
	if diff := cmp.Diff([]string{"a", "gap b/", "c"}, got); diff != "" {
		t.Error(diff)
	}
}
