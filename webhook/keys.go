package webhook

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How long an issuer's keys are used: after keysFresh they are fetched again,
// and what is not in the new set is trusted no more; while that fails the old
// ones serve until keysStale. A key that nobody knows is asked for once in
// keysPause, however many tokens name it.
const (
	keysFresh = time.Hour
	keysStale = 24 * time.Hour
	keysPause = 30 * time.Second
	keysMax   = 64
)

// keys are the public keys of one issuer, by key id.
type keys struct {
	world
	url string

	fetching gate
	tried    time.Time // the last fetch, under fetching

	mu      sync.Mutex
	set     map[string]*rsa.PublicKey
	fetched time.Time
}

func newKeys(w world, url string) *keys {
	return &keys{world: w, url: url, fetching: newGate()}
}

// find returns the key id. It is a refusal if the issuer has none of that id.
func (k *keys) find(ctx context.Context, id string) (*rsa.PublicKey, error) {
	key, age := k.have(id)
	if key != nil && age < keysFresh {
		return key, nil
	}
	err := k.renew(ctx)
	if again, age := k.have(id); again != nil && age < keysStale {
		return again, nil
	}
	if err != nil {
		return nil, &refusal{cause: ours, err: err}
	}
	return nil, refuse(unproven, "the issuer has no such key")
}

func (k *keys) have(id string) (*rsa.PublicKey, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set[id], k.now().Sub(k.fetched)
}

// renew fetches the set unless that was tried a moment ago. Its error is that
// there is no set to go by.
func (k *keys) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	if err := k.fetching.enter(ctx); err != nil {
		return err
	}
	defer k.fetching.leave()
	if !k.tried.IsZero() && k.now().Sub(k.tried) < keysPause {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.tried.After(k.fetched) {
			return refuse(ours, "the issuer's keys could not be fetched")
		}
		return nil
	}
	k.tried = k.now()
	data, err := k.fetch(ctx, k.url)
	if err != nil {
		return err
	}
	set, err := readKeys(data)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set, k.fetched = set, k.tried
	return nil
}

// readKeys reads a JSON Web Key Set and keeps what RS256 can use.
func readKeys(data []byte) (map[string]*rsa.PublicKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	set := make(map[string]*rsa.PublicKey)
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil {
			continue // of a kind that nobody here can use
		}
		public, ok := key.Key.(*rsa.PublicKey)
		if !ok || key.KeyID == "" || key.Use != "" && key.Use != "sig" || public.N.BitLen() < 2048 || len(set) == keysMax {
			continue
		}
		set[key.KeyID] = public
	}
	if len(set) == 0 {
		return nil, refuse(ours, "the issuer's key set has no key of use")
	}
	return set, nil
}

// keyID returns the id of the key that token says it is signed by. Only the
// compact form of RS256 will do; what else the header offers, keys of the
// caller's own among them, is not looked at.
func keyID(token string) (string, error) {
	if len(token) > 16<<10 || strings.Count(token, ".") != 2 || strings.ContainsAny(token, "{} ") {
		return "", refuse(unproven, "the token is not a compact JWT")
	}
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(signed.Signatures) != 1 {
		return "", refuse(unproven, "the token is not a JWT signed by RS256")
	}
	id := signed.Signatures[0].Header.KeyID
	if id == "" {
		return "", refuse(unproven, "the token names no key")
	}
	return id, nil
}
