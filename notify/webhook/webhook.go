// Package webhook sends notices to a URL, with the bodies that MetaDefender
// Storage Security sends, signed as https://www.standardwebhooks.com says where
// there is a secret.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
)

// Options say where to send and how.
type Options struct {
	URL     string
	Method  string // POST or PUT
	Headers map[string]string
	Secret  string // whsec_ and a key in base64; "" = unsigned
	Guard   outbound.Guard
	// Workflow tells the name and the rules of a workflow by the hash of its snapshot.
	Workflow func(ctx context.Context, hash string) (name string, rules []string, err error)
}

// A Webhook is one receiver.
type Webhook struct {
	o      Options
	key    []byte
	client *http.Client
}

// New returns a receiver. Nothing is sent before Deliver.
func New(o Options) (*Webhook, error) {
	w := &Webhook{o: o, client: o.Guard.Client(20 * time.Second)}
	if o.Secret != "" {
		var err error
		if w.key, err = notify.ParseSecret(o.Secret); err != nil {
			return nil, fault.New(fault.Invalid, "webhook.New", "", err)
		}
	}
	return w, nil
}

// Close gives the connections back.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// maxAnswer bounds what is read of an answer, so that its connection can be used again.
const maxAnswer = 64 << 10

// Deliver sends one notice. Whatever is not 2xx is tried again; a redirect is
// not followed.
func (w *Webhook) Deliver(ctx context.Context, n ledger.Notice) error {
	const op = "webhook.Deliver"
	payload, err := w.payload(ctx, n)
	if err != nil {
		return err
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return fault.New(fault.Corrupt, op, n.ID.String(), err)
	}
	req, err := http.NewRequestWithContext(ctx, w.o.Method, w.o.URL, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, op, "", errors.New("not a URL or method")) // the URL may hold a secret
	}
	for name, value := range w.o.Headers {
		req.Header.Set(name, value)
	}
	w.sign(req, n.ID.String(), body)
	res, err := w.client.Do(req)
	if err != nil {
		return failed(op, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // for the connection's sake
	return answered(op, res)
}

// sign sets the headers that are ours to set: the id is the same at each attempt.
func (w *Webhook) sign(req *http.Request, id string, body []byte) {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "landwaiter")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	if w.key == nil {
		return
	}
	mac := hmac.New(sha256.New, w.key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body) // a hash takes everything (hash.Hash)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
