package s3

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A version is what a token means. With an id it is that version, exactly.
// Without, it is the content whose ETag, size and time these are: equal ETags
// alone may be a collision, or the same bytes written twice.
type version struct {
	id   string // "" for objects that have none, and for "null"
	etag string // as the header has it, in quotes
	size int64  // bytes
	mod  int64  // seconds since 1970: all that a header tells
}

const nullID = "null"

// makeVersion builds a version from what a reply says.
func makeVersion(id, etag *string, size int64, mod *time.Time) version {
	if id != nil && *id != "" && *id != nullID {
		return version{id: *id}
	}
	v := version{size: size}
	if etag != nil {
		v.etag = quoteETag(*etag)
	}
	if mod != nil {
		v.mod = mod.Unix()
	}
	return v
}

// quoteETag returns an ETag as a header has it. Some servers leave the quotes
// out, in listings or everywhere.
func quoteETag(e string) string {
	if e == "" || strings.HasPrefix(e, `W/"`) || strings.HasPrefix(e, `"`) {
		return e
	}
	return `"` + e + `"`
}

// String returns the token: the version id, or etag/size/time. A '/' tells them
// apart; an id that has one is escaped.
func (v version) String() string {
	if v.id != "" {
		if strings.ContainsAny(v.id, "/%") {
			return url.PathEscape(v.id)
		}
		return v.id
	}
	etag := v.etag
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		etag = etag[1 : len(etag)-1]
	}
	b := make([]byte, 0, len(etag)+32)
	b = append(b, etag...)
	b = append(b, '/')
	b = strconv.AppendInt(b, v.size, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, v.mod, 10))
}

// parseVersion reads what String writes; "" is no version in particular.
func parseVersion(op, key, token string) (version, error) {
	if !strings.Contains(token, "/") {
		id, err := url.PathUnescape(token)
		if err != nil {
			return version{}, fault.New(fault.Changed, op, key, err) // no version of ours
		}
		return version{id: id}, nil
	}
	rest, mod, _ := cutLast(token, '/')
	etag, size, ok := cutLast(rest, '/')
	v := version{etag: quoteETag(etag)}
	var err1, err2 error
	v.size, err1 = strconv.ParseInt(size, 10, 64)
	v.mod, err2 = strconv.ParseInt(mod, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return version{}, fault.New(fault.Changed, op, key, errBadToken)
	}
	return v, nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// any reports whether v names no version in particular.
func (v version) any() bool { return v == version{} }
