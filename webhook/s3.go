package webhook

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/landwaiter/landwaiter/events"
)

// s3 is a server that posts S3-shaped records by itself: MinIO's webhook target
// and what follows it. It proves itself by a shared token.
type s3 struct{ tokens []string }

func newS3(v *values) *s3 {
	k := &s3{tokens: v.secrets("token")}
	if len(k.tokens) == 0 {
		v.wrong("token", errors.New("required: what the server sends as Authorization: Bearer TOKEN"))
	}
	return k
}

func (k *s3) traits() traits { return traits{types: []string{"application/json"}} }

func (k *s3) admit(r *http.Request) (*reply, error) {
	if !oneOf(k.tokens, bearer(r)) {
		return nil, refuse(unproven, "the token is missing or wrong")
	}
	return nil, nil
}

func (k *s3) read(_ *http.Request, body []byte) (message, error) {
	notices, err := events.ParseS3(body)
	m := message{notices: notices, poison: err}
	if sequenced.Match(body) { // no two writes of a key have the same: this body comes once
		m.id, m.once = fmt.Sprintf("%x", sha256.Sum256(body)), true
	}
	return m, nil
}

var sequenced = regexp.MustCompile(`"sequencer"\s*:\s*"[0-9A-Fa-f]{4,64}"`)
