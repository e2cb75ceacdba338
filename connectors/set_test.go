package connectors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A reload swaps units while they are in use, and closes the old one when
// nobody uses it any more.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		set := connectors.NewSet()
		if _, err := set.Get("u"); !fault.Is(err, fault.NotFound) {
			t.Errorf("an unknown unit: %v", err)
		}
		u := connectors.Unit{Name: "u"}
		broken := func(context.Context, connectors.Unit) (*connectors.Storage, error) { return nil, denied }
		if err := set.Open(ctx, u, broken); !fault.Is(err, fault.Denied) {
			t.Errorf("Open: %v", err)
		}
		if _, err := set.Get("u"); !fault.Is(err, fault.Unavailable) || !errors.Is(err, denied) {
			t.Errorf("a unit that cannot be opened: %v", err)
		}
		var mems [3]*connectortest.Memory
		opener := func(i int) func(context.Context, connectors.Unit) (*connectors.Storage, error) {
			return func(context.Context, connectors.Unit) (*connectors.Storage, error) {
				mems[i] = connectortest.NewMemory("u")
				mems[i].Write("key", []byte(fmt.Sprint("place ", i)))
				return storage(mems[i], u, connectors.Options{}), nil
			}
		}
		if err := set.Open(ctx, u, opener(0)); err != nil {
			t.Fatal(err)
		}
		old, err := set.Get("u")
		if err != nil {
			t.Fatal(err)
		}
		r, err := old.Open(ctx, object.Ref{Key: "key"}, 0) // in use through the reload
		if err != nil {
			t.Fatal(err)
		}
		watched := make(chan error, 1)
		go func() {
			watched <- old.Watch(ctx, "", func(context.Context, []object.Event, string) error { return nil })
		}()
		synctest.Wait()
		if err := set.Open(ctx, u, broken); err == nil {
			t.Error("a broken unit opened")
		}
		if st, err := set.Get("u"); st != old || err != nil {
			t.Errorf("after a reload that failed: %v", err)
		}
		if err := set.Open(ctx, u, opener(1)); err != nil {
			t.Fatal(err)
		}
		if st, _ := set.Get("u"); st == old {
			t.Error("the old one is still there")
		}
		if err := <-watched; !fault.Is(err, fault.Unavailable) {
			t.Errorf("the old watch ended with %v", err)
		}
		time.Sleep(10 * time.Second)
		if _, err := old.Stat(ctx, object.Ref{Key: "key"}); err != nil { // its reader holds it open
			t.Errorf("an old storage in use: %v", err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "place 0" {
			t.Errorf("read %q, %v", got, err)
		}
		_ = r.Close()
		time.Sleep(5 * time.Second)
		if _, err := old.Stat(ctx, object.Ref{Key: "key"}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("an old storage that nobody used: %v", err)
		}
		if diff := cmp.Diff([]string{"u"}, set.Names()); diff != "" {
			t.Error(diff)
		}
		st, _ := set.Get("u")
		release := st.Hold()
		set.Drop("u")
		if _, err := set.Get("u"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a dropped unit: %v", err)
		}
		time.Sleep(5 * time.Second)
		if _, err := st.Stat(ctx, object.Ref{Key: "key"}); err != nil {
			t.Errorf("a dropped unit that is held: %v", err)
		}
		release()
		if err := set.Open(ctx, u, opener(2)); err != nil {
			t.Fatal(err)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
		if err := set.Open(ctx, u, opener(0)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a closed set: %v", err)
		}
	})
}

// Close waits for what is under way, within its bound.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := connectortest.NewMemory("u")
		m.Write("key", nil)
		var open atomic.Bool
		m.Fail = func(op, _ string) error {
			if op == "Stat" {
				time.Sleep(3 * time.Second)
				open.Store(true)
			}
			return nil
		}
		s := storage(m, connectors.Unit{Name: "u"}, connectors.Options{})
		ended := make(chan error, 1)
		go func() { _, err := s.Stat(t.Context(), object.Ref{Key: "key"}); ended <- err }()
		synctest.Wait()
		if err := s.Close(); err != nil || !open.Load() {
			t.Errorf("Close = %v before the call was over", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	})
}

func TestOverlap(t *testing.T) {
	dir := t.TempDir()
	unit := func(name, url string) connectors.Unit { return connectors.Unit{Name: name, URL: url} }
	for _, c := range []struct {
		a, b connectors.Unit
		want bool
	}{
		{unit("a", "file://"+dir), unit("b", dir), true},
		{unit("a", dir), unit("b", dir+"/sub"), true},
		{unit("a", dir+"/sub"), unit("b", dir+"/subway"), false},
		{unit("a", dir+"/x/../sub"), unit("b", dir+"/sub/"), true},
		{unit("a", "/"), unit("b", dir), true},
		{connectors.Unit{Name: "a", URL: dir, Exclude: []string{dir + "/data"}}, unit("b", dir+"/data/quarantine"), false},
		{connectors.Unit{Name: "a", URL: dir, Disabled: true}, unit("b", dir), false},
		{unit("a", "s3://bucket/in?region=x"), unit("b", "s3://bucket/in/deep?region=y"), true},
		{unit("a", "s3://bucket"), unit("b", "s3://bucket/in"), true},
		{unit("a", "s3://bucket/in"), unit("b", "s3://bucket/inbox"), false},
		{unit("a", "s3://bucket?endpoint=http://one"), unit("b", "s3://bucket?endpoint=http://two"), false},
		{unit("a", "s3://bucket"), unit("b", "gs://bucket"), false},
	} {
		for _, units := range [][]connectors.Unit{{c.a, c.b}, {c.b, c.a}} {
			err := connectors.Overlap(units)
			if (err != nil) != c.want || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "unit")) {
				t.Errorf("%s and %s: %v, want overlap %v", c.a.URL, c.b.URL, err, c.want)
			}
		}
	}
}

// Overlaps finds what comparing each with each finds, but at once.
func TestOverlapsLikeEachWithEach(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	names := []string{"a", "b", "a/b", "a/b/c", "ab", "a/c", "b/a", "", "a-b"}
	cases := 0
	for range 3000 {
		var units []connectors.Unit
		for i := range 2 + rnd.IntN(6) {
			u := connectors.Unit{Name: fmt.Sprint(i), URL: "s3://bucket/" + names[rnd.IntN(len(names))]}
			switch rnd.IntN(4) {
			case 0:
				u.Options = map[string]string{"endpoint": "http://other"}
			case 1:
				u.URL = "file:///srv/" + names[rnd.IntN(len(names))]
			case 2:
				u.Disabled = rnd.IntN(4) == 0
			}
			units = append(units, u)
		}
		naive := map[int]bool{} // units that are in, or around, another
		for i, a := range units {
			for j, b := range units {
				rootA, pathA := connectors.Place(a)
				rootB, pathB := connectors.Place(b)
				if i != j && !a.Disabled && !b.Disabled && rootA == rootB && (strings.HasPrefix(pathA, pathB) || strings.HasPrefix(pathB, pathA)) {
					naive[i] = true
				}
			}
		}
		got := map[int]bool{}
		for _, p := range connectors.Overlaps(units) {
			got[p[0]], got[p[1]] = true, true
		}
		cases++
		if !maps.Equal(got, naive) {
			t.Fatalf("%+v: %v, want %v", units, got, naive)
		}
		if (connectors.Overlap(units) != nil) != (len(naive) > 0) {
			t.Fatalf("%+v: Overlap disagrees", units)
		}
	}
	t.Logf("cases=%d violations=0 seed=3", cases)
}
