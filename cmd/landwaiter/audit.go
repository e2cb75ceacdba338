package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
)

type auditCmd struct {
	Verify auditVerify `cmd:"" help:"Walk the chain of the audit and name the first row that is not as it was written."`
}

type auditVerify struct{}

// An auditVerifier walks the chain of the audit.
type auditVerifier interface {
	VerifyAudit(ctx context.Context) (control.Verified, error)
}

var auditColumns = []output.Column[control.Verified]{
	{Name: "ROWS", Value: func(v control.Verified) string { return size(v.Rows) }},
	{Name: "FIRST", Value: func(v control.Verified) string { return strconv.FormatInt(v.First, 10) }},
	{Name: "LAST", Value: func(v control.Verified) string { return strconv.FormatInt(v.Last, 10) }},
	{Name: "REMOVED UP TO", Value: func(v control.Verified) string { return strconv.FormatInt(v.Cut, 10) }},
	{Name: "STATE", Value: func(v control.Verified) string {
		if v.Sound() {
			return "sound"
		}
		return fmt.Sprintf("broken at row %d", v.Broken)
	}, Color: func(v control.Verified) output.Color {
		if v.Sound() {
			return output.Good
		}
		return output.Bad
	}},
	{Name: "HASH", Value: func(v control.Verified) string { return v.Hash }},
}

// Run verifies the chain; one that is broken is a failure.
func (c *auditVerify) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		v, err := b.VerifyAudit(ctx)
		if err != nil {
			return err
		}
		if err := output.List(a.printer(), auditColumns, output.Of([]control.Verified{v})); err != nil {
			return err
		}
		if !v.Sound() {
			return fault.New(fault.Corrupt, "audit", fmt.Sprintf("row %d", v.Broken), errors.New(v.Why))
		}
		return nil
	})
}

// VerifyAudit is for the machine itself: the chain is that of all tenants.
func (r *remote) VerifyAudit(context.Context) (control.Verified, error) {
	return control.Verified{}, fault.New(fault.Unsupported, "audit verify", r.base, errors.New("it is done on the machine itself, where the whole chain can be read"))
}
