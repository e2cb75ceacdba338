package gcs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// trials is how many races are run in all; LANDWAITER_TRIALS says otherwise.
func trials() int {
	if n, err := strconv.Atoi(os.Getenv("LANDWAITER_TRIALS")); err == nil && n > 0 {
		return n
	}
	return 900
}

// TestAdversary replaces objects between what we saw and what we do, or while
// we do it: no act may touch a content that was not seen. The content names
// itself, so that what happened can be told afterwards. On fake-gcs-server as it
// is, which honours no precondition, removals by a unit that allows unfenced
// acts still name their generation; tags and copies are refused there.
func TestAdversary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		start     func(testing.TB) servers.GCS
		versioned bool
		checked   bool
	}{
		{"checking proxy", servers.CheckedGCS, false, true},
		{"checking proxy, versioned", servers.CheckedGCS, true, true},
		{"fake-gcs-server", func(t testing.TB) servers.GCS { return servers.FakeGCS(t) }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, c.start(t), c.versioned)
			d := p.open(t)
			t.Cleanup(func() { _ = d.Close() })
			d.unfenced = !c.checked
			if caps, err := d.Probe(t.Context(), ".probe/"); err != nil || caps.FencedRemove != c.checked || caps.Tag != c.checked || caps.Copy != c.checked {
				t.Fatalf("%+v, %v", caps, err)
			}
			seed := uint64(time.Now().UnixNano())
			n := trials() / 3
			var mu sync.Mutex
			counts := map[string]int{}
			violations := 0
			work := make(chan int)
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(w)))
					for i := range work {
						what, bad := p.trial(t, d, rnd, i)
						mu.Lock()
						if counts[what]++; bad != "" {
							violations++
							t.Errorf("case %d (%s): %s", i, what, bad)
						}
						mu.Unlock()
					}
				})
			}
			for i := range n {
				work <- i
			}
			close(work)
			wg.Wait()
			t.Logf("cases=%d violations=%d seed=%d %v", n, violations, seed, counts)
		})
	}
}

// trial is one race of an act of ours against a replacement by a stranger. It
// says how it went, and what was wrong.
func (p place) trial(t *testing.T, d *Driver, rnd *rand.Rand, i int) (what, bad string) {
	ctx, key := t.Context(), fmt.Sprintf("adv/%d", i)
	seen, other := fmt.Appendf(nil, "seen %d", i), fmt.Appendf(nil, "other content %d", i)
	p.put(t, key, seen)
	info, err := d.Stat(ctx, object.Ref{Key: key})
	if err != nil {
		return "stat", err.Error()
	}
	ref := object.Ref{Key: key, Version: info.Version}
	act := []string{"remove", "copy", "tag"}[rnd.IntN(3)]
	done := make(chan struct{})
	if rnd.IntN(2) == 0 {
		pause := time.Duration(rnd.IntN(25_000)) * time.Microsecond
		go func() {
			defer close(done)
			time.Sleep(pause) // the race itself, not a wait for something
			p.put(t, key, other)
		}()
	} else {
		p.put(t, key, other)
		close(done)
	}
	switch act {
	case "remove":
		_, err = d.Remove(ctx, ref, connectors.Fence{})
	case "copy":
		_, err = d.Copy(ctx, ref, key+".copy", connectors.PutOptions{})
	case "tag":
		_, err = d.Tag(ctx, ref, map[string]string{"lw": fmt.Sprint(i)})
	}
	<-done
	what = act + " ok"
	if err != nil {
		kinds := []fault.Kind{fault.Changed, fault.NotFound, fault.Unavailable}
		if !d.honours.patch.Yes() || act == "tag" { // noncurrent: beyond the stand-in
			kinds = append(kinds, fault.Unsupported)
		}
		if what = act + " refused"; !fault.Is(err, kinds...) {
			return what, err.Error()
		}
	}
	now, nerr := read(ctx, d, object.Ref{Key: key}, 0)
	if nerr != nil || !bytes.Equal(now, other) {
		return what, fmt.Sprintf("the stranger's content is %q, %v", now, nerr)
	}
	switch act {
	case "copy":
		got, cerr := read(ctx, d, object.Ref{Key: key + ".copy"}, 0)
		if err == nil && (cerr != nil || !bytes.Equal(got, seen)) || err != nil && cerr == nil {
			return what, fmt.Sprintf("the copy is %q, %v", got, cerr)
		}
	case "tag":
		if tags, terr := d.Tags(ctx, object.Ref{Key: key}); terr != nil || len(tags) != 0 {
			return what, fmt.Sprintf("the stranger's object has our tags %v, %v", tags, terr)
		}
	}
	return what, ""
}
