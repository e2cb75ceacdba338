package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

const (
	scanLook   = time.Second // how often it is looked which scans run, and whether they are through
	listAtOnce = 64          // units that are listed for scans at once
	scanBatch  = 500         // events written at once
	// keyVersions bounds the versions of one key that are written at once, where
	// all are wanted: a listing resumes after a key, so a key goes into one batch.
	keyVersions = 10_000
)

// Look tells that a scan was started or stopped.
func (p *Pipeline) Look() { signal(p.began) }

// A listing is the listing of one scan on this node.
type listing struct {
	u      *unit
	cancel context.CancelFunc
	done   chan struct{}
}

// runScans lists for the Instant and Scheduled scans of the units that are this
// node's, and ends those whose entries are all finished.
func (p *Pipeline) runScans(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, listAtOnce)
	running := map[ledger.ID]*listing{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.began:
		case <-timer.C:
		}
		reset(timer, scanLook)
		scans, err := p.o.Ledger.RunningScans(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.log.Error("running scans", "err", err)
			}
			continue
		}
		wanted := map[ledger.ID]bool{}
		for _, s := range scans {
			u := p.unit(s.Unit)
			if u == nil || p.o.Ledger.Lease(ledger.SlotOf(u.ID, "")).Before(time.Now()) {
				continue
			}
			if s.Listed {
				p.complete(ctx, u, s)
				continue
			}
			wanted[s.ID] = true
			if l := running[s.ID]; l != nil && (l.u == u && !l.over()) {
				continue
			} else if l != nil {
				l.end()
			}
			lctx, cancel := context.WithCancel(ctx)
			l := &listing{u: u, cancel: cancel, done: make(chan struct{})}
			running[s.ID] = l
			wg.Go(func() {
				defer close(l.done)
				defer cancel()
				p.listFor(lctx, u, s, room)
			})
		}
		for id, l := range running {
			if !wanted[id] {
				l.end()
				delete(running, id)
			}
		}
	}
}

func (l *listing) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *listing) end() {
	l.cancel()
	<-l.done
}

// complete ends s if all that it has found is finished.
func (p *Pipeline) complete(ctx context.Context, u *unit, s ledger.Scan) {
	if _, err := p.view(ctx, u, s.Workflow); err != nil { // so that dispatch knows which pools it asks
		p.log.Warn("scan", "unit", u.Name, "scan", s.ID, "err", err)
	}
	ended, err := p.o.Ledger.CompleteScan(ctx, s.ID)
	if err != nil && ctx.Err() == nil {
		p.log.Error("end scan", "unit", u.Name, "scan", s.ID, "err", err)
	}
	if ended {
		p.log.Info("scan ended", "unit", u.Name, "scan", s.ID, "not_listed", s.Error)
		p.ended(s)
	}
}

func (p *Pipeline) ended(s ledger.Scan) {
	if p.o.Scanned != nil {
		p.o.Scanned(s)
	}
}

// listFor lists s to the end, again and again while the unit does not answer for
// a while: each time from where the last batch was committed. What can only end
// the same way, or takes too long, fails the scan.
func (p *Pipeline) listFor(ctx context.Context, u *unit, s ledger.Scan, room chan struct{}) {
	select {
	case room <- struct{}{}:
		defer func() { <-room }()
	case <-ctx.Done():
		return
	}
	wait, since := time.Second, p.now()
	for {
		d := &discovery{p: p, u: u, scan: s, at: s.Next}
		err := d.run(ctx)
		if d.at != s.Next {
			s.Next, wait, since = d.at, time.Second, p.now()
		}
		switch {
		case err == nil:
			p.log.Info("scan has listed", "unit", u.Name, "scan", s.ID, "found", d.found)
			p.Look()
			return
		case ctx.Err() != nil:
			return
		case fault.Is(err, fault.Stale): // it was stopped, or another node has it
			p.log.Debug("listing ended", "unit", u.Name, "scan", s.ID, "err", err)
			return
		case !fault.Is(err, fault.Unavailable, fault.Throttled, fault.Other) || p.now().Sub(since) >= p.o.Bounds.ListFor:
			p.failScan(ctx, u, s, err)
			return
		}
		p.log.Warn("scan cannot list", "unit", u.Name, "scan", s.ID, "err", err, "again_in", wait)
		if sleep(ctx, max(jitter(wait), fault.AfterOf(err))) != nil {
			return
		}
		wait = min(2*wait, time.Minute)
	}
}

