package control

import (
	"context"
	"iter"
	"slices"

	"github.com/landwaiter/landwaiter/ledger"
)

// scanFiles yields the entries of f.Scans: those that are not finished first,
// then the last finished first.
func (c *Control) scanFiles(ctx context.Context, f ledger.FileFilter) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		for _, scan := range f.Scans {
			for _, open := range []bool{true, false} {
				q := ledger.Filter{Scan: scan, Search: f.Search, Unfinished: open, Limit: page}
				for {
					got, err := c.Store.Entries(ctx, q)
					if err != nil {
						yield(ledger.Entry{}, err)
						return
					}
					for i := range got.Entries {
						if e := &got.Entries[i]; matches(&f, e) && !yield(*e, nil) {
							return
						}
					}
					if q.After = got.Next; q.After == "" {
						break
					}
				}
			}
		}
	}
}

// matches reports whether e passes what f says of each entry by itself.
func matches(f *ledger.FileFilter, e *ledger.Entry) bool {
	detected, vulns, sensitive := 0, 0, 0
	if r := e.Report; r != nil {
		detected, vulns, sensitive = r.Detected, r.Vulnerabilities, r.Sensitive
	}
	return among(f.Units, e.Unit) && among(f.Processing, e.Processing()) && among(f.Results, e.Result()) && among(f.Codes, e.ResultCode()) &&
		among(f.Detected, detected) && among(f.Vulns, vulns) && is(f.HasVulns, vulns > 0) && is(f.Sensitive, sensitive > 0) &&
		(f.Remedies == nil || slices.ContainsFunc(e.Remedies(), func(r ledger.Remedy) bool { return slices.Contains(f.Remedies, r) })) &&
		!e.Discovered.Before(f.From) && (f.To.IsZero() || e.Discovered.Before(f.To))
}

// among reports whether v is in list; nil restricts nothing.
func among[T comparable](list []T, v T) bool { return list == nil || slices.Contains(list, v) }

func is(want *bool, v bool) bool { return want == nil || *want == v }
