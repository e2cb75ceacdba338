package account

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/landwaiter/landwaiter/fault"
)

// TokenLife is how long an access token and a refresh token are good for.
const TokenLife = time.Hour

// The names in our tokens.
const (
	issuer   = "landwaiter"
	audience = "landwaiter-api"
)

// Tokens signs and reads access tokens: JWT with HS256, nothing else.
type Tokens struct {
	key    []byte
	parser *jwt.Parser
	now    func() time.Time
}

// NewTokens returns the Tokens of a key of 32 bytes or more.
func NewTokens(key []byte, now func() time.Time) *Tokens {
	if now == nil {
		now = time.Now
	}
	return &Tokens{key: key, now: now, parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(now), jwt.WithStrictDecoding())}
}

// maxToken bounds a token in bytes.
const maxToken = 4096

type claims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
}

// Issue returns an access token of a session, and when it expires.
func (t *Tokens) Issue(user, session uuid.UUID) (string, time.Time, error) {
	now := t.now().Truncate(time.Second)
	expires := now.Add(TokenLife)
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{Session: session.String(), RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: user.String(), ID: uuid.NewString(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires)}}).SignedString(t.key)
	if err != nil {
		return "", time.Time{}, fault.New(fault.Internal, "account.Issue", "", err)
	}
	return s, expires, nil
}

var errToken = errors.New("the token is not valid")

// Read returns whose session a token is of, or fault.Denied. The session may
// have ended since. With expired it may be past its time: for a refresh.
func (t *Tokens) Read(token string, expired bool) (user, session uuid.UUID, err error) {
	bad := fault.New(fault.Denied, "account", "", errToken)
	if len(token) > maxToken {
		return user, session, bad
	}
	var c claims
	_, perr := t.parser.ParseWithClaims(token, &c, func(tok *jwt.Token) (any, error) {
		if _, ok := tok.Header["crit"]; ok {
			return nil, errToken // it must be understood, and we know none (RFC 7515 4.1.11)
		}
		return t.key, nil
	})
	if perr != nil && !(expired && onlyExpired(perr)) {
		return user, session, bad
	}
	if user, err = uuid.Parse(c.Subject); err != nil {
		return user, session, bad
	}
	if session, err = uuid.Parse(c.Session); err != nil {
		return user, session, bad
	}
	return user, session, nil
}

// onlyExpired reports whether a token would be good but for its time.
func onlyExpired(err error) bool {
	if !errors.Is(err, jwt.ErrTokenExpired) {
		return false
	}
	for _, other := range []error{jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenInvalidAudience,
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet, jwt.ErrTokenRequiredClaimMissing} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// NewSecret returns a random token for somebody to keep, and the hash that we keep.
func NewSecret(prefix string) (token string, sum []byte) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	token = prefix + base64.RawURLEncoding.EncodeToString(b)
	return token, SumOf(token)
}

// SumOf is the hash by which a random token is found again. The token has 256
// bits: no salt or stretching is needed.
func SumOf(token string) []byte {
	s := sha256.Sum256([]byte(token))
	return s[:]
}

// Bearer takes the token out of an Authorization header, "" if it has none.
func Bearer(header string) string {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
