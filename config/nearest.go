package config

import "strings"

// nearest returns the name that was most likely meant by got, or "" if none is
// near: at most a third of its letters differ, two for short words.
func nearest(got string, names []string) string {
	best, limit := "", max(2, len(got)/3)
	low := strings.ToLower(got)
	for _, name := range names {
		d := distance(low, strings.ToLower(name))
		if d < limit || d == limit && best == "" && d < len(name) {
			best, limit = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove, replace or swap with
// their neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

// suggest words the nearest name as a hint, or lists the names if they are few.
func suggest(got string, names []string) string {
	if near := nearest(got, names); near != "" {
		return "did you mean " + quote(near) + "?"
	}
	if len(names) > 0 && len(names) <= 12 {
		return "known are " + strings.Join(names, ", ")
	}
	return ""
}
