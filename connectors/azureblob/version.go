package azureblob

import (
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// A version is what a token means: that version, exactly, or the content that
// has this ETag. The service gives each write an ETag of its own.
type version struct {
	id   string // "" for blobs that have none
	etag string // without quotes; "" if id says it
}

func makeVersion(id *string, etag *azcore.ETag) version {
	if s := str(id); s != "" {
		return version{id: s}
	}
	return version{etag: bare(etag)}
}

// String returns the token. A version id is a time and an ETag is not, which
// tells them apart.
func (v version) String() string { return v.id + v.etag }

// parseVersion reads what String writes; "" is no version in particular.
func parseVersion(token string) version {
	if isTime(token) {
		return version{id: token}
	}
	return version{etag: token}
}

// any reports whether v names no version in particular.
func (v version) any() bool { return v == version{} }

// isTime reports whether s looks like a version id: "2026-11-28T15:56:26.1234567Z".
func isTime(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil
}

// Hint returns the token that a blob has whose event names version (an ETag or a
// version id), or "" if that cannot be known. In an account that keeps versions
// an ETag is no token: then the hint matches nothing, and the blob is looked at.
func Hint(version string) string {
	version = strings.Trim(version, `"`)
	if isTime(version) || strings.HasPrefix(version, "0x") {
		return version
	}
	return ""
}

// bare returns an ETag without the quotes that headers have and listings lack.
func bare(e *azcore.ETag) string {
	if e == nil {
		return ""
	}
	return strings.Trim(string(*e), `"`)
}

// match returns an ETag as a precondition has it.
func match(etag string) *azcore.ETag {
	e := azcore.ETag(`"` + etag + `"`)
	return &e
}

func str[T ~string](p *T) string {
	if p == nil {
		return ""
	}
	return string(*p)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func ptr[T any](v T) *T { return &v }
