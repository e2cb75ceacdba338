package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Schedule is scans of a storage that come again; the storage is the noun's
// Parent. Due is the id of the scan of a run that was claimed and has perhaps not
// begun: whoever sees it begins it.
type Schedule struct {
	Recurrence
	Folder   string    `json:"folder,omitempty"`
	Workflow ledger.ID `json:"workflow,omitzero"`
	Priority int       `json:"priority,omitempty"`
	By       ledger.ID `json:"by,omitzero"`
	ByName   string    `json:"by_name,omitempty"`
	Next     time.Time `json:"next"`
	Due      ledger.ID `json:"due,omitzero"`
	Why      string    `json:"why,omitempty"` // what the audit says of that run
	LastScan ledger.ID `json:"last_scan,omitzero"`
}

// A ScheduleView is a schedule with what it is of.
type ScheduleView struct {
	ledger.Noun
	Schedule
	Storage     ledger.ID
	StorageName string
}

// A ScheduleQuery selects schedules of a storage.
type ScheduleQuery struct {
	Name, User string // parts of them
	Period     *Period
	Desc       bool // by name
	Start      int
	Count      int
}

// Schedules returns a page of the schedules of a storage, and how many there are.
func (c *Control) Schedules(ctx context.Context, storage ledger.ID, q ScheduleQuery) (list []ScheduleView, total int, err error) {
	err = c.do(ctx, act{action: "schedule.list", target: storage.String()}, func(ctx context.Context, who account.Caller) error {
		all, err := c.schedulesOf(ctx, who.Tenant, storage)
		if err != nil {
			return err
		}
		for _, v := range all {
			if has(v.Name, q.Name) && has(v.ByName, q.User) && (q.Period == nil || v.Unit == *q.Period) {
				list = append(list, v)
			}
		}
		if q.Desc {
			slices.Reverse(list)
		}
		total = len(list)
		from := min(q.Start, total)
		list = list[from:min(total, from+min(q.Count, total))]
		return nil
	})
	return list, total, err
}

