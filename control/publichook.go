package control

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// hookSecrets are the fields of a storage's credentials that prove who calls the
// webhook without a user's token.
var hookSecrets = []string{"WebhookPrimaryKey", "WebhookSecondaryKey", "ClientState"}

// A Signed is a call as Box signs it
// (https://developer.box.com/guides/webhooks/v2/signatures-v2).
type Signed struct {
	Body               []byte
	Timestamp          string
	Version, Algorithm string
	Signatures         [2]string // primary and secondary
}

// signedFor is how far Box's timestamp may be from now.
const signedFor = 10 * time.Minute

// boxEvent is the payload of Box's webhooks V2.
type boxEvent struct {
	Trigger string `json:"trigger"`
	Source  struct {
		Type string `json:"type"`
		Name string `json:"name"`
		Path struct {
			Entries []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"entries"`
		} `json:"path_collection"`
	} `json:"source"`
}

// TellPublic takes an event from somebody who has no token: who knows the
// storage's unguessable id, and signs, where the storage has keys for that. A
// call that tells of no new file gives the zero id.
func (c *Control) TellPublic(ctx context.Context, storage ledger.ID, s Signed) (ledger.ID, error) {
	return get(ctx, c, act{action: "webhook.public", target: storage.String()}, func(ctx context.Context, _ account.Caller) (ledger.ID, error) {
		w, err := c.watched(ctx, 0, storage, ledger.ID{})
		if err == nil && w.unit.Managed { // it cannot have keys, and its id is no secret
			err = fault.New(fault.NotFound, "control.Webhook", "", errors.New("the storage takes no calls without a token"))
		}
		if err != nil {
			return ledger.ID{}, err
		}
		secrets, err := c.openFields(SealUnit, w.body.Given)
		if err != nil {
			return ledger.ID{}, err
		}
		if err := s.proven(secrets, time.Now()); err != nil {
			return ledger.ID{}, err
		}
		var e boxEvent
		if err := json.Unmarshal(s.Body, &e); err != nil || e.Trigger == "" {
			return ledger.ID{}, fault.New(fault.Invalid, "control.Webhook", "", errors.New("the body is no event of a Box webhook"))
		}
		if e.Source.Type != "file" || strings.Contains(e.Trigger, "DELETED") || strings.Contains(e.Trigger, "TRASHED") {
			return ledger.ID{}, nil
		}
		var path []string
		for _, f := range e.Source.Path.Entries {
			if f.ID != "0" { // "All Files", which holds everything
				path = append(path, f.Name)
			}
		}
		name, _ := json.Marshal(map[string]string{"name": strings.Join(append(path, e.Source.Name), "/")}) // strings cannot fail
		n, err := noticeOf(w.unit, string(name))
		if err != nil {
			return ledger.ID{}, err
		}
		return c.hear(ctx, w, n)
	})
}

// proven checks Box's signature by either key; without keys nothing is checked.
func (s Signed) proven(secrets fields, now time.Time) error {
	if !secrets.hasAny(hookSecrets[:2]) {
		return nil
	}
	refused := Unknown("control.Webhook", errors.New("the call is not signed by a key of this storage"))
	at, err := time.Parse(time.RFC3339, s.Timestamp)
	if err != nil || now.Sub(at).Abs() > signedFor || s.Version != "1" || s.Algorithm != "HmacSHA256" {
		return refused
	}
	for i, name := range hookSecrets[:2] {
		key := secrets.get(name)
		given, err := base64.StdEncoding.DecodeString(s.Signatures[i])
		if key == "" || err != nil {
			continue
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(s.Body)
		mac.Write([]byte(s.Timestamp))
		if hmac.Equal(mac.Sum(nil), given) {
			return nil
		}
	}
	return refused
}

// A GraphNotice is one change that Microsoft Graph tells of: not of which file.
type GraphNotice struct {
	Subscription string
	ClientState  string
}

// TellGraph has what changed looked for: Graph tells that something did, in a
// place that a scan watches. No notices are a handshake, which asks only whether
// the scan is there.
func (c *Control) TellGraph(ctx context.Context, storage, scan ledger.ID, notices []GraphNotice) error {
	return c.do(ctx, act{action: "webhook.public", target: storage.String()}, func(ctx context.Context, _ account.Caller) error {
		if scan == (ledger.ID{}) {
			return fault.New(fault.NotFound, "control.Webhook", "", errors.New("the scan could not be found"))
		}
		w, err := c.watched(ctx, 0, storage, scan)
		if err == nil && w.unit.Managed {
			err = fault.New(fault.NotFound, "control.Webhook", "", errors.New("the storage takes no calls without a token"))
		}
		if err != nil || len(notices) == 0 {
			return err
		}
		secrets, err := c.openFields(SealUnit, w.body.Given)
		if err != nil {
			return err
		}
		state := secrets.get(hookSecrets[2])
		for _, n := range notices {
			if state != "" && subtle.ConstantTimeCompare([]byte(state), []byte(n.ClientState)) != 1 {
				return Unknown("control.Webhook", errors.New("clientState is not that of the subscription"))
			}
		}
		return c.lookBelow(w.unit, w.scan.Partition)
	})
}

func (c *Control) lookBelow(u connectors.Unit, folder string) error {
	if folder != "" {
		folder = strings.TrimSuffix(folder, "/") + "/"
	}
	if c.Resweep == nil || !c.Resweep(u.ID, folder) {
		return &fault.Error{Op: "control.Webhook", Kind: fault.Unavailable, After: hearAgain, Err: errors.New("the storage is not served now")}
	}
	return nil
}
