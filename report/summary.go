package report

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
)

// A summary is what the files came to. It is bounded by MaxFiles.
type summary struct {
	files     int
	bytes     int64
	failed    int
	classes   map[string]int
	decisions map[string]int
	reasons   map[string]int
	threats   map[string]int
	times     []moment
}

// A moment is when a file was done, and whether it was harmful.
type moment struct {
	at      time.Time
	harmful bool
}

func (s *summary) add(f *File) {
	if s.files++; s.files == 1 {
		s.classes, s.decisions, s.reasons, s.threats = map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	}
	s.bytes += max(f.Size, 0)
	if f.Outcome == ledger.OutcomeFailed {
		s.failed++
	}
	s.classes[class(f)]++
	decision := string(f.Decision)
	if decision == "" {
		decision = "none"
	}
	s.decisions[decision]++
	if f.Reason != "" {
		s.reasons[spaced(string(f.Reason))]++
	}
	if f.Threat != "" {
		s.threats[f.Threat]++
	}
	if !f.Time.IsZero() {
		s.times = append(s.times, moment{f.Time, f.Verdict == "infected" || f.Verdict == "suspicious"})
	}
}

// A slice is a part of a chart.
type slice struct {
	name  string
	n     int
	color color
	rest  bool // it is several that are small
}

// slicesOf are counts as parts of a chart, the largest first, each in its colour.
func slicesOf(counts map[string]int) []slice {
	var list []slice
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, slice{name: name, n: counts[name], color: colorOf(name)})
	}
	slices.SortStableFunc(list, func(a, b slice) int { return cmp.Compare(b.n, a.n) })
	return list
}

// A bucket is the files of a stretch of time.
type bucket struct {
	from         time.Time
	all, harmful int
}

// maxBuckets is how many a timeline has at most.
const maxBuckets = 72

// timeline puts the files into stretches of a minute, an hour, a day or longer,
// and names the stretch.
func (s *summary) timeline() (unit string, list []bucket) {
	if len(s.times) == 0 {
		return "hour", nil
	}
	from, to := s.times[0].at, s.times[0].at
	for _, m := range s.times {
		if m.at.Before(from) {
			from = m.at
		}
		if m.at.After(to) {
			to = m.at
		}
	}
	const day = 24 * time.Hour
	step, unit := time.Minute, "minute"
	for _, next := range []struct {
		step time.Duration
		unit string
	}{{time.Hour, "hour"}, {day, "day"}, {7 * day, "week"}, {30 * day, "30 days"}, {365 * day, "year"}} {
		if to.Sub(from) < step*(maxBuckets-1) {
			break
		}
		step, unit = next.step, next.unit
	}
	begin := from.UTC().Truncate(step)
	list = make([]bucket, min(int(to.Sub(begin)/step)+1, maxBuckets))
	for i := range list {
		list[i].from = begin.Add(time.Duration(i) * step)
	}
	for _, m := range s.times {
		b := &list[min(int(m.at.Sub(begin)/step), len(list)-1)]
		b.all++
		if m.harmful {
			b.harmful++
		}
	}
	return unit, list
}
