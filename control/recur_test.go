package control

import (
	"testing"
	"time"
)

func TestRecurrence(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	start := at("2026-01-30 10:30") // a Friday
	for _, c := range []struct {
		name string
		r    Recurrence
		t    string
		want string
	}{
		{"the first is not the start", Recurrence{Unit: Hourly, Every: 1}, "2026-01-30 10:30", "2026-01-30 11:30"},
		{"before the start", Recurrence{Unit: Hourly, Every: 3}, "2025-12-01 00:00", "2026-01-30 13:30"},
		{"a run is not its own next", Recurrence{Unit: Hourly, Every: 3}, "2026-01-30 13:30", "2026-01-30 16:30"},
		{"after a pause", Recurrence{Unit: Hourly, Every: 3}, "2026-02-02 00:00", "2026-02-02 01:30"},
		{"daily", Recurrence{Unit: Daily, Every: 2}, "2026-02-01 10:30", "2026-02-03 10:30"},
		{"weekly, this week", Recurrence{Unit: Weekly, Every: 2, Weekday: time.Sunday}, "2026-01-30 10:30", "2026-02-01 10:30"},
		{"weekly, the second", Recurrence{Unit: Weekly, Every: 2, Weekday: time.Sunday}, "2026-02-01 10:30", "2026-02-15 10:30"},
		{"weekly, on the day", Recurrence{Unit: Weekly, Every: 1, Weekday: time.Friday}, "2026-01-30 10:30", "2026-02-06 10:30"},
		{"monthly, this month", Recurrence{Unit: Monthly, Every: 1, Day: 31}, "2026-01-30 10:30", "2026-01-31 10:30"},
		{"monthly, a short month", Recurrence{Unit: Monthly, Every: 1, Day: 31}, "2026-01-31 10:30", "2026-02-28 10:30"},
		{"monthly, the day is past", Recurrence{Unit: Monthly, Every: 3, Day: 1}, "2026-01-30 10:30", "2026-02-01 10:30"},
		{"monthly, the second", Recurrence{Unit: Monthly, Every: 3, Day: 1}, "2026-02-01 10:30", "2026-05-01 10:30"},
		{"monthly, years later", Recurrence{Unit: Monthly, Every: 3, Day: 1}, "2031-01-01 00:00", "2031-02-01 10:30"},
	} {
		c.r.Start = start
		if got := c.r.next(at(c.t)); !got.Equal(at(c.want)) {
			t.Errorf("%s: got %s, want %s", c.name, got.Format(time.RFC3339), c.want)
		}
	}
	for _, r := range []Recurrence{{Unit: 4, Every: 1}, {Unit: -1, Every: 1}, {Every: 0}, {Every: 1001}, {Unit: Weekly, Every: 1, Weekday: 7}, {Unit: Monthly, Every: 1}, {Unit: Monthly, Every: 1, Day: 32}} {
		if r.check() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}
