package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// bearer returns the token of "Authorization: Bearer TOKEN", or "".
func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// oneOf reports whether given is one of secrets, in a time that tells nothing
// of them: their hashes are compared, all of them.
func oneOf(secrets []string, given string) bool {
	g := sha256.Sum256([]byte(given))
	found := 0
	for _, s := range secrets {
		h := sha256.Sum256([]byte(s))
		found |= subtle.ConstantTimeCompare(h[:], g[:])
	}
	return found == 1 && given != ""
}
