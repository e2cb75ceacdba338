package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Rule is what an action needs and how it is written down.
type Rule struct {
	Need     account.Permission
	Category ledger.AuditCategory
	Quiet    bool // it changes nothing: it is written down only if it is refused
}

// Rules are the actions that there are, by name: noun.verb. What is not here
// cannot be done.
func Rules() map[string]Rule { return rules }

// An act is one action on one thing.
type act struct {
	action string
	target string // what it is done to; never a secret
	detail string // what else matters; never a secret
	dryRun bool   // nothing is changed, so nothing is written down
	// proven is who the caller turned out to be while it was done: a login has no
	// caller before.
	proven *account.Caller
}

// refusal is the error of a caller who may not, and unnamed of one who did not
// say who they are.
var (
	errRefused = errors.New("your role does not allow this")
	errUnnamed = errors.New("say who you are")
)

// Unauthenticated is the reason of a fault.Denied of somebody who is not known.
const Unauthenticated = "unauthenticated"

// Unknown is the error of a caller who is not known: a missing, wrong or expired token.
func Unknown(op string, err error) error {
	return &fault.Error{Op: op, Kind: fault.Denied, Reason: Unauthenticated, Err: err}
}

// Allowed tells whether the caller in ctx may do the action: nil,
// fault.Denied, with the reason Unauthenticated where nobody was named.
func Allowed(ctx context.Context, action string) error {
	rule, ok := rules[action]
	if !ok {
		return fault.New(fault.Internal, "control", action, errors.New("an action without a rule"))
	}
	who, named := account.From(ctx)
	switch {
	case rule.Need == account.Public:
		return nil
	case !named:
		return Unknown("control", errUnnamed)
	case !who.May(rule.Need):
		return fault.New(fault.Denied, "control", action, errRefused)
	}
	return nil
}

// Admit is Allowed, and writes down that somebody known was refused.
func (c *Control) Admit(ctx context.Context, action string) error {
	err := Allowed(ctx, action)
	who, named := account.From(ctx)
	if err == nil || !named || !fault.Is(err, fault.Denied) {
		return err
	}
	row := ledger.AuditRow{Tenant: who.Tenant, Who: who.Name, WhoID: who.ID, Type: ledger.Access, Category: rules[action].Category, Level: ledger.Warning,
		Action: action, Detail: "refused"}
	missed, ok := c.refusals.take(time.Now())
	if !ok {
		return err // who may look may also try without end
	}
	if missed > 0 {
		row.Detail = joinWords(row.Detail, fmt.Sprintf("%d like this were not written down in the hours before", missed))
	}
	return errors.Join(err, c.Store.AddAudit(context.WithoutCancel(ctx), row))
}

// do does one thing for the caller in ctx, if they may, and writes down that
// they did or tried. Every change that somebody asks for goes through here.
func (c *Control) do(ctx context.Context, a act, f func(ctx context.Context, who account.Caller) error) error {
	who, named := account.From(ctx)
	err := Allowed(ctx, a.action)
	allowed := err == nil
	if allowed {
		err = f(ctx, who)
	}
	rule := rules[a.action]
	if a.proven != nil && a.proven.ID != (ledger.ID{}) {
		who, named = *a.proven, true
	}
	if (rule.Quiet || a.dryRun) && allowed || !named && !allowed || rule.Need == account.Public && fault.Is(err, fault.Throttled) {
		return err // what strangers may try without end would fill the audit
	}
	if !named {
		missed, ok := c.strangers.take(time.Now())
		if !ok {
			return err
		}
		if missed > 0 {
			a.detail = joinWords(a.detail, fmt.Sprintf("%d like this were not written down in the hours before", missed))
		}
	}
	row := ledger.AuditRow{Tenant: who.Tenant, Who: who.Name, WhoID: who.ID, Type: ledger.UserAction, Category: rule.Category,
		Action: a.action, Target: a.target, Detail: a.detail}
	if rule.Need == account.Public {
		row.Type = ledger.Access
	}
	switch {
	case !allowed:
		row.Type, row.Level, row.Detail = ledger.Access, ledger.Warning, "refused"
	case err != nil:
		row.Level, row.Detail = ledger.Error, joinWords(a.detail, "failed: "+fault.KindOf(err).String())
	}
	// What was done stands even if it could not be written down; then that is said.
	if werr := c.Store.AddAudit(context.WithoutCancel(ctx), row); werr != nil && err == nil {
		return werr
	}
	return err
}

// get is do for what gives something back.
func get[T any](ctx context.Context, c *Control, a act, f func(ctx context.Context, who account.Caller) (T, error)) (v T, err error) {
	err = c.do(ctx, a, func(ctx context.Context, who account.Caller) (err error) {
		v, err = f(ctx, who)
		return err
	})
	return v, err
}

func joinWords(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
