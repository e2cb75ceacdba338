package events

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// Each message is beaten for well before its time is over, also after a beat
// that failed, and not after it was dropped or lost.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span = 12 * time.Second
		var mu sync.Mutex
		until := map[string]time.Time{}
		beats := map[string]int{}
		calls := 0
		k := Keeper[string]{Span: span, Beat: func(_ context.Context, held []string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			calls++
			if calls%3 == 0 {
				return nil, errors.New("no connection")
			}
			var lost []string
			for _, m := range held {
				if time.Now().After(until[m]) {
					t.Errorf("%s was not held any more", m)
				}
				until[m] = time.Now().Add(span)
				beats[m]++
				if m == "lost" {
					lost = append(lost, m)
				}
			}
			return lost, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { k.Run(ctx) })
		for _, m := range []string{"a", "b", "lost"} {
			until[m] = time.Now().Add(span)
		}
		k.Hold(time.Now(), "a", "b", "lost")
		time.Sleep(5 * time.Second)
		k.Drop("b")
		time.Sleep(5 * time.Minute)
		mu.Lock()
		if beats["a"] < 60 || beats["b"] != 1 || beats["lost"] != 1 || time.Now().After(until["a"]) {
			t.Errorf("beats %v", beats)
		}
		mu.Unlock()
		cancel()
		wg.Wait()
	})
}

// A sink that keeps saying no slows the source down, within bounds.
func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Brake{Retry: 5 * time.Second}
		last := time.Duration(0)
		for tries := 1; tries < 40; tries++ {
			after := b.Refused(tries)
			if after < 2500*time.Millisecond || after > longest {
				t.Errorf("try %d: %v", tries, after)
			}
			began := time.Now()
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if last = time.Since(began); last > 30*time.Second {
				t.Errorf("try %d: a pause of %v", tries, last)
			}
			time.Sleep(time.Millisecond)
		}
		if last < 15*time.Second {
			t.Errorf("the last pause is %v", last)
		}
		b.Took()
		b.Refused(1)
		began := time.Now()
		if err := b.Wait(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("the first pause after a good one: %v, %v", time.Since(began), err)
		}
		b.Refused(1)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Wait(ended); err == nil && time.Since(began) > time.Second {
			t.Error("it waits after the end")
		}
	})
}

type sink struct{ deliver, bury error }

func (s sink) Deliver(context.Context, string, []Notice) error { return s.deliver }
func (s sink) Bury(context.Context, Letter) error              { return s.bury }

func TestTake(t *testing.T) {
	away := fault.New(fault.Unavailable, "sink", "", nil)
	never := fault.New(fault.Invalid, "sink", "", nil)
	notices := func() ([]Notice, error) { return []Notice{{Key: "k"}}, nil }
	senseless := func() ([]Notice, error) { return nil, never }
	for name, c := range map[string]struct {
		sink   sink
		parse  func() ([]Notice, error)
		tries  int
		buried bool
		fails  bool
	}{
		"taken":                    {sink{}, notices, 1, false, false},
		"nothing in it":            {sink{away, away}, func() ([]Notice, error) { return nil, nil }, 1, false, false},
		"senseless":                {sink{away, nil}, senseless, 1, true, false},
		"senseless, and no grave":  {sink{nil, away}, senseless, 1, false, true},
		"refused":                  {sink{away, nil}, notices, 10, false, true},
		"refused too often":        {sink{away, nil}, notices, 11, true, false},
		"too often, and no grave":  {sink{away, away}, notices, 11, false, true},
		"too often, and now taken": {sink{}, notices, 99, false, false},
		"refused as senseless":     {sink{never, nil}, notices, 1, true, false},
		"refused, tries not told":  {sink{away, nil}, notices, 0, false, true},
	} {
		var m Meter
		buried, err := m.Take(t.Context(), c.sink, "s", Message{Tries: c.tries, Parse: c.parse}, 10)
		if buried != c.buried || (err != nil) != c.fails || (m.Status().Buried == 1) != c.buried || (m.Status().Error != "") != c.fails {
			t.Errorf("%s: buried %v, %v, status %+v", name, buried, err, m.Status())
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var m Meter
	if buried, err := m.Take(ended, sink{never, nil}, "s", Message{Tries: 99, Parse: notices}, 10); buried || !errors.Is(err, context.Canceled) || m.Status().Error != "" {
		t.Errorf("after the end: buried %v, %v", buried, err)
	}
}
