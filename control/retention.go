package control

import (
	"context"
	"time"
)

// Retention is how long a tenant keeps what, in days.
type Retention struct {
	AuditDays int     `json:"audit_days"`
	Reports   Keeping `json:"reports"`     // entries of Instant and Scheduled scans
	RealTime  Keeping `json:"rtp_history"` // entries of RealTime scans
}

// Keeping is a number of days, if it is switched on.
type Keeping struct {
	Enabled bool `json:"enabled"`
	Days    int  `json:"days"`
}

// MaxRetention is the longest retention in days.
const MaxRetention = 50000

// startRetention is what holds where nobody set anything.
var startRetention = Retention{AuditDays: 365, Reports: Keeping{Days: 90}, RealTime: Keeping{Days: 90}}

// Retention tells how long the caller's tenant keeps what.
func (c *Control) Retention(ctx context.Context) (Retention, error) {
	return getSetting(ctx, c, "retention.read", SettingRetention, startRetention)
}

// SetRetention sets it; nil leaves a part.
func (c *Control) SetRetention(ctx context.Context, audit *int, reports, realTime *Keeping) error {
	return enforceSetting(ctx, c, "retention.set", SettingRetention, startRetention, func(_ context.Context, r *Retention) error {
		set(&r.AuditDays, audit)
		set(&r.Reports, reports)
		set(&r.RealTime, realTime)
		for _, days := range []int{r.AuditDays, r.Reports.Days, r.RealTime.Days} {
			if days < 1 || days > MaxRetention {
				return invalid("retention", "1 to 50000 days")
			}
		}
		return nil
	})
}

// auditFrom is from when on a tenant's audit is shown. Rows are removed from the
// beginning of the one chain that all tenants share, so a tenant's own may be
// there for longer than it keeps them.
func (c *Control) auditFrom(ctx context.Context, tenant int64) (time.Time, error) {
	r, _, err := settingOr(ctx, c.Store, tenant, SettingRetention, startRetention)
	return daysAgo(time.Now(), r.AuditDays), err
}

func daysAgo(now time.Time, days int) time.Time { return now.AddDate(0, 0, -days) }
