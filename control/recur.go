package control

import (
	"errors"
	"fmt"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A Recurrence is when a schedule runs: every so many hours, days, weeks or
// months, counted from Start, in UTC.
type Recurrence struct {
	Unit    Period       `json:"unit"`
	Every   int          `json:"every"`
	Weekday time.Weekday `json:"weekday,omitempty"` // of Weekly
	Day     int          `json:"day,omitempty"`     // of Monthly; where a month is shorter, its last
	Start   time.Time    `json:"start"`
}

// A Period is what a Recurrence counts in.
type Period int

// The periods.
const (
	Hourly Period = iota
	Daily
	Weekly
	Monthly
)

var periodNames = [...]string{"hourly", "daily", "weekly", "monthly"}

// String returns the period's name.
func (p Period) String() string {
	if p < 0 || int(p) >= len(periodNames) {
		return "never"
	}
	return periodNames[p]
}

// maxEvery bounds Recurrence.Every.
const maxEvery = 1000

// check refuses what never comes or makes no sense.
func (r Recurrence) check() error {
	switch {
	case r.Unit < Hourly || r.Unit > Monthly:
		return fault.New(fault.Invalid, "control.Schedule", "", errors.New("hourly, daily, weekly or monthly"))
	case r.Every < 1 || r.Every > maxEvery:
		return fault.New(fault.Invalid, "control.Schedule", "", fmt.Errorf("every 1 to %d", maxEvery))
	case r.Unit == Weekly && (r.Weekday < time.Sunday || r.Weekday > time.Saturday):
		return fault.New(fault.Invalid, "control.Schedule", "", errors.New("the day of the week is 0 (Sunday) to 6"))
	case r.Unit == Monthly && (r.Day < 1 || r.Day > 31):
		return fault.New(fault.Invalid, "control.Schedule", "", errors.New("the day of the month is 1 to 31"))
	}
	return nil
}

// next is the first run after t, and after Start.
func (r Recurrence) next(t time.Time) time.Time {
	start := r.Start.UTC()
	t = t.UTC()
	if t.Before(start) {
		t = start
	}
	switch r.Unit {
	case Hourly:
		return after(start, time.Duration(r.Every)*time.Hour, t)
	case Daily:
		return after(start, time.Duration(r.Every)*24*time.Hour, t)
	case Weekly:
		week := time.Duration(r.Every) * 7 * 24 * time.Hour
		first := start.AddDate(0, 0, (int(r.Weekday)-int(start.Weekday())+7)%7)
		if first.After(t) {
			return first
		}
		return after(first, week, t)
	}
	return r.month(start, t)
}

// after is the first of start, start+step, start+2 steps … after t, but not start.
func after(start time.Time, step time.Duration, t time.Time) time.Time {
	return start.Add((t.Sub(start)/step + 1) * step)
}

// month is next for months: the day in start's own month counts if it is to come.
func (r Recurrence) month(start, t time.Time) time.Time {
	at := func(n int) time.Time {
		first := time.Date(start.Year(), start.Month()+time.Month(n), 1, start.Hour(), start.Minute(), start.Second(), start.Nanosecond(), time.UTC)
		last := first.AddDate(0, 1, -1).Day()
		return first.AddDate(0, 0, min(r.Day, last)-1)
	}
	offset := 0
	if !at(0).After(start) {
		offset = 1
	}
	months := (t.Year()-start.Year())*12 + int(t.Month()) - int(start.Month())
	n := max(0, (months-offset)/r.Every-1)
	for {
		if next := at(offset + n*r.Every); next.After(t) {
			return next
		}
		n++
	}
}
