package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/events"
)

// How far an SNS message's Timestamp may be from now. SNS tries for an hour at
// most and keeps the timestamp of the first try; clocks differ.
const (
	snsPast   = time.Hour
	snsFuture = 5 * time.Minute
)

// sns is an HTTP(S) subscription to topics of Amazon SNS
// (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
type sns struct {
	world
	name   string
	topics []string
	certs  *certs

	mu      sync.Mutex
	confirm map[string]Confirmation // by topic
}

var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)

func newSNS(v *values, w world, name string) *sns {
	k := &sns{world: w, name: name, topics: v.list("topics"), certs: newCerts(w), confirm: make(map[string]Confirmation)}
	if len(k.topics) == 0 {
		v.wrong("topics", errors.New("required: the ARNs of the topics that may call, separated by commas"))
	}
	for _, t := range k.topics {
		if !topicARN.MatchString(t) {
			v.wrong("topics", fmt.Errorf("%q: want arn:aws:sns:REGION:ACCOUNT:NAME", printable(t, 300)))
		}
	}
	return k
}

const (
	snsTypeHeader  = "X-Amz-Sns-Message-Type"
	snsTopicHeader = "X-Amz-Sns-Topic-Arn"
	snsRawHeader   = "X-Amz-Sns-Rawdelivery"
)

func (k *sns) traits() traits {
	// A subscription's delivery policy may name one of these instead of
	// text/plain, which is the standard.
	return traits{types: []string{"text/plain", "application/json", "application/octet-stream"},
		once:     []string{snsTypeHeader, snsTopicHeader, snsRawHeader, "X-Amz-Sns-Message-Id", "X-Amz-Sns-Subscription-Arn"},
		unproven: http.StatusForbidden} // a 401 would ask SNS for a password
}

func (k *sns) admit(r *http.Request) (*reply, error) {
	if topic := r.Header.Get(snsTopicHeader); topic != "" && !slices.Contains(k.topics, topic) {
		return nil, refuse(unproven, "not from a topic of this hook: "+printable(topic, 200))
	}
	if r.Header.Get(snsRawHeader) == "true" {
		return nil, refuse(unproven, "raw message delivery carries no signature: turn it off for this subscription")
	}
	return nil, nil
}

// An envelope is what SNS posts. All of its members are text.
type envelope struct {
	Type             string
	MessageId        string
	TopicArn         string
	Subject          *string
	Message          string
	Timestamp        string
	Token            string
	SubscribeURL     string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

// The types of envelopes.
const (
	notification = "Notification"
	confirmation = "SubscriptionConfirmation"
	goodbye      = "UnsubscribeConfirmation"
)

func (k *sns) read(r *http.Request, body []byte) (message, error) {
	// Two members of one name, or deep nesting, would be no envelope of SNS.
	if err := events.Check(body); err != nil {
		return message{}, refuse(unreadable, "not an SNS message: "+err.Error())
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return message{}, refuse(unreadable, "not an SNS message")
	}
	if err := k.verify(r, e); err != nil {
		return message{}, err
	}
	m := message{id: e.TopicArn + " " + e.MessageId, once: true}
	switch e.Type {
	case confirmation:
		return message{}, k.subscribe(e)
	case goodbye:
		k.log.Warn("SNS ended a subscription", "hook", k.name, "topic", e.TopicArn)
		return message{}, nil
	}
	k.confirmed(e.TopicArn)
	m.notices, m.poison = events.ParseS3([]byte(e.Message))
	return m, nil
}

// verify checks an envelope, what costs least first.
func (k *sns) verify(r *http.Request, e envelope) error {
	if !slices.Contains(k.topics, e.TopicArn) {
		return refuse(unproven, "not from a topic of this hook: "+printable(e.TopicArn, 200))
	}
	if t := r.Header.Get(snsTopicHeader); t != "" && t != e.TopicArn {
		return refuse(unproven, "header and message name different topics")
	}
	if t := r.Header.Get(snsTypeHeader); t != "" && t != e.Type {
		return refuse(unproven, "header and message name different types")
	}
	sent, err := time.Parse(time.RFC3339Nano, e.Timestamp)
	if err != nil {
		return refuse(unreadable, "a timestamp that is none")
	}
	if age := k.now().Sub(sent); age > snsPast || age < -snsFuture {
		return refuse(unproven, "a timestamp too far from now: "+printable(e.Timestamp, 40))
	}
	text, err := canonical(e)
	if err != nil {
		return &refusal{cause: unreadable, err: err}
	}
	return k.certs.verify(r.Context(), e, text)
}

// canonical returns what SNS signs: names and values, a line each, in the order
// of the names. No value but Message may have a second line: then no two
// messages have the same text, and a signature speaks of one only.
func canonical(e envelope) (string, error) {
	var fields [][2]string
	switch e.Type {
	case notification:
		fields = [][2]string{{"Message", e.Message}, {"MessageId", e.MessageId}}
		if e.Subject != nil {
			fields = append(fields, [2]string{"Subject", *e.Subject})
		}
		fields = append(fields, [][2]string{{"Timestamp", e.Timestamp}, {"TopicArn", e.TopicArn}, {"Type", e.Type}}...)
	case confirmation, goodbye:
		fields = [][2]string{{"Message", e.Message}, {"MessageId", e.MessageId}, {"SubscribeURL", e.SubscribeURL},
			{"Timestamp", e.Timestamp}, {"Token", e.Token}, {"TopicArn", e.TopicArn}, {"Type", e.Type}}
	default:
		return "", fmt.Errorf("the type %q", printable(e.Type, 40))
	}
	var b strings.Builder
	for _, f := range fields {
		if f[0] != "Message" && strings.Contains(f[1], "\n") {
			return "", fmt.Errorf("a second line in %s", f[0])
		}
		if f[0] != "Subject" && f[1] == "" {
			return "", fmt.Errorf("no %s", f[0])
		}
		b.WriteString(f[0] + "\n" + f[1] + "\n")
	}
	return b.String(), nil
}

// subscribe notes a genuine subscription for the operator. Its URL is never
// opened here: a call from outside must not make us call.
func (k *sns) subscribe(e envelope) error {
	u, err := url.Parse(e.SubscribeURL)
	if err != nil || u.Scheme != "https" || !snsHost.MatchString(u.Host) || u.User != nil || u.Fragment != "" ||
		u.Query().Get("Action") != "ConfirmSubscription" || u.Query().Get("TopicArn") != e.TopicArn {
		return refuse(unproven, "a SubscribeURL that is not SNS's")
	}
	k.mu.Lock()
	k.confirm[e.TopicArn] = Confirmation{Topic: e.TopicArn, URL: e.SubscribeURL, At: k.now().UTC()}
	k.mu.Unlock()
	// The URL is a key to the subscription, so it is not in the log.
	k.log.Warn("SNS asks to confirm a subscription: open its URL, which the hook's status shows", "hook", k.name, "topic", e.TopicArn)
	return nil
}

// confirmed forgets what waited: SNS notifies only who has confirmed.
func (k *sns) confirmed(topic string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.confirm, topic)
}

// waiting returns the confirmations, by topic. The topics allowed bound them.
func (k *sns) waiting() []Confirmation {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Confirmation
	for _, t := range k.topics {
		if c, ok := k.confirm[t]; ok {
			out = append(out, c)
		}
	}
	return out
}
