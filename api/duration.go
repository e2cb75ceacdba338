package api

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// span is how the product writes a length of time: [days.]hours:minutes:seconds.
var span = regexp.MustCompile(`^(?:(\d{1,3})\.)?(\d{1,3}):([0-5]?\d)(?::([0-5]?\d)(?:\.(\d{1,9}))?)?$`)

// parseSpan reads a length of time: [days.]hours:minutes[:seconds], seconds, or
// as Go writes it (1m30s); "" is none.
func parseSpan(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	m := span.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New("want hours:minutes:seconds, or seconds")
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi("0" + m[i+1]) // digits
		d += time.Duration(n) * unit
	}
	return d, nil
}

// formatSpan writes hours:minutes:seconds; "" for none.
func formatSpan(d time.Duration) string {
	if d == 0 {
		return ""
	}
	s := int64(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// timeout is parseSpan with fault.Invalid.
func timeout(text string) (time.Duration, error) {
	d, err := parseSpan(text)
	if err != nil {
		return 0, fault.New(fault.Invalid, "api", "timeout", err)
	}
	return d, nil
}
