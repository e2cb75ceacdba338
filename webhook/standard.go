package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/object"
)

// standard is anything that signs as https://www.standardwebhooks.com says, for
// scripts, gateways and products that no other kind fits.
type standard struct {
	keys [][]byte
	now  func() time.Time
}

// The bounds of the Standard Webhooks' specification.
const (
	tolerance = 5 * time.Minute // of webhook-timestamp, both ways
	minKey    = 24              // bytes
	maxKey    = 64
	maxSigs   = 16 // in one header
)

const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// goodID says whether an id is of 1 to 256 visible characters, none of them a
// dot: dots separate what is signed.
func goodID(id string) bool {
	return id != "" && len(id) <= 256 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' })
}

func newStandard(v *values, w world) *standard {
	k := &standard{now: w.now}
	for i, name := range []string{"secret", "previous_secret"} {
		s := v.text(name)
		if s == "" {
			if i == 0 {
				v.wrong(name, errors.New("required: whsec_ and the key in base64"))
			}
			continue
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil || len(key) < minKey || len(key) > maxKey {
			v.wrong(name, fmt.Errorf("want whsec_ and %d to %d bytes in base64", minKey, maxKey))
			continue
		}
		k.keys = append(k.keys, key)
	}
	return k
}

func (k *standard) traits() traits {
	return traits{types: []string{"application/json"}, once: []string{headerID, headerTimestamp, headerSignature}}
}

func (k *standard) admit(r *http.Request) (*reply, error) {
	if !goodID(r.Header.Get(headerID)) {
		return nil, refuse(unproven, "webhook-id is missing or not of visible characters without dots")
	}
	stamp := r.Header.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != stamp {
		return nil, refuse(unproven, "webhook-timestamp is not in seconds")
	}
	if age := k.now().Unix() - seconds; age > int64(tolerance/time.Second) || age < -int64(tolerance/time.Second) {
		return nil, refuse(unproven, "webhook-timestamp is not of now")
	}
	if sigs := r.Header.Get(headerSignature); sigs == "" || strings.Count(sigs, " ") >= maxSigs {
		return nil, refuse(unproven, "webhook-signature is missing or too long")
	}
	return nil, nil
}

func (k *standard) read(r *http.Request, body []byte) (message, error) {
	id, stamp := r.Header.Get(headerID), r.Header.Get(headerTimestamp)
	if !k.signed(r.Header.Get(headerSignature), id, stamp, body) {
		return message{}, refuse(unproven, "no signature of ours")
	}
	notices, err := parseStandard(body)
	return message{id: id, once: true, notices: notices, poison: err}, nil
}

// signed reports whether one of the signatures is by one of our keys. The
// secret's owner may rotate on either side.
func (k *standard) signed(header, id, stamp string, body []byte) bool {
	found := false
	for _, key := range k.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		for one := range strings.SplitSeq(header, " ") {
			text, ok := strings.CutPrefix(one, "v1,")
			if !ok {
				continue // another scheme, v1a among them
			}
			got, err := base64.StdEncoding.Strict().DecodeString(text)
			if err == nil && hmac.Equal(got, want) {
				found = true
			}
		}
	}
	return found
}

// A standardEvent is one event of the body {"events":[…]}.
type standardEvent struct {
	Vendor    string     `json:"vendor"`    // scheme of the units it may concern
	Account   string     `json:"account"`   // azblob: the storage account
	Container string     `json:"container"` // bucket, container or share; "" where the vendor has none
	Key       string     `json:"key"`       // as object.FormatKey writes it
	Op        string     `json:"op"`        // "put", "delete"; "" = put
	Version   string     `json:"version"`
	Size      *int64     `json:"size"`
	Time      *time.Time `json:"time"`
}

// goodScheme says whether s is a URL's scheme of 32 characters at most, in lower case.
func goodScheme(s string) bool {
	return s != "" && len(s) <= 32 && s[0] >= 'a' && s[0] <= 'z' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '.' && r != '-'
	})
}

// parseStandard reads a body that is verified. Unknown members are errors: one
// that is misspelt would be missing without anybody knowing.
func parseStandard(body []byte) ([]events.Notice, error) {
	if err := events.Check(body); err != nil {
		return nil, err
	}
	var all struct {
		Events []standardEvent `json:"events"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("the body is not {\"events\":[…]}: %s", printable(err.Error(), 200))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	if len(all.Events) == 0 || len(all.Events) > events.MaxNotices {
		return nil, fmt.Errorf("%d events, want 1 to %d", len(all.Events), events.MaxNotices)
	}
	out := make([]events.Notice, 0, len(all.Events))
	var bad error // the first: the others are delivered
	for i, e := range all.Events {
		n, err := e.notice()
		if err != nil {
			if bad == nil {
				bad = fmt.Errorf("event %d: %w", i, err)
			}
			continue
		}
		out = append(out, n)
	}
	return out, bad
}

func (e standardEvent) notice() (events.Notice, error) {
	n := events.Notice{Vendor: e.Vendor, Account: strings.ToLower(e.Account), Container: e.Container, Version: e.Version, Size: -1, Event: e.Op}
	var err error
	switch n.Key, err = object.ParseKey(e.Key); {
	case err != nil:
		return n, errors.New("key: a backslash must be written \\\\ or begin \\xNN")
	case n.Key == "" || len(n.Key) > events.MaxKey || strings.IndexByte(n.Key, 0) >= 0:
		return n, fmt.Errorf("key: want 1 to %d bytes, none of them zero", events.MaxKey)
	case !goodScheme(e.Vendor):
		return n, errors.New("vendor: want the scheme of the units' URLs, in lower case")
	case len(e.Container) > 255 || strings.ContainsAny(e.Container, "/\\\x00"), len(e.Account) > 255, len(e.Version) > events.MaxKey:
		return n, errors.New("container, account or version: too long, or with a slash")
	}
	switch e.Op {
	case "", "put":
	case "delete":
		n.Op = object.Delete
	default:
		return n, fmt.Errorf("op %q: want put or delete", printable(e.Op, 40))
	}
	if e.Size != nil {
		if *e.Size < 0 {
			return n, errors.New("size: less than nothing")
		}
		n.Size = *e.Size
	}
	if e.Time != nil {
		n.Time = e.Time.UTC()
	}
	return n, nil
}
