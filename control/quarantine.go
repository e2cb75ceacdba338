package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
)

// defaultAllow is how long a restored object's hash is allowed where nothing is said.
const defaultAllow = 30 * 24 * time.Hour

// Quarantined lists what is held, the newest first.
func (c *Control) Quarantined(ctx context.Context, unit string) iter.Seq2[Quarantined, error] {
	return func(yield func(Quarantined, error) bool) {
		if err := Allowed(ctx, "quarantine.list"); err != nil {
			yield(Quarantined{}, err)
			return
		}
		f := ledger.QuarantineFilter{State: ledger.QuarantineHeld, Limit: page}
		if unit != "" {
			u, err := c.unit(ctx, unit)
			if err != nil {
				yield(Quarantined{}, err)
				return
			}
			f.Unit = u.ID
		}
		names, err := c.names(ctx)
		if err != nil {
			yield(Quarantined{}, err)
			return
		}
		for {
			items, err := c.Store.QuarantineList(ctx, f)
			if err != nil {
				yield(Quarantined{}, err)
				return
			}
			for _, q := range items {
				f.After = q.ID
				if _, mine := names[q.Unit]; !mine {
					continue
				}
				if !yield(Quarantined{ID: q.ID.String(), Time: q.At, Unit: names[q.Unit], Key: object.FormatKey(q.Key), Size: q.Size,
					SHA256: hex.EncodeToString(q.SHA256), Threat: q.Threat, Reason: scan.Reason(q.Reason), Expires: q.Expires}, nil) {
					return
				}
			}
			if len(items) < page {
				return
			}
		}
	}
}

// maxItems bounds how many items are looked through for one.
const maxItems = 200_000

// items gives the items, the newest first, until each says false.
func (c *Control) items(ctx context.Context, f ledger.QuarantineFilter, each func(ledger.QuarantineItem) bool) error {
	f.Limit = page
	for range maxItems / page {
		items, err := c.Store.QuarantineList(ctx, f)
		if err != nil {
			return err
		}
		for _, q := range items {
			if !each(q) {
				return nil
			}
			f.After = q.ID
		}
		if len(items) < page {
			return nil
		}
	}
	return nil
}