func (p *Pipeline) failScan(ctx context.Context, u *unit, s ledger.Scan, why error) {
	p.log.Error("scan failed", "unit", u.Name, "scan", s.ID, "err", why)
	err := p.o.Ledger.FailScan(ctx, s.ID, why.Error())
	switch {
	case err == nil:
		p.ended(s)
	case !fault.Is(err, fault.Stale) && ctx.Err() == nil:
		p.log.Error("end scan", "unit", u.Name, "scan", s.ID, "err", err)
	}
}

// A discovery is one listing of what a scan is of.
type discovery struct {
	p     *Pipeline
	u     *unit
	scan  ledger.Scan
	at    string // what is committed
	found int64
	batch []ledger.Arrival
	gap   string
}

// run emits an event for each object below the scan's folder from d.at on,
// whatever the inventory says of it, and says when that was all.
func (d *discovery) run(ctx context.Context) error {
	if _, err := d.p.view(ctx, d.u, d.scan.Workflow); err != nil {
		return err
	}
	st, err := d.p.o.Storages.Get(d.u.Name)
	if err != nil {
		return err
	}
	held, err := d.p.o.Ledger.Held(ctx, d.u.ID)
	if err != nil {
		return err
	}
	prefix := ""
	if d.scan.Partition != "" {
		prefix = strings.TrimSuffix(d.scan.Partition, "/") + "/"
	}
	list := st.List
	if d.u.Versions == "all" {
		list = st.ListVersions
	}
	for info, lerr := range list(ctx, prefix, d.at) {
		if lerr != nil {
			var gap *connectors.Gap
			if !errors.As(lerr, &gap) {
				return errors.Join(lerr, d.flush(ctx, d.last()))
			}
			d.gap = fmt.Sprintf("%s: %v", object.FormatKey(gap.Prefix), gap.Err)
			continue
		}
		if held[info.Key] || info.Kind == object.Marker {
			continue
		}
		if err := d.add(ctx, info); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.flush(ctx, d.last()); err != nil {
		return err
	}
	return d.p.o.Ledger.EndListing(ctx, d.scan.ID, d.at)
}

// last is the key of the last event that is not written yet.
func (d *discovery) last() string {
	if n := len(d.batch); n > 0 {
		return d.batch[n-1].Event.Key
	}
	return d.at
}

func (d *discovery) add(ctx context.Context, info object.Info) error {
	if last := d.last(); len(d.batch) >= scanBatch {
		next := last
		if info.Key == last {
			next = d.at // some of its versions would be left out after a crash
		}
		if info.Key != last || len(d.batch) >= keyVersions {
			if err := d.flush(ctx, next); err != nil {
				return err
			}
		}
	}
	d.found++
	d.batch = append(d.batch, ledger.Arrival{Scan: d.scan.ID, Event: object.Event{Ref: object.Ref{Unit: d.u.Name, Key: info.Key, Version: info.Version},
		Size: info.Size, Time: info.ModTime, Cause: "scan", Priority: d.scan.Priority}})
	return nil
}

// flush writes the batch, once there is room for it, and that the listing has
// come to next.
func (d *discovery) flush(ctx context.Context, next string) error {
	if len(d.batch) == 0 && d.gap == "" {
		return nil
	}
	if err := d.p.waitRoom(ctx, d.u, d.p.o.Bounds.Backlog); err != nil {
		return err
	}
	n := int64(len(d.batch))
	d.u.load.add(n)
	d.p.load.add(n)
	taken, err := d.p.o.Ledger.Discover(ctx, d.u.ID, d.batch, ledger.Listing{Scan: d.scan.ID, Was: d.at, Next: next, Gap: d.gap})
	d.u.load.arrived(n, int64(taken.Inserted))
	d.p.load.arrived(n, int64(taken.Inserted))
	if err != nil {
		return err
	}
	d.at, d.gap, d.batch = next, "", d.batch[:0]
	return nil
}
