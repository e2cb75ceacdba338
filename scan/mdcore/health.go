package mdcore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// identity names the definitions of all engines that are active.
type identity struct {
	id      string    // "" = the instance does not say
	oldest  time.Time // of the anti-malware engines
	engines int       // anti-malware engines that are active; -1 = unknown
}

// defined remembers an identity for a while, so that a scan does not cost a
// request more.
type defined struct {
	turn gate // held while asking
	mu   sync.Mutex
	last identity
	at   time.Time
}

func (d *defined) get() (identity, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last, !d.at.IsZero() && time.Since(d.at) < definedFor
}

func (d *defined) set(id identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last, d.at = id, time.Now()
}

// definitions returns the identity, which is unknown where the instance, or the
// user's rights, withhold it.
func (e *Engine) definitions(ctx context.Context) identity {
	if id, ok := e.defs.get(); ok {
		return id
	}
	if e.defs.turn.enter(ctx) != nil {
		return identity{engines: -1}
	}
	defer e.defs.turn.leave()
	if id, ok := e.defs.get(); ok {
		return id
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	id, err := e.engines(ctx)
	if err != nil && ctx.Err() == context.Canceled {
		return id // it is the asker who left
	}
	e.defs.set(id)
	return id
}

// dated says which definitions a report is of.
func (e *Engine) dated(r scan.Report, id identity) scan.Report {
	r.Definitions = id.id
	if !id.oldest.IsZero() {
		r.DefinedAt = id.oldest
	}
	return r
}

// engines asks for the engines and their definitions.
func (e *Engine) engines(ctx context.Context) (identity, error) {
	list, err := e.listed(ctx)
	if err != nil {
		return identity{engines: -1}, err
	}
	var id identity
	var parts []string
	for _, g := range list {
		if !g.Active {
			continue
		}
		parts = append(parts, fmt.Sprintf("%q %q %q", g.ID, g.Version, g.Defined))
		if g.Kind != "av" {
			continue
		}
		id.engines++
		if at := when(g.Defined); !at.IsZero() && (id.oldest.IsZero() || at.Before(id.oldest)) {
			id.oldest = at
		}
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
		id.id = "core-" + hex.EncodeToString(sum[:8])
	}
	return id, nil
}

// Probe asks for readiness (GET /readyz; where a version has none, its engines
// and version), definitions, and the size that the rule allows. An error means
// that there was no proper answer.
func (e *Engine) Probe(ctx context.Context) (scan.Health, error) {
	if err := e.open("mdcore.Probe"); err != nil {
		return scan.Health{}, err
	}
	h, known, err := e.readyz(ctx)
	if err != nil {
		return scan.Health{}, err
	}
	id, err := e.engines(ctx)
	if err == nil {
		e.defs.set(id)
	} else if ctx.Err() != nil {
		return scan.Health{}, ctx.Err()
	} else if !known && !fault.Is(err, fault.Denied) {
		return scan.Health{}, err
	}
	h.Definitions, h.DefinedAt = id.id, id.oldest
	if h.Version, err = e.version(ctx); err != nil && !known {
		return scan.Health{}, err // it answered nothing that says that it is alive
	}
	if !known {
		h.Ready = true
	}
	if h.Ready && id.engines == 0 {
		h.Ready, h.Detail = false, "no anti-malware engine is active"
	}
	h.Limits.Exceeded = true // Core has verdicts for each: 9, 13, 14, 16, 60
	e.limits(ctx, &h)
	return h, ctx.Err()
}

// readyz reads the health check; known is false where there is none.
func (e *Engine) readyz(ctx context.Context) (h scan.Health, known bool, err error) {
	const op = "mdcore.readyz"
	var r reply
	err = e.authorized(ctx, func(key string) (err error) {
		r, err = e.call(ctx, op, key, http.MethodGet, "/readyz", nil, nil)
		return err
	})
	if err != nil {
		return h, false, err
	}
	switch r.status {
	case http.StatusOK, http.StatusServiceUnavailable:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return h, false, nil
	default:
		return h, false, e.refused(op, r)
	}
	var got struct {
		Database part `json:"database"`
		License  part `json:"license"`
		Active   part `json:"number_active_av_engines"`
		Queue    struct {
			part
			Number number `json:"number_in_queue"`
			Max    number `json:"max_number_in_queue"`
		} `json:"scan_queue"`
		Engines []struct {
			ID       string `json:"engine_id"`
			Required bool   `json:"required"`
			Status   state  `json:"status"`
		} `json:"engines"`
	}
	h.Ready = r.status == http.StatusOK
	if err := decode(r.body, &got); err != nil {
		if h.Ready {
			return scan.Health{}, false, e.malformed(op, err)
		}
		h.Detail = "it says 503"
		return h, true, nil
	}
	var why []string
	for _, p := range []struct {
		name string
		part
	}{{"database", got.Database}, {"license", got.License}, {"too few active engines", got.Active}} {
		if p.bad() {
			why = append(why, strings.TrimSuffix(p.name+": "+plain(p.Status.said, 40), ": false"))
		}
	}
	q := got.Queue
	if q.Max.n > 0 {
		h.Load = min(max(float64(q.Number.n)/float64(q.Max.n), 0), 1)
	}
	if q.bad() {
		why = append(why, fmt.Sprintf("scan queue: %d of %d", q.Number.n, q.Max.n))
	}
	for _, g := range got.Engines {
		if g.Required && !g.Status.ok && len(why) < 8 {
			why = append(why, "engine "+plain(g.ID, 60))
		}
	}
	if got.License.bad() {
		h.Ready = false // it refuses files, whatever the health check is set to look at
	}
	if !h.Ready {
		h.Detail = cmp.Or(strings.Join(why, "; "), "it says 503")
	}
	return h, true, nil
}

// A part of the health check.
type part struct {
	Status state `json:"status"`
}

func (p part) bad() bool { return p.Status.said != "" && !p.Status.ok }

func (e *Engine) version(ctx context.Context) (string, error) {
	r, err := e.get(ctx, "mdcore.version", "/version", nil)
	if err != nil {
		return "", err
	}
	var got struct {
		Version string `json:"version"`
	}
	if r.status != http.StatusOK {
		return "", e.refused("mdcore.version", r)
	}
	if err := decode(r.body, &got); err != nil {
		return "", e.malformed("mdcore.version", err)
	}
	if got.Version == "" {
		return "", e.malformed("mdcore.version", errors.New("there is no version"))
	}
	return plain(got.Version, 60), nil
}

// limits reads the rule's largest file, and whether there is such a rule for
// us, where the instance tells.
func (e *Engine) limits(ctx context.Context, h *scan.Health) {
	if e.o.Rule == "" {
		return
	}
	rules, err := e.rules(ctx, e.o.UserAgent)
	if err != nil || len(rules) == 0 {
		return
	}
	for _, rule := range rules {
		if rule.Name == e.o.Rule {
			h.Limits.Size = max(rule.Max.n, 0)
			return
		}
	}
	if h.Ready {
		h.Ready, h.Detail = false, fmt.Sprintf("there is no rule %q for us", e.o.Rule)
	}
}
