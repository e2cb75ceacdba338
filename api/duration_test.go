package api

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90": 90 * time.Second, "1m30s": 90 * time.Second, "00:01:30": 90 * time.Second, "0:2": 2 * time.Minute,
		"1.02:03:04": 26*time.Hour + 3*time.Minute + 4*time.Second, "00:00:05.5000000": 5 * time.Second} {
		if d, err := parseSpan(text); err != nil || d != want {
			t.Errorf("%q: %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"-1", "-1s", "soon", "1:60", "1:2:3:4", "99999999999", ":", "1:2:"} {
		if d, err := parseSpan(text); err == nil {
			t.Errorf("%q is %s", text, d)
		}
	}
	if s := formatSpan(26*time.Hour + 61*time.Second); s != "26:01:01" {
		t.Error(s)
	}
}
