package control

import (
	"context"
	"iter"

	"github.com/landwaiter/landwaiter/ledger"
)

// scanFiles yields the files that match, page by page.
func (c *Control) scanFiles(ctx context.Context, f ledger.FileFilter) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		for f.Start, f.Limit = 0, page; ; f.Start += page {
			got, err := c.Store.Files(ctx, f)
			if err != nil {
				yield(ledger.Entry{}, err)
				return
			}
			for _, e := range got.Entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(got.Entries) == 0 {
				return
			}
		}
	}
}
