package store

import (
	"strings"
	"testing"
)

func FuzzPackVersion(f *testing.F) {
	etag := strings.Repeat("0123456789abcdef", 2)
	for _, v := range []string{"", "v1", etag, etag + "/5/7", etag + "-3", etag[1:], strings.ToUpper(etag), "\x00", "\x01", "\x01" + etag, "\x00\x01", strings.Repeat("\x00", 40)} {
		f.Add(v, etag)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		pa, pb := packVersion(a), packVersion(b)
		if got := unpackVersion(pa); got != a {
			t.Errorf("got %q, want %q", got, a)
		}
		if (string(pa) == string(pb)) != (a == b) || (len(pa) == 0) != (a == "") {
			t.Errorf("%q and %q are packed as %q and %q", a, b, pa, pb)
		}
	})
}
