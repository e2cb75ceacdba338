package azureblob

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

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
	return 300
}

// TestAdversary replaces blobs between what we saw and what we do, or while we
// do it: no act may touch a content that was not seen. The content names itself,
// so that what happened can be told afterwards. A stranger whom our lease keeps
// out is told so, and writes once more.
func TestAdversary(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.Azurite(t))
	d := p.open(t)
	defer d.Close()
	if caps, err := d.Probe(t.Context(), ".probe/"); err != nil || !caps.FencedRemove {
		t.Fatalf("%+v, %v", caps, err)
	}
	seed := uint64(time.Now().UnixNano())
	var mu sync.Mutex
	counts := map[string]int{}
	violations := 0
	work := make(chan int)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := range work {
				what, beside, blocked, bad := p.trial(t, d, rnd, i)
				mu.Lock()
				counts[what]++
				counts["strangers kept out by the lease"] += blocked
				if bad != "" {
					violations++
					t.Errorf("case %d (%s, beside=%v): %s", i, what, beside, bad)
				}
				mu.Unlock()
			}
		})
	}
	for i := range trials() {
		work <- i
	}
	close(work)
	wg.Wait()
	t.Logf("cases=%d violations=%d seed=%d %v", trials(), violations, seed, counts)
}

// trial is one race of an act of ours against a replacement by a stranger. It
// says how it went, whether the replacement came beside our act, not before it,
// how often the stranger was kept out, and what was wrong.
func (p place) trial(t *testing.T, d *Driver, rnd *rand.Rand, i int) (what string, beside bool, blocked int, bad string) {
	ctx, key := t.Context(), fmt.Sprintf("adv/%d", i)
	seen, other, ours := fmt.Appendf(nil, "seen %d", i), fmt.Appendf(nil, "other content %d", i), fmt.Sprintf("ours %d", i)
	p.put(t, key, seen)
	info, err := d.Stat(ctx, object.Ref{Key: key})
	if err != nil {
		return "stat", false, 0, err.Error()
	}
	ref := object.Ref{Key: key, Version: info.Version}
	act := []string{"remove", "copy", "tag", "put"}[rnd.IntN(4)]
	replace := func() {
		for end := time.Now().Add(20 * time.Second); ; blocked++ {
			err := p.tryPut(key, other)
			if err == nil || !bloberror.HasCode(err, bloberror.LeaseIDMissing) || time.Now().After(end) {
				if err != nil {
					t.Errorf("the stranger: %v", err)
				}
				return
			}
		}
	}
	done := make(chan struct{})
	if beside = rnd.IntN(4) > 0; beside {
		pause := time.Duration(rnd.IntN(40_000)) * time.Microsecond
		go func() {
			defer close(done)
			time.Sleep(pause) // the race itself, not a wait for something
			replace()
		}()
	} else {
		replace()
		close(done)
	}
	switch act {
	case "remove":
		_, err = d.Remove(ctx, ref, connectors.Fence{})
	case "copy":
		_, err = d.Copy(ctx, ref, key+".copy", connectors.PutOptions{})
	case "tag":
		_, err = d.Tag(ctx, ref, map[string]string{"lw": fmt.Sprint(i)})
	case "put":
		_, err = d.Put(ctx, key, strings.NewReader(ours), connectors.PutOptions{Size: int64(len(ours)), IfVersion: ref.Version})
	}
	<-done
	what = act + " ok"
	if err != nil {
		if what = act + " refused"; !fault.Is(err, fault.Changed, fault.NotFound, fault.Unavailable) {
			return what, beside, blocked, err.Error()
		}
	}
	if err == nil && !beside {
		return what, beside, blocked, "done to what had been replaced before"
	}
	now, nerr := read(ctx, d, object.Ref{Key: key}, 0)
	if nerr != nil || !bytes.Equal(now, other) {
		return what, beside, blocked, fmt.Sprintf("the stranger's content is %q, %v", now, nerr)
	}
	switch act {
	case "copy":
		got, cerr := read(ctx, d, object.Ref{Key: key + ".copy"}, 0)
		if err == nil && (cerr != nil || !bytes.Equal(got, seen)) || err != nil && cerr == nil {
			return what, beside, blocked, fmt.Sprintf("the copy is %q, %v", got, cerr)
		}
	case "tag":
		if tags, terr := d.Tags(ctx, object.Ref{Key: key}); terr != nil || len(tags) != 0 {
			return what, beside, blocked, fmt.Sprintf("the stranger's blob has our tags %v, %v", tags, terr)
		}
	}
	return what, beside, blocked, ""
}
