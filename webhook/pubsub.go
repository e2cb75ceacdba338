package webhook

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/landwaiter/landwaiter/events"
)

// googleKeys is where Google publishes the keys of its tokens.
const googleKeys = "https://www.googleapis.com/oauth2/v3/certs"

// pubsub is a push subscription of Google Cloud Pub/Sub with authentication
// (https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions). The
// token speaks for the caller, not for the body; TLS guards that.
type pubsub struct {
	tokens       *tokens
	account      string // e-mail of the service account
	subscription string // "" = any that this account pushes for
}

var subscriptionName = regexp.MustCompile(`^projects/[^/]+/subscriptions/[^/]+$`)

func newPubSub(v *values, w world) *pubsub {
	k := &pubsub{account: v.need("service_account", "the e-mail address of the subscription's service account"), subscription: v.text("subscription")}
	if k.account != "" && !strings.Contains(k.account, "@") {
		v.wrong("service_account", errors.New("want an e-mail address"))
	}
	if k.subscription != "" && !subscriptionName.MatchString(k.subscription) {
		v.wrong("subscription", errors.New("want projects/PROJECT/subscriptions/NAME"))
	}
	k.tokens = &tokens{world: w, keys: newKeys(w, googleKeys),
		issuers: []string{"https://accounts.google.com", "accounts.google.com"}, audience: v.need("audience", "the audience that the subscription is configured with")}
	return k
}

func (k *pubsub) traits() traits { return traits{types: []string{"application/json"}} }

func (k *pubsub) admit(r *http.Request) (*reply, error) {
	c, err := k.tokens.verify(r.Context(), bearer(r))
	if err != nil {
		return nil, err
	}
	if c.Email != k.account || !c.Verified {
		return nil, refuse(unproven, "a token of another account: "+printable(c.Email, 200))
	}
	return nil, nil
}

func (k *pubsub) read(_ *http.Request, body []byte) (message, error) {
	var push struct {
		Subscription string `json:"subscription"`
		Message      *struct {
			Attributes map[string]string `json:"attributes"`
			Data       []byte            `json:"data"`
			ID         string            `json:"messageId"`
		} `json:"message"`
	}
	if err := events.Check(body); err != nil {
		return message{poison: err}, nil
	}
	if err := json.Unmarshal(body, &push); err != nil {
		return message{poison: errors.New("not a Pub/Sub push: " + printable(err.Error(), 200))}, nil
	}
	if push.Message == nil {
		return message{poison: errors.New("not a Pub/Sub push: no message; payload unwrapping must be off")}, nil
	}
	if k.subscription != "" && push.Subscription != k.subscription {
		return message{}, refuse(unproven, "another subscription: "+printable(push.Subscription, 200))
	}
	m := message{id: push.Message.ID}
	m.notices, m.poison = events.ParsePubSub(push.Message.Attributes, push.Message.Data)
	return m, nil
}
