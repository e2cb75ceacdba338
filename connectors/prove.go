package connectors

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// What follows is what the drivers' probes have in common.

// An Answer is what is known of a server's behaviour. The zero value knows nothing.
type Answer struct{ v atomic.Int32 }

// Set notes what the server does.
func (a *Answer) Set(yes bool) {
	if yes {
		a.v.Store(1)
	} else {
		a.v.Store(-1)
	}
}

// Yes reports whether it is known that the server does it.
func (a *Answer) Yes() bool { return a.v.Load() > 0 }

// No reports whether it is known that it does not.
func (a *Answer) No() bool { return a.v.Load() < 0 }

// OrAbsent turns an error that means "this cannot be done here" into nil.
func OrAbsent(err error) error {
	if fault.Is(err, fault.Denied, fault.Unsupported, fault.Invalid) {
		return nil
	}
	return err
}

// Ordered reports whether list yields names, which are all that begins so in
// dir, in this order and from after each of them.
func Ordered(ctx context.Context, list func(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error], dir, prefix string, names []string) (bool, error) {
	start := dir
	for i := range names {
		var got []string
		for info, err := range list(ctx, dir+prefix, start) {
			if fault.Is(err, fault.Unsupported) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			got = append(got, strings.TrimPrefix(info.Key, dir))
		}
		if !slices.Equal(got, names[i:]) {
			return false, nil
		}
		start = dir + names[i]
	}
	return true, nil
}

// Clear removes what list yields below dir: all that a probe wrote, also if ctx
// has ended. What the credentials may write but not delete stays.
func Clear(ctx context.Context, op, dir string, list func(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error], remove func(context.Context, object.Info) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var errs []error
	for info, err := range list(ctx, dir, "") {
		if err != nil {
			errs = append(errs, err)
			break
		}
		if err := remove(ctx, info); err != nil && !fault.Is(err, fault.NotFound, fault.Changed, fault.Denied) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fault.New(fault.Other, op, "left behind: "+dir, errors.Join(errs...))
	}
	return nil
}
