package control

import (
	"context"
	"fmt"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// RetentionStore removes what is kept no longer, up to n rows at a time.
type RetentionStore interface {
	PurgeEntries(ctx context.Context, tenant int64, realTime bool, before time.Time, n int) (int64, error)
	PurgeNotices(ctx context.Context, before time.Time, n int) (int64, error)
	PurgeLetters(ctx context.Context, before time.Time, n int) (int64, error)
	PurgeLogins(ctx context.Context, n int) (int64, error)
	CutAudit(ctx context.Context, before time.Time, n int) (int64, error)
}

// What is removed without anybody setting it: notices that were given up, and
// messages that made no sense.
const keepFailures = 30 // days

// purgeBatch is how many rows go at once: few enough that whoever else writes
// waits no longer than for a commit.
const purgeBatch = 500

// Retain removes what is kept no longer, of the tenants given, and returns how
// much. Objects' verdicts stay in the inventory, and entries of what is in
// quarantine stay.
func (c *Control) Retain(ctx context.Context, tenants []int64, now time.Time) (removed int64, err error) {
	days, err := c.auditDays(ctx, tenants)
	if err != nil {
		return 0, err
	}
	jobs := []func() (int64, error){
		func() (int64, error) { return c.Store.PurgeNotices(ctx, daysAgo(now, keepFailures), purgeBatch) },
		func() (int64, error) { return c.Store.PurgeLetters(ctx, daysAgo(now, keepFailures), purgeBatch) },
		func() (int64, error) { return c.Store.PurgeLogins(ctx, purgeBatch) },
	}
	for _, tenant := range tenants {
		r, _, err := settingOr(ctx, c.Store, tenant, SettingRetention, startRetention)
		if err != nil {
			return 0, err
		}
		for realTime, p := range map[bool]Keeping{false: r.Reports, true: r.RealTime} {
			if p.Enabled {
				jobs = append(jobs, func() (int64, error) {
					return c.Store.PurgeEntries(ctx, tenant, realTime, daysAgo(now, p.Days), purgeBatch)
				})
			}
		}
	}
	for _, job := range jobs {
		n, err := drain(ctx, job)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	cut, err := drain(ctx, func() (int64, error) { return c.Store.CutAudit(ctx, daysAgo(now, days), purgeBatch) })
	if cut > 0 && err == nil {
		err = c.Store.AddAudit(ctx, ledger.AuditRow{Type: ledger.SystemAction, Category: ledger.CategorySetting, Action: "retention.audit",
			Detail: fmt.Sprintf("%d rows older than %d days were removed", cut, days)})
	}
	return removed + cut, err
}

// auditDays is the longest that any tenant keeps the audit: it is one chain.
func (c *Control) auditDays(ctx context.Context, tenants []int64) (days int, err error) {
	for _, tenant := range tenants {
		r, _, err := settingOr(ctx, c.Store, tenant, SettingRetention, startRetention)
		if err != nil {
			return 0, err
		}
		days = max(days, r.AuditDays)
	}
	return days, nil
}

// drain does a job until it has nothing left to do, with a breath between.
func drain(ctx context.Context, job func() (int64, error)) (total int64, err error) {
	for ctx.Err() == nil {
		n, err := job()
		total += n
		if err != nil || n < purgeBatch {
			return total, err
		}
		t := time.NewTimer(10 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	return total, ctx.Err()
}
