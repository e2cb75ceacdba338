package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Checklist is how safely the bucket of a storage is set up, as it was seen
// last. The zero value is enabled, with nothing looked at.
type Checklist struct {
	Storage  ledger.ID             `json:"storage"`
	Disabled bool                  `json:"disabled,omitempty"`
	Items    map[string]*CheckItem `json:"items,omitempty"` // by connectors.Items
}

// A CheckItem is one safety measure. The zero value is enabled and not looked at.
type CheckItem struct {
	Disabled bool       `json:"disabled,omitempty"`
	State    CheckState `json:"state,omitempty"`
	Why      string     `json:"why,omitempty"`
	At       time.Time  `json:"at,omitzero"`
}

// A CheckState is what a look gave.
type CheckState int

// The states.
const (
	CheckUnknown CheckState = iota // not looked at, or it could not be
	CheckPassed
	CheckFailed
)

// checklistName is of the setting that keeps a storage's checklist.
func checklistName(storage ledger.ID) string { return "checklist:" + storage.String() }

// item returns an item of the list, which is made if it was never set.
func (l *Checklist) item(name string) *CheckItem {
	if l.Items == nil {
		l.Items = map[string]*CheckItem{}
	}
	if l.Items[name] == nil {
		l.Items[name] = &CheckItem{}
	}
	return l.Items[name]
}

// Checklist tells how safely a storage's bucket is set up, as it was seen last.
// fault.Unsupported for what is not on S3.
func (c *Control) Checklist(ctx context.Context, storage ledger.ID) (Checklist, error) {
	return get(ctx, c, act{action: "checklist.list", target: storage.String()}, func(ctx context.Context, who account.Caller) (Checklist, error) {
		_, l, _, err := c.checklist(ctx, who.Tenant, storage)
		return l, err
	})
}

// checklist reads a storage's list and the setting that keeps it; its ID is zero
// if there is none yet.
func (c *Control) checklist(ctx context.Context, tenant int64, storage ledger.ID) (v StorageView, l Checklist, n ledger.Noun, err error) {
	if v, err = c.storage(ctx, tenant, storage); err != nil {
		return v, l, n, err
	}
	if v.Vendor.Protocol != ProtocolAmazonSDK {
		return v, l, n, fault.New(fault.Unsupported, "control.Checklist", v.Name, errors.New("only storages on S3 have a security checklist"))
	}
	n, err = c.Store.NounNamed(ctx, tenant, ledger.Setting, checklistName(storage))
	if fault.Is(err, fault.NotFound) {
		n = ledger.Noun{Tenant: tenant, Kind: ledger.Setting, Name: checklistName(storage)}
		return v, Checklist{Storage: storage}, n, nil
	}
	if err == nil {
		l, err = decode[Checklist](n)
	}
	return v, l, n, err
}

// changeChecklist changes what is kept of a storage's list.
func (c *Control) changeChecklist(ctx context.Context, a act, storage ledger.ID, change func(ctx context.Context, v StorageView, l *Checklist) error) (Checklist, error) {
	a.target = storage.String()
	return get(ctx, c, a, func(ctx context.Context, who account.Caller) (Checklist, error) {
		v, l, n, err := c.checklist(ctx, who.Tenant, storage)
		if err == nil {
			err = change(ctx, v, &l)
		}
		if err == nil {
			err = encode(&n, l)
		}
		if err != nil {
			return l, err
		}
		if n.ID == (ledger.ID{}) {
			_, err = c.Store.AddNoun(ctx, n)
		} else {
			_, err = c.Store.SetNoun(ctx, n)
		}
		return l, err
	})
}

// EnableChecklist switches a storage's whole list on or off.
func (c *Control) EnableChecklist(ctx context.Context, storage ledger.ID, on bool) (Checklist, error) {
	return c.changeChecklist(ctx, act{action: "checklist.set", detail: onOff(on)}, storage, func(_ context.Context, _ StorageView, l *Checklist) error {
		l.Disabled = !on
		return nil
	})
}

// EnableCheckItem switches one item on or off.
func (c *Control) EnableCheckItem(ctx context.Context, storage ledger.ID, item string, on bool) (Checklist, error) {
	return c.changeChecklist(ctx, act{action: "checklist.set", detail: item + " " + onOff(on)}, storage, func(_ context.Context, _ StorageView, l *Checklist) error {
		if !slices.Contains(connectors.Items(), item) {
			return fault.New(fault.Invalid, "control.Checklist", "", errors.New("there is no such item"))
		}
		l.item(item).Disabled = !on
		return nil
	})
}

// EnableCheckItems switches the list and all its items on.
func (c *Control) EnableCheckItems(ctx context.Context, storage ledger.ID) (Checklist, error) {
	return c.changeChecklist(ctx, act{action: "checklist.set", detail: "all " + onOff(true)}, storage, func(_ context.Context, _ StorageView, l *Checklist) error {
		l.Disabled = false
		for _, item := range connectors.Items() {
			l.item(item).Disabled = false
		}
		return nil
	})
}

// VerifyChecklist asks the bucket for every item that is on.
func (c *Control) VerifyChecklist(ctx context.Context, storage ledger.ID) (Checklist, error) {
	return c.changeChecklist(ctx, act{action: "checklist.verify"}, storage, func(ctx context.Context, v StorageView, l *Checklist) error {
		if l.Disabled {
			return fault.New(fault.Exists, "control.Checklist", v.Name, errors.New("the checklist is switched off"))
		}
		list, err := c.measures(ctx, v)
		if err != nil {
			return err
		}
		for _, m := range list {
			item := l.item(m.Item)
			if item.Disabled {
				continue
			}
			item.At, item.Why, item.State = time.Now().UTC().Truncate(time.Millisecond), m.Why, CheckFailed
			switch {
			case m.Err != nil:
				item.State, item.Why = CheckUnknown, spoken(m.Err)
			case m.Passed:
				item.State = CheckPassed
			}
		}
		return nil
	})
}

// measures asks the storage's bucket, within a bound.
func (c *Control) measures(ctx context.Context, v StorageView) ([]connectors.Measure, error) {
	u, err := c.Store.UnitOf(ctx, 0, v.ID)
	if err != nil {
		return nil, err
	}
	if c.Open == nil {
		return nil, noDaemon("checklist")
	}
	st, err := c.Open(ctx, u.Name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	return st.Checklist(ctx)
}

// dropChecklist forgets the list of a storage that is removed.
func (c *Control) dropChecklist(ctx context.Context, tenant int64, storage ledger.ID) error {
	n, err := c.Store.NounNamed(ctx, tenant, ledger.Setting, checklistName(storage))
	if err == nil {
		err = c.Store.DeleteNoun(ctx, tenant, ledger.Setting, n.ID)
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
