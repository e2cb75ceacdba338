package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// Bounds on one call of the webhook.
const (
	hearWithin = 5 * time.Second // the ledger; after that the caller shall come again
	hearAgain  = 5 * time.Second // what is asked for then
	maxKey     = 4096            // bytes
)

// A Told is an event of one object that somebody tells of.
type Told struct {
	Storage  ledger.ID
	Scan     ledger.ID // zero = whichever watches the object
	Metadata string    // the vendor's event, JSON
}

// Tell takes an event into the ledger and returns the id of the entry that it
// became, or was folded into: when it is back, the event is durable. The object
// is looked at with our own credentials: an event is a hint and no more.
// fault.Unavailable with After if the ledger is full.
func (c *Control) Tell(ctx context.Context, t Told) (ledger.ID, error) {
	return get(ctx, c, act{action: "webhook.tell", target: t.Storage.String()}, func(ctx context.Context, who account.Caller) (ledger.ID, error) {
		w, err := c.watched(ctx, who.Tenant, t.Storage, t.Scan)
		if err != nil {
			return ledger.ID{}, err
		}
		n, err := noticeOf(w.unit, t.Metadata)
		if err != nil {
			return ledger.ID{}, err
		}
		return c.hear(ctx, w, n)
	})
}

// A watch is what an event may be about: a unit, or a part of it.
type watch struct {
	unit connectors.Unit
	scan ledger.Scan // zero = any
	body UnitBody    // zero for a unit of the configuration file
}

// watched finds the unit of an event, and says if it does not want any.
func (c *Control) watched(ctx context.Context, tenant int64, storage, scan ledger.ID) (w watch, err error) {
	const op = "control.Webhook"
	if w.unit, err = c.Store.UnitOf(ctx, tenant, storage); err != nil {
		if fault.Is(err, fault.NotFound) {
			err = fault.New(fault.NotFound, op, "", errors.New("the storage could not be found"))
		}
		return w, err
	}
	if !w.unit.Managed { // those of the configuration file are always watched
		n, err := c.Store.Noun(ctx, w.unit.Tenant, ledger.Unit, storage)
		if err != nil {
			return w, fault.New(fault.Other, op, "", err)
		}
		if w.body, err = decode[UnitBody](n); err != nil {
			return w, err
		}
		switch {
		case len(w.body.RealTime) == 0:
			return w, fault.New(fault.Invalid, op, "", errors.New("Real-Time Process is not enabled for this storage")) //nolint:staticcheck // a name of the product's
		case !w.body.events():
			return w, fault.New(fault.Invalid, op, "", errors.New("Real-Time Process is enabled for this storage but not set to Event Based")) //nolint:staticcheck // likewise
		}
	}
	if scan == (ledger.ID{}) {
		return w, nil
	}
	w.scan, err = c.Store.ScanOf(ctx, w.unit.ID, scan)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return w, err
	}
	if err != nil || w.scan.Type != ledger.RealTime || !w.scan.Ended.IsZero() {
		return w, fault.New(fault.NotFound, op, "", errors.New("the scan could not be found"))
	}
	return w, nil
}

// hear writes a notice into the ledger and finds its entry.
func (c *Control) hear(ctx context.Context, w watch, n events.Notice) (ledger.ID, error) {
	const op = "control.Webhook"
	if c.Hear == nil {
		return ledger.ID{}, noDaemon("webhook")
	}
	hctx, cancel := context.WithTimeout(ctx, hearWithin)
	defer cancel()
	key, err := c.Hear(hctx, w.unit, n)
	switch {
	case ctx.Err() != nil:
		return ledger.ID{}, ctx.Err()
	case hctx.Err() != nil && err != nil, fault.Is(err, fault.NotFound): // not served now: it is being opened anew
		return ledger.ID{}, &fault.Error{Op: op, Kind: fault.Unavailable, After: hearAgain, Err: errors.New("too much waits already: come again")}
	case err != nil:
		return ledger.ID{}, err
	}
	id, err := c.Store.LatestEntry(ctx, w.unit.ID, key, w.scan.ID)
	if fault.Is(err, fault.NotFound) || err == nil && !w.holds(key) {
		return ledger.ID{}, fault.New(fault.Invalid, op, "", errors.New("no real-time scan watches the folder of this object"))
	}
	return id, err
}

// holds reports whether what is watched has the key in it.
func (w watch) holds(key string) bool {
	below := func(folder string) bool {
		folder = strings.Trim(folder, "/")
		return folder == "" || strings.HasPrefix(key, folder+"/")
	}
	if w.scan.ID != (ledger.ID{}) {
		return below(w.scan.Partition)
	}
	return len(w.body.RealTime) == 0 || slices.ContainsFunc(w.body.RealTime, func(r RealTime) bool { return below(r.Folder) })
}

// metadata is an event as the product's guides have it, for each vendor; names
// are read in any case.
type metadata struct {
	S3 *struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key string `json:"key"`
		} `json:"object"`
	} `json:"s3"`
	Name string `json:"name"`
}

// noticeOf reads an event of a unit. Keys come decoded: the functions that call
// the webhook do that.
func noticeOf(u connectors.Unit, text string) (n events.Notice, err error) {
	const op = "control.Webhook"
	bad := func(why string) (events.Notice, error) {
		return n, fault.New(fault.Invalid, op, "", errors.New("metadata: "+why))
	}
	if len(text) > events.MaxBody {
		return bad("too long")
	}
	var m metadata
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return bad("want a string that holds the event's JSON")
	}
	loc, err := url.Parse(u.URL)
	if err != nil {
		return n, fault.New(fault.Internal, op, u.Name, err)
	}
	n = events.Notice{Vendor: loc.Scheme, Container: loc.Host, Key: m.Name, Size: -1, Event: "realtime"}
	switch loc.Scheme {
	case "s3":
		if m.S3 != nil {
			n.Key = m.S3.Object.Key
			if b := m.S3.Bucket.Name; b != "" && b != loc.Host {
				return bad("the event is of another bucket")
			}
		}
	case "gs":
	case "azblob":
		n.Account = loc.Hostname()
		n.Container, _, _ = strings.Cut(strings.Trim(loc.Path, "/"), "/")
		n.Key = strings.TrimPrefix(strings.TrimPrefix(n.Key, "/"), n.Container+"/") // Event Grid's URL has the container before the blob
	case "smb":
		n.Container, _, _ = strings.Cut(strings.Trim(loc.Path, "/"), "/")
		n.Key = strings.Trim(strings.ReplaceAll(n.Key, `\`, "/"), "/")
	default:
		root := strings.TrimSuffix(loc.Path, "/") + "/"
		n.Vendor, n.Container, n.Key = events.ByUnit, u.Name, strings.TrimPrefix(n.Key, root)
	}
	switch {
	case n.Key == "":
		return bad("it names no object: want s3.object.key, or Name")
	case len(n.Key) > maxKey:
		return bad("the object's name is too long")
	}
	return n, nil
}
