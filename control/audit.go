package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

// AuditStore keeps what was done, in a chain.
type AuditStore interface {
	AddAudit(ctx context.Context, r ledger.AuditRow) error
	Audit(ctx context.Context, f ledger.AuditFilter) ([]ledger.AuditRow, int64, error)
	AuditChain(ctx context.Context, after int64, n int) ([]ledger.AuditRow, error)
	AuditMarks(ctx context.Context) (ledger.AuditMarks, error)
}

// Audit lists what was done in the caller's tenant, the newest first, and says
// how many rows f selects.
func (c *Control) Audit(ctx context.Context, f ledger.AuditFilter) (list []ledger.AuditRow, total int64, err error) {
	err = c.do(ctx, act{action: "audit.list"}, func(ctx context.Context, who account.Caller) (err error) {
		f.Tenant = who.Tenant
		if f.From, err = c.auditFrom(ctx, who.Tenant); err != nil {
			return err
		}
		list, total, err = c.Store.Audit(ctx, f)
		return err
	})
	return list, total, err
}

// Verified is what a walk of the audit's chain found.
type Verified struct {
	Rows   int64  `json:"rows"`
	First  int64  `json:"first,omitempty"`  // number of the first row that there is
	Last   int64  `json:"last,omitempty"`   // and of the last
	Cut    int64  `json:"cut,omitempty"`    // retention removed the rows up to this one
	Broken int64  `json:"broken,omitempty"` // number of the first row that is not as it was written
	Why    string `json:"why,omitempty"`
	Hash   string `json:"hash,omitempty"` // of the last row: whoever keeps it elsewhere can prove that nothing was written anew
}

// Sound reports whether the chain is whole.
func (v Verified) Sound() bool { return v.Why == "" }

// VerifyAudit walks the whole chain, of all tenants, and says which row is the
// first that was changed, or that one before it is missing.
func (c *Control) VerifyAudit(ctx context.Context) (Verified, error) {
	for {
		marks, err := c.Store.AuditMarks(ctx)
		if err != nil {
			return Verified{}, err
		}
		v, err := c.walkAudit(ctx, marks)
		if err != nil || v.Sound() {
			return v, err
		}
		now, err := c.Store.AuditMarks(ctx)
		if err != nil || now.Cut.N == marks.Cut.N {
			return v, err
		} // else retention cut the chain while it was walked
	}
}

func (c *Control) walkAudit(ctx context.Context, marks ledger.AuditMarks) (Verified, error) {
	v := Verified{Cut: marks.Cut.N}
	before, reached := marks.Cut.Hash, marks.Head.N == 0
	for after := int64(0); ; {
		list, err := c.Store.AuditChain(ctx, after, page)
		if err != nil {
			return v, err
		}
		for i := range list {
			r := &list[i]
			switch {
			case !bytes.Equal(r.Before, before) && v.Rows == 0:
				v.Broken, v.Why = r.N, "rows before it are missing"
			case !bytes.Equal(r.Before, before):
				v.Broken, v.Why = r.N, fmt.Sprintf("it does not follow row %d: one is missing, was added or stands elsewhere", after)
			case !bytes.Equal(r.Sum(), r.Hash):
				v.Broken, v.Why = r.N, "it was changed"
			case r.N == marks.Head.N && !bytes.Equal(r.Hash, marks.Head.Hash):
				v.Broken, v.Why = r.N, "it is not the row that was written last"
			}
			if !v.Sound() {
				return v, nil
			}
			if v.Rows == 0 {
				v.First = r.N
			}
			v.Rows, v.Last, v.Hash = v.Rows+1, r.N, hex.EncodeToString(r.Hash)
			before, after, reached = r.Hash, r.N, reached || r.N == marks.Head.N
		}
		if len(list) < page {
			break
		}
	}
	if !reached {
		v.Broken, v.Why = marks.Head.N, "it is missing: the chain ends before it"
	}
	return v, nil
}