// kept notes in chapters what became of the objects that they put away.
func (c *Control) kept(ctx context.Context, unit int64, chapters []Chapter) error {
	waiting := map[string]*Chapter{}
	for i := range chapters {
		for _, a := range chapters[i].Actions {
			if a.Type == string(remediation.Put) && a.State == string(remediation.Done) {
				waiting[chapters[i].ID] = &chapters[i]
			}
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return c.items(ctx, ledger.QuarantineFilter{Unit: unit}, func(q ledger.QuarantineItem) bool {
		if ch := waiting[q.Entry.String()]; ch != nil {
			ch.Kept = &Kept{ID: q.ID.String(), State: q.State, Changed: q.Changed, By: q.By}
			delete(waiting, q.Entry.String())
		}
		return len(waiting) > 0
	})
}

// held finds an item that is held, by its id or that of the entry that put it away.
func (c *Control) held(ctx context.Context, id string) (ledger.QuarantineItem, string, error) {
	qid, err := parseID(id)
	if err != nil {
		return ledger.QuarantineItem{}, "", err
	}
	q, err := c.Store.QuarantineGet(ctx, qid)
	if fault.Is(err, fault.NotFound) { // perhaps the entry that put it away
		err = c.items(ctx, ledger.QuarantineFilter{}, func(i ledger.QuarantineItem) bool {
			if i.Entry == qid {
				q = i
			}
			return i.Entry != qid
		})
		if err == nil && q.Entry != qid {
			err = fault.New(fault.NotFound, "control.Quarantine", id, errors.New("nothing in quarantine has this id; quarantine list shows them"))
		}
	}
	if err != nil {
		return q, "", err
	}
	names, err := c.names(ctx)
	if err != nil {
		return q, "", err
	}
	name, mine := names[q.Unit]
	if !mine {
		return q, "", fault.New(fault.NotFound, "control.Quarantine", id, errors.New("nothing in quarantine has this id; quarantine list shows them"))
	}
	if q.State != ledger.QuarantineHeld {
		return q, "", fault.New(fault.NotFound, "control.Quarantine", id, fmt.Errorf("it was %s already by %s", q.State, q.By))
	}
	return q, name, err
}

// Restore puts an object back where it was, or under r.To, byte for byte and
// never over another one (fault.Exists), and allows its hash for the unit
// before it appears, so that it is not put away again at once.
func (c *Control) Restore(ctx context.Context, r RestoreRequest) (Effect, error) {
	return get(ctx, c, act{action: "quarantine.restore", target: clip(r.ID), dryRun: r.DryRun}, func(ctx context.Context, who account.Caller) (Effect, error) {
		return c.restore(ctx, who, r)
	})
}

func (c *Control) restore(ctx context.Context, who account.Caller, r RestoreRequest) (Effect, error) {
	q, unit, err := c.held(ctx, r.ID)
	if err != nil {
		return Effect{}, err
	}
	key := q.Key
	if r.To != "" {
		if key, err = object.ParseKey(r.To); err != nil {
			return Effect{}, fault.New(fault.Invalid, "control.Restore", r.To, err)
		}
	}
	allow := r.Allow
	if allow <= 0 {
		allow = defaultAllow
	}
	e := Effect{ID: r.ID, Unit: unit, Key: object.FormatKey(key), State: "planned"}
	until := time.Now().Add(allow)
	if r.DryRun {
		e.Detail = fmt.Sprintf("would write %d bytes and allow sha256 %x until %s", q.Size, q.SHA256, until.UTC().Format(time.RFC3339))
		return e, nil
	}
	u, err := c.unit(ctx, unit)
	if err != nil {
		return Effect{}, err
	}
	st, err := c.Open(ctx, servedName(u))
	if err != nil {
		return Effect{}, err
	}
	_, before, err := c.Store.Allowance(ctx, q.Unit, q.SHA256, time.Now())
	if err != nil {
		return Effect{}, err
	}
	if err := c.Store.Allow(ctx, ledger.AllowanceRow{Unit: q.Unit, SHA256: q.SHA256, By: who.Name, Until: until}); err != nil {
		return Effect{}, err
	}
	if _, err := c.Vault.Restore(ctx, quarantine.Item{Key: q.Object}, q.SHA256, st, servedName(u), key); err != nil {
		if !before { // what was not restored is not allowed either
			err = errors.Join(err, c.Store.Disallow(context.WithoutCancel(ctx), q.Unit, q.SHA256))
		}
		if fault.Is(err, fault.Exists) {
			err = fault.New(fault.Exists, "control.Restore", e.Key, errors.New("something else is there; choose another key with --to"))
		}
		return Effect{}, err
	}
	if err := c.Store.QuarantineSet(ctx, q.ID, ledger.QuarantineRestored, who.Name); err != nil {
		return Effect{}, err
	}
	e.State, e.Detail = "done", "allowed until "+until.UTC().Format(time.RFC3339)
	return e, c.drop(ctx, q)
}

// Purge destroys an object for good.
func (c *Control) Purge(ctx context.Context, id string, dryRun bool) (Effect, error) {
	return get(ctx, c, act{action: "quarantine.purge", target: clip(id), dryRun: dryRun}, func(ctx context.Context, who account.Caller) (Effect, error) {
		return c.purgeOne(ctx, who, id, dryRun)
	})
}

func (c *Control) purgeOne(ctx context.Context, who account.Caller, id string, dryRun bool) (Effect, error) {
	q, unit, err := c.held(ctx, id)
	if err != nil {
		return Effect{}, err
	}
	e := Effect{ID: id, Unit: unit, Key: object.FormatKey(q.Key), State: "planned", Detail: fmt.Sprintf("would destroy %d bytes", q.Size)}
	if dryRun {
		return e, nil
	}
	return e.done("destroyed"), c.purge(ctx, q, who.Name)
}

func (e Effect) done(detail string) Effect {
	e.State, e.Detail = "done", detail
	return e
}

func (c *Control) purge(ctx context.Context, q ledger.QuarantineItem, by string) error {
	if err := c.drop(ctx, q); err != nil {
		return err
	}
	return c.Store.QuarantineSet(ctx, q.ID, ledger.QuarantinePurged, by)
}

// drop removes the item's file; that it is gone already is fine.
func (c *Control) drop(ctx context.Context, q ledger.QuarantineItem) error {
	if err := c.Vault.Purge(ctx, quarantine.Item{Key: q.Object}); !fault.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// Expire purges what has been held for as long as its workflow says. An item
// that cannot be purged does not keep the others.
func (c *Control) Expire(ctx context.Context, now time.Time) (purged int, err error) {
	var errs []error
	for f := (ledger.QuarantineFilter{Expired: now, Limit: page}); ; {
		items, err := c.Store.QuarantineList(ctx, f)
		if err != nil {
			return purged, errors.Join(append(errs, err)...)
		}
		for _, q := range items {
			f.After = q.ID
			err := c.purge(ctx, q, "expiry")
			switch {
			case ctx.Err() != nil:
				return purged, ctx.Err()
			case err == nil:
				purged++
			case len(errs) < 10:
				errs = append(errs, fmt.Errorf("%s: %w", q.ID, err))
			}
		}
		if len(items) < page {
			return purged, errors.Join(errs...)
		}
	}
}
