package connectortest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// putRace: of those who create a key at once, or replace one version, one wins.
func (s suite) putRace(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	p := d.(connectors.Putter)
	version := ""
	for round := range 5 {
		var won atomic.Int32
		var winner atomic.Pointer[string]
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				body := fmt.Sprintf("round %d writer %d", round, i)
				_, err := p.Put(ctx, "raced", strings.NewReader(body), connectors.PutOptions{Size: int64(len(body)), IfVersion: version, TempName: fmt.Sprint("race-", round, "-", i)})
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(&body)
				case !fault.Is(err, fault.Exists, fault.Changed, fault.Unavailable, fault.NotFound, fault.Throttled):
					t.Errorf("a loser got %v", err)
				}
			})
		}
		wg.Wait()
		got, info, err := content(ctx, d, object.Ref{Key: "raced"}, 0)
		if won.Load() != 1 || err != nil || string(got) != *winner.Load() {
			t.Fatalf("round %d: %d winners; the object is %q, %v", round, won.Load(), got, err)
		}
		version = info.Version
	}
}

// copyRace: of many who create one key at once by copies and puts, one wins.
func (s suite) copyRace(t *testing.T) {
	d, ctx := s.open(t), deadline(t)
	p, c := d.(connectors.Putter), d.(connectors.Copier)
	src := must[object.Info](t, "Put")(p.Put(ctx, "src", strings.NewReader("content"), connectors.PutOptions{Size: 7, TempName: "copy-race"}))
	for round := range 10 {
		key := fmt.Sprint("dst", round)
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				var err error
				if temp := fmt.Sprint("copy-race-", round, "-", i); i%2 == 0 {
					_, err = c.Copy(ctx, object.Ref{Key: "src", Version: src.Version}, key, connectors.PutOptions{TempName: temp})
				} else {
					_, err = p.Put(ctx, key, strings.NewReader("put"), connectors.PutOptions{Size: 3, TempName: temp})
				}
				if err == nil {
					won.Add(1)
				} else if !fault.Is(err, fault.Exists, fault.Changed, fault.Unavailable, fault.Throttled) {
					t.Errorf("a loser got %v", err)
				}
			})
		}
		if wg.Wait(); won.Load() != 1 {
			t.Errorf("round %d: %d winners", round, won.Load())
		}
	}
}
