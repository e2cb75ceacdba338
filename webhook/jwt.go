package webhook

import (
	"context"
	"crypto"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// skew is how far an issuer's clock may be ahead of ours.
const skew = 5 * time.Minute

// tokens verifies the JSON Web Tokens of one issuer.
type tokens struct {
	world
	keys     *keys
	issuers  []string // the names the issuer goes by
	audience string
}

// claims are what a token says beside what tokens checks itself.
type claims struct {
	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
	Tenant   string `json:"tid"`
	AppID    string `json:"appid"` // Entra, version 1
	Party    string `json:"azp"`   // version 2
}

// verify checks token: RS256 by the issuer's key, issuer, audience, expiry, and
// that it was not issued in the future.
func (t *tokens) verify(ctx context.Context, token string) (claims, error) {
	var c claims
	if token == "" {
		return c, refuse(unproven, "no token")
	}
	id, err := keyID(token)
	if err != nil {
		return c, err
	}
	key, err := t.keys.find(ctx, id)
	if err != nil {
		return c, err
	}
	// The issuer is compared below: one may go by several names.
	verifier := oidc.NewVerifier("", &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key}}, &oidc.Config{
		ClientID: t.audience, SupportedSigningAlgs: []string{oidc.RS256}, SkipIssuerCheck: true, Now: t.now})
	verified, err := verifier.Verify(ctx, token)
	if err != nil {
		return c, &refusal{cause: unproven, err: err}
	}
	if !slices.Contains(t.issuers, verified.Issuer) {
		return c, refuse(unproven, "a token of another issuer: "+printable(verified.Issuer, 200))
	}
	if verified.IssuedAt.After(t.now().Add(skew)) {
		return c, refuse(unproven, "a token of the future")
	}
	if err := verified.Claims(&c); err != nil {
		return c, refuse(unproven, "claims that make no sense")
	}
	return c, nil
}
