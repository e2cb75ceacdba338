package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// TestShare floods units of a small push backlog while no engine works, with
// events of objects that only events tell of. A flood stops at its share, others still get in, all together stay within the bound,
// and what was refused gets in once there is room.
func TestShare(t *testing.T) {
	const bound = 60
	w := newWorld(t, inMemory("flood", report()), inMemory("second", report()), inMemory("quiet", report()))
	w.bounds.PushBacklog = bound
	w.run()
	w.idle()
	w.engine.set(func(e *engine) { e.down = true })
	backlog := func(unit string) int64 {
		t.Helper()
		n, err := w.db.Backlog(context.Background(), w.ids[unit])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	took := map[string]bool{} // what Offer took, by unit and key
	flood := func(unit string) (refused error) {
		for i := range 2 * bound {
			key := fmt.Sprintf("k%03d", i)
			if took[unit+key] {
				continue
			}
			if err := w.pipe.Offer(context.Background(), w.ids[unit], "test", []event{look(unit, key, "")}); err != nil {
				return err
			}
			took[unit+key] = true
		}
		return nil
	}
	violations := 0
	for _, c := range []struct {
		unit string
		want int64
	}{{"flood", bound / 2}, {"second", bound / 4}, {"quiet", bound / 8}} {
		err := flood(c.unit)
		if !fault.Is(err, fault.Throttled) || fault.AfterOf(err) <= 0 {
			t.Errorf("%s: %v, want that it comes again later", c.unit, err)
		}
		if n := backlog(c.unit); n < c.want-1 || n > c.want+1 {
			violations++
			t.Errorf("%s holds %d, want about %d", c.unit, n, c.want)
		}
	}
	// Who waits is held back, too, and not dropped.
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := w.pipe.Emit(ctx, w.ids["flood"], "test", []event{look("flood", "waits", "")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Emit returned %v while the share was used up", err)
	}
	if all, err := w.db.Backlog(context.Background(), 0); err != nil || all != int64(len(took)) || all >= bound {
		violations++
		t.Errorf("%d entries are pending (%v), %d were taken, at most %d may", all, err, len(took), bound)
	}
	w.engine.set(func(e *engine) { e.down = false })
	for _, unit := range []string{"flood", "second", "quiet"} {
		w.until(unit+" is let in to the end", func() bool { return flood(unit) == nil })
	}
	w.idle()
	for _, unit := range []string{"flood", "second", "quiet"} {
		if n := len(w.entries(unit)); n < 2*bound {
			violations++
			t.Errorf("%s: %d entries, want one for each of %d", unit, n, 2*bound)
		}
	}
	told("share", len(took), violations, "none")
}

// TestWhole gives all of the push backlog to the only unit there is.
func TestWhole(t *testing.T) {
	w := newWorld(t, inMemory("a", report()))
	w.bounds.PushBacklog = 20
	w.run()
	w.idle()
	w.engine.set(func(e *engine) { e.down = true })
	n := 0
	for ; n < 100; n++ {
		key := fmt.Sprint("k", n)
		if err := w.pipe.Offer(context.Background(), w.ids["a"], "test", []event{look("a", key, "")}); err != nil {
			if !fault.Is(err, fault.Throttled) {
				t.Fatal(err)
			}
			break
		}
	}
	if n != 20 {
		t.Errorf("%d were taken, want 20", n)
	}
}
