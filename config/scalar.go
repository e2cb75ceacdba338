package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// untyped is a value from a variable or a flag: it is what it is wanted to be.
const untyped shape = 255

// A refusal says what is wrong with a value and what to write.
type refusal struct{ message, hint string }

func (r *refusal) Error() string {
	if r.hint == "" {
		return r.message
	}
	return r.message + "; " + r.hint
}

func refuse(hint, format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), hint}
}

// setScalar reads n into v as v's type asks, within the bounds of f.
func setScalar(v reflect.Value, n *node, f field) error {
	wanted := func(what, hint string) error {
		if n.shape == untyped || n.shape == text {
			return refuse(hint, "%s is wanted, %s is not one", what, quote(n.text))
		}
		return refuse(hint, "%s is wanted, not %s", what, n.shape)
	}
	switch {
	case v.Type() == durationType:
		d, err := ParseDuration(n.text)
		if n.shape == number && n.text != "0" {
			return refuse("write its unit: "+n.text+"s", "a duration is wanted, not a bare number")
		}
		if err != nil {
			return wanted("a duration", "like 500ms, 30s, 10m, 24h or 7d")
		}
		v.SetInt(int64(d))
	case v.Type() == timeType:
		t, err := parseTime(n.text)
		if err != nil || n.shape == boolean {
			return wanted("a date", "like 2026-01-31 or 2026-01-31T08:00:00Z")
		}
		v.Set(reflect.ValueOf(t))
	case v.Type() == secretType:
		s, err := ParseSecret(n.text) // a number or true as it stands: path_style: true
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(s))
	case v.Kind() == reflect.Int64: // by convention a number of bytes
		size, err := ParseSize(n.text)
		if err != nil || n.shape == boolean {
			return wanted("a size in bytes", "like 4096, 64KiB, 256MiB or 10GiB")
		}
		v.SetInt(size)
	case v.Kind() == reflect.Int:
		i, err := strconv.Atoi(n.text)
		if err != nil || n.shape == text || n.shape == boolean {
			return wanted("a whole number", "")
		}
		v.SetInt(int64(i))
	case v.Kind() == reflect.Float64:
		x, err := strconv.ParseFloat(n.text, 64)
		if err != nil || n.shape == text || n.shape == boolean || math.IsNaN(x) || math.IsInf(x, 0) {
			return wanted("a number", "")
		}
		v.SetFloat(x)
	case v.Kind() == reflect.Bool:
		b, err := parseBool(n.text)
		if err != nil || n.shape != boolean && n.shape != untyped {
			return wanted("true or false", "")
		}
		v.SetBool(b)
	case v.Kind() == reflect.String:
		if n.shape != text && n.shape != untyped {
			return refuse("put it in quotes", "a text is wanted, not %s", n.shape)
		}
		if len(f.enum) > 0 && !contains(f.enum, n.text) {
			return refuse(suggest(n.text, f.enum), "%s is not one of %s", quote(n.text), strings.Join(f.enum, ", "))
		}
		v.SetString(n.text)
	default:
		return fmt.Errorf("config: no way to read a %s", v.Type())
	}
	return within(v, f)
}

// within compares a number with the bounds of its field.
func within(v reflect.Value, f field) error {
	for _, bound := range []struct {
		text, what string
		sign       int
	}{{f.min, "least", -1}, {f.max, "most", 1}} {
		if bound.text == "" {
			continue
		}
		b := reflect.New(v.Type()).Elem()
		if err := setScalar(b, &node{shape: untyped, text: bound.text}, field{}); err != nil {
			return err
		}
		if compare(v, b)*bound.sign > 0 {
			return refuse("", "at %s %s is allowed", bound.what, bound.text)
		}
	}
	return nil
}

func compare(a, b reflect.Value) int {
	var x, y float64
	if a.CanInt() {
		x, y = float64(a.Int()), float64(b.Int())
	} else {
		x, y = a.Float(), b.Float()
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("neither true nor false")
}

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

// ParseDuration reads what time.ParseDuration reads and whole or broken days
// ("7d", "1d12h"). Negative durations are refused.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "", s
	}
	var total time.Duration
	if ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("config: %q is not a duration", s)
		}
		total = time.Duration(n) * 24 * time.Hour
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("config: %q is not a duration", s)
		}
		if total += d; total < d {
			return 0, fmt.Errorf("config: %q is too long", s)
		}
	} else if !ok {
		return 0, errors.New("config: an empty duration")
	}
	return total, nil
}

// FormatDuration writes what ParseDuration reads, in the shortest form.
func FormatDuration(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// sizes are the units of a size. K, M and G alone are refused: people disagree
// on what they mean.
var sizes = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// ParseSize reads a number of bytes: "4096", "64KiB", "10MB". It is not negative.
func ParseSize(s string) (int64, error) {
	for _, unit := range sizes {
		digits, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil {
			break
		}
		if n > uint64(math.MaxInt64/unit.factor) {
			return 0, fmt.Errorf("config: the size %q is too large", s)
		}
		return int64(n) * unit.factor, nil
	}
	return 0, fmt.Errorf("config: %q is not a size", s)
}

// FormatSize writes what ParseSize reads, with the largest unit that is exact.
func FormatSize(n int64) string {
	for _, i := range []int{3, 2, 1, 0} {
		if u := sizes[i]; n >= u.factor && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
