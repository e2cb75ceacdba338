package connectors

import (
	"context"
	"errors"
	"iter"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Page is a part of a listing. Keys are the vendor's, not the unit's; C is a
// place in the listing, as the vendor's driver has it.
type Page[C comparable] struct {
	Infos []object.Info
	Next  *C // nil at the end
}

// ErrNoEnd is the error of a listing that goes in a circle.
var ErrNoEnd = errors.New("the server repeats a page of its listing")

// Ahead yields the pages from at on, and asks for the next one while one is
// consumed. A page that leads to itself is Unavailable; op and prefix are what
// that error names.
func Ahead[C comparable](ctx context.Context, op, prefix string, at C, get func(context.Context, C) (Page[C], error)) iter.Seq2[Page[C], error] {
	type result struct {
		Page[C]
		err error
	}
	return func(yield func(Page[C], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		results := make(chan result)
		defer func() {
			cancel()
			for range results { // the goroutine has ended when this is closed
			}
		}()
		go func() {
			defer close(results)
			for next := &at; next != nil; {
				p, err := get(ctx, *next)
				if err == nil && p.Next != nil && *p.Next == *next {
					err = fault.New(fault.Unavailable, op, object.FormatKey(prefix), ErrNoEnd)
				}
				select {
				case results <- result{p, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
				next = p.Next
			}
		}()
		for r := range results {
			if !yield(r.Page, r.err) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(Page[C]{}, context.Cause(ctx))
		}
	}
}
