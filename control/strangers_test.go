package control

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuota(t *testing.T) {
	var q quota
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	taken := func(n int) (ok int) {
		for range n {
			if _, yes := q.take(now); yes {
				ok++
			}
		}
		return ok
	}
	if n := taken(250); n != strangersRows {
		t.Errorf("%d rows in an hour", n)
	}
	now = now.Add(59 * time.Minute)
	if n := taken(10); n != 0 {
		t.Errorf("%d more in the same hour", n)
	}
	now = now.Add(time.Minute)
	if missed, ok := q.take(now); !ok || missed != 60 {
		t.Errorf("in the next hour: %d missed, %v", missed, ok)
	}
	if missed, ok := q.take(now); !ok || missed != 0 {
		t.Errorf("they are told twice: %d, %v", missed, ok)
	}
}

func TestTurns(t *testing.T) {
	var list turns
	id, other := ledger.NewID(), ledger.NewID()
	var g sync.WaitGroup
	var mu sync.Mutex
	in, most, done := 0, 0, 0
	for range 50 {
		g.Go(func() {
			leave, err := list.take(t.Context(), id)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			in++
			most = max(most, in)
			mu.Unlock()
			mu.Lock()
			in--
			done++
			mu.Unlock()
			leave()
		})
	}
	g.Wait()
	if most != 1 || done != 50 || len(list.held) != 0 {
		t.Errorf("%d at once, %d done, %d kept", most, done, len(list.held))
	}
	leave, err := list.take(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if free, err := list.take(t.Context(), other); err != nil {
		t.Error("another user waits")
	} else {
		free()
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, maxTurns)
	for range maxTurns - 1 {
		go func() { _, err := list.take(ctx, id); waits <- err }()
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		list.mu.Lock()
		n := list.held[id].want
		list.mu.Unlock()
		if n == maxTurns {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait", n)
		}
	}
	if _, err := list.take(t.Context(), id); !fault.Is(err, fault.Throttled) {
		t.Errorf("one more than may wait: %v", err)
	}
	cancel()
	for range maxTurns - 1 {
		if err := <-waits; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	leave()
	if len(list.held) != 0 {
		t.Errorf("%d kept", len(list.held))
	}
}

func TestDelay(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, 2: 0, 3: time.Second, 4: 2 * time.Second, 8: 32 * time.Second, 12: 512 * time.Second, 13: maxDelay, 1 << 30: maxDelay} {
		if got := delay(failures); got != want {
			t.Errorf("%d failures: %v, want %v", failures, got, want)
		}
	}
}