func has(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// schedulesOf are the schedules of a storage by name: fault.NotFound if there is
// no such storage.
func (c *Control) schedulesOf(ctx context.Context, tenant int64, storage ledger.ID) ([]ScheduleView, error) {
	u, err := c.storageOf(ctx, tenant, storage)
	if err != nil {
		return nil, err
	}
	nouns, err := c.Store.Nouns(ctx, tenant, ledger.Schedule)
	if err != nil {
		return nil, err
	}
	var list []ScheduleView
	for _, n := range nouns {
		if n.Parent != storage {
			continue
		}
		body, err := decode[Schedule](n)
		if err != nil {
			return nil, err
		}
		list = append(list, ScheduleView{Noun: n, Schedule: body, Storage: storage, StorageName: strings.TrimPrefix(u.Name, UnitName(tenant, ""))})
	}
	return list, nil
}

// NextSchedule returns the schedule of a storage that runs next: fault.NotFound if
// there is none.
func (c *Control) NextSchedule(ctx context.Context, storage ledger.ID) (ScheduleView, error) {
	return get(ctx, c, act{action: "schedule.list", target: storage.String()}, func(ctx context.Context, who account.Caller) (v ScheduleView, err error) {
		list, err := c.schedulesOf(ctx, who.Tenant, storage)
		list = slices.DeleteFunc(list, func(v ScheduleView) bool { return v.Disabled })
		if err == nil && len(list) == 0 {
			err = fault.New(fault.NotFound, "control", "schedule", nil)
		}
		if err != nil {
			return v, err
		}
		return slices.MinFunc(list, func(a, b ScheduleView) int { return a.Next.Compare(b.Next) }), nil
	})
}

// AddSchedule has a storage scanned again and again, counted from s.Start, which
// is now if it is zero. fault.Exists if the name is taken.
func (c *Control) AddSchedule(ctx context.Context, storage ledger.ID, name string, s Schedule, disabled bool) (ledger.ID, error) {
	return get(ctx, c, act{action: "schedule.add", target: name, detail: storage.String()}, func(ctx context.Context, who account.Caller) (id ledger.ID, err error) {
		if _, err := c.storageOf(ctx, who.Tenant, storage); err != nil {
			return id, err
		}
		n := ledger.Noun{Tenant: who.Tenant, Kind: ledger.Schedule, Parent: storage, Disabled: disabled}
		s.By, s.ByName = who.ID, who.Name
		if err := c.fillSchedule(ctx, &n, name, s, time.Now()); err != nil {
			return id, err
		}
		n, err = c.Store.AddNoun(ctx, n)
		return n.ID, err
	})
}

// fillSchedule checks a schedule and writes it, with its next run, into n.
func (c *Control) fillSchedule(ctx context.Context, n *ledger.Noun, name string, s Schedule, now time.Time) (err error) {
	const op = "control.Schedule"
	if n.Name, err = named(op, name, maxName); err != nil {
		return err
	}
	if s.Start.IsZero() {
		s.Start = now.UTC().Truncate(time.Second)
	}
	if err := s.check(); err != nil {
		return err
	}
	if s.Priority < 0 || s.Priority > maxPriority {
		return fault.New(fault.Invalid, op, "", fmt.Errorf("the priority is 0 to %d", maxPriority))
	}
	if s.Folder, err = cleanFolder(s.Folder); err != nil {
		return err
	}
	if _, err := c.flowName(ctx, n.Tenant, s.Workflow); err != nil {
		return err
	}
	s.Next = s.next(now)
	return encode(n, s)
}

// SetSchedule changes a schedule of a storage; change gets what there is.
func (c *Control) SetSchedule(ctx context.Context, storage, id ledger.ID, change func(name *string, s *Schedule, disabled *bool)) error {
	return c.do(ctx, act{action: "schedule.set", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.Store.Noun(ctx, who.Tenant, ledger.Schedule, id)
		if err == nil && n.Parent != storage {
			err = fault.New(fault.NotFound, "control", "schedule", nil)
		}
		if err != nil {
			return err
		}
		s, err := decode[Schedule](n)
		if err != nil {
			return err
		}
		name := n.Name
		change(&name, &s, &n.Disabled)
		if err := c.fillSchedule(ctx, &n, name, s, time.Now()); err != nil {
			return err
		}
		_, err = c.Store.SetNoun(ctx, n)
		return err
	})
}

// RemoveSchedules removes schedules and says how many there were of those named.
func (c *Control) RemoveSchedules(ctx context.Context, ids []ledger.ID) (removed int, err error) {
	return get(ctx, c, act{action: "schedule.remove", detail: fmt.Sprintf("%d schedules", len(ids))}, func(ctx context.Context, who account.Caller) (n int, err error) {
		if len(ids) == 0 {
			return 0, fault.New(fault.Invalid, "control.RemoveSchedules", "", errors.New("the ids are needed"))
		}
		for _, id := range ids {
			switch err := c.Store.DeleteNoun(ctx, who.Tenant, ledger.Schedule, id); {
			case err == nil:
				n++
			case !fault.Is(err, fault.NotFound):
				return n, err
			}
		}
		if n == 0 {
			return 0, fault.New(fault.NotFound, "control", "schedule", nil)
		}
		return n, nil
	})
}

// RunSchedules begins the scans that are due at now, each once however many nodes
// do so: a run is claimed by moving the schedule on. Of runs that were missed one
// is made up for. It returns when the next is due, zero for never.
func (c *Control) RunSchedules(ctx context.Context, now time.Time) (next time.Time, err error) {
	nouns, err := c.Store.Nouns(ctx, 0, ledger.Schedule)
	if err != nil {
		return next, err
	}
	var errs []error
	for _, n := range nouns {
		s, err := decode[Schedule](n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if n.Disabled && s.Due == (ledger.ID{}) {
			continue
		}
		if n, s, err = c.runSchedule(ctx, n, s, now); err != nil && !fault.Is(err, fault.Changed, fault.NotFound) { // another node's, or it was removed
			errs = append(errs, fmt.Errorf("schedule %s: %w", n.Name, err))
		}
		if next.IsZero() || s.Next.Before(next) {
			next = s.Next
		}
	}
	return next, errors.Join(errs...)
}

func (c *Control) runSchedule(ctx context.Context, n ledger.Noun, s Schedule, now time.Time) (ledger.Noun, Schedule, error) {
	if s.Due == (ledger.ID{}) {
		if s.Next.After(now) {
			return n, s, nil
		}
		if missed := s.next(s.Next); !missed.After(now) {
			s.Why = "made up for the runs that were missed since " + s.Next.Format(time.RFC3339)
		}
		s.Due, s.Next = ledger.NewID(), s.next(now)
		if err := encode(&n, s); err != nil {
			return n, s, err
		}
		var err error
		if n, err = c.Store.SetNoun(ctx, n); err != nil {
			return n, s, err
		}
	}
	began, err := c.beginScheduled(ctx, n, s)
	if fault.Is(err, fault.Unavailable) || fault.Canceled(err) {
		return n, s, err // it stays claimed: the next look begins it
	}
	row := ledger.AuditRow{Tenant: n.Tenant, Who: "schedule", WhoID: n.ID, Type: ledger.SystemAction, Category: ledger.CategoryScan, Action: "scan.start", Target: n.Name, Detail: s.Why}
	if began { // which is so for one of those who look at once
		c.look()
		if err := c.Store.AddAudit(ctx, row); err != nil {
			return n, s, err
		}
	}
	if err == nil {
		s.LastScan = s.Due
	}
	s.Due, s.Why = ledger.ID{}, ""
	if eerr := encode(&n, s); eerr != nil {
		return n, s, eerr
	}
	set, serr := c.Store.SetNoun(ctx, n)
	if serr != nil || err == nil {
		return set, s, serr
	}
	row.Level, row.Detail = ledger.Warning, joinWords(row.Detail, "not started: "+err.Error())
	return set, s, c.Store.AddAudit(ctx, row)
}

// beginScheduled starts the scan of a claimed run; began is false if it was
// started before.
func (c *Control) beginScheduled(ctx context.Context, n ledger.Noun, s Schedule) (began bool, err error) {
	if _, err := c.Store.Scan(ctx, n.Tenant, s.Due); !fault.Is(err, fault.NotFound) {
		return false, err
	}
	var u connectors.Unit
	if u, err = c.storageOf(ctx, n.Tenant, n.Parent); err != nil {
		return false, err
	}
	scan, err := c.newScan(ctx, n.Tenant, u, ScanRequest{Workflow: s.Workflow, Name: n.Name, Folder: s.Folder, Priority: s.Priority})
	if err != nil {
		return false, err
	}
	scan.ID, scan.Type, scan.By, scan.ByName = s.Due, ledger.Scheduled, s.By, s.ByName
	if _, err = c.Store.StartScan(ctx, scan); fault.Is(err, fault.Exists) {
		if _, serr := c.Store.Scan(ctx, n.Tenant, s.Due); serr == nil {
			return false, nil // another node was quicker
		}
	}
	return err == nil, err
}
