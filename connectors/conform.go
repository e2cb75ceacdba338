package connectors

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A Finding is what one check of Conform found.
type Finding struct {
	Check  string        `json:"check"`
	State  string        `json:"state"` // ok, failed, absent (the driver or the server does not have it), skipped
	Detail string        `json:"detail,omitempty"`
	Took   time.Duration `json:"took"`
}

// The states of a Finding.
const (
	Passed  = "ok"
	Failed  = "failed"
	Absent  = "absent"
	Skipped = "skipped"
)

// checkTimeout bounds one check of Conform.
const checkTimeout = time.Minute

// Conform proves on a real storage what the contract of Driver promises: first
// the capability probe, then reading, listing, and each kind of change with the
// version that it is for and with one that has passed. It writes below a prefix
// of its own, the unit's probe prefix, and removes what it wrote. A read-only
// unit is only listed. It returns ctx's error, or nil when all was told.
func Conform(ctx context.Context, u Unit, d Driver, tell func(Finding)) error {
	prefix := u.Probe
	if prefix == "" || prefix == "off" {
		prefix = DefaultProbePrefix
	}
	c := &conformer{d: d, prefix: prefix + "conform-" + strings.ToLower(rand.Text()[:8]) + "/", objects: map[string]string{}}
	probed, err := Probe(ctx, u, d)
	began := time.Now()
	if err != nil {
		tell(Finding{Check: "probe", State: Failed, Detail: err.Error(), Took: time.Since(began)})
	} else {
		tell(Finding{Check: "probe", State: Passed, Detail: strings.Join(probed.Caps.Names(), " "), Took: time.Since(began)})
	}
	c.caps = effective(u, d, &probed)
	release := func(context.Context) string { return "" }
	if prefix != DefaultProbePrefix && c.caps.Put && c.caps.Remove && c.caps.Prune {
		release = c.anchor(ctx, prefix)
	}
	for _, x := range conformity {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := Finding{Check: x.name, State: Passed}
		switch {
		case u.ReadOnly && x.writes:
			f.State, f.Detail = Skipped, "the unit may only be read"
		case x.needs != nil && !x.needs(c.caps):
			f.State, f.Detail = Absent, x.without
		default:
			began := time.Now()
			within, cancel := context.WithTimeout(ctx, checkTimeout)
			if f.Detail, err = x.run(c, within); err != nil {
				f.State, f.Detail = Failed, err.Error()
			}
			cancel()
			f.Took = time.Since(began)
		}
		tell(f)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	if left := c.clean(clean) + release(clean); left != "" {
		tell(Finding{Check: "clean", State: Failed, Detail: left})
	}
	return ctx.Err()
}

// A conformer holds what the checks wrote: key to version.
type conformer struct {
	d       Driver
	caps    Caps
	prefix  string
	objects map[string]string
}

// conformity are the checks, in order; later ones use what earlier ones wrote.
var conformity = []struct {
	name    string
	writes  bool
	needs   func(Caps) bool
	without string
	run     func(*conformer, context.Context) (string, error)
}{
	{"list", false, nil, "", (*conformer).list},
	{"missing", false, nil, "", (*conformer).missing},
	{"canceled", false, nil, "", (*conformer).canceled},
	{"create", true, func(c Caps) bool { return c.Put }, "objects are not written here", (*conformer).create},
	{"create-race", true, func(c Caps) bool { return c.FencedPut }, "the server does not refuse to create what exists", (*conformer).race},
	{"read", true, func(c Caps) bool { return c.Put }, "objects are not written here", (*conformer).read},
	{"keys", true, func(c Caps) bool { return c.Put }, "objects are not written here", (*conformer).keys},
	{"replace", true, func(c Caps) bool { return c.FencedPut }, "the server does not refuse to replace another version", (*conformer).replace},
	{"copy", true, func(c Caps) bool { return c.FencedCopy }, "the server does not copy, or not a version named", (*conformer).copy},
	{"tag", true, func(c Caps) bool { return c.Tag && c.Put }, "there are no tags", (*conformer).tag},
	{"remove-stale", true, func(c Caps) bool { return c.FencedRemove && c.FencedPut }, "removal cannot be bound to a version: it is refused unless the unit says unfenced", (*conformer).removeStale},
	{"remove", true, func(c Caps) bool { return c.Remove && c.Put }, "objects are not removed here", (*conformer).remove},
}

func (c *conformer) ref(name string) object.Ref {
	return object.Ref{Key: c.prefix + name, Version: c.objects[name]}
}

func (c *conformer) put(ctx context.Context, name string, content []byte, ifVersion string) (object.Info, error) {
	sum := sha256.Sum256(content)
	info, err := c.d.(Putter).Put(ctx, c.prefix+name, bytes.NewReader(content), PutOptions{IfVersion: ifVersion, Size: int64(len(content)), SHA256: sum[:],
		TempName: tempName()})
	if err == nil {
		c.objects[name] = info.Version
	}
	return info, err
}

func tempName() string { return "conform-" + strings.ToLower(rand.Text()[:8]) }

func (c *conformer) content(ctx context.Context, ref object.Ref, offset int64) ([]byte, object.Info, error) {
	r, err := c.d.Open(ctx, ref, offset)
	if err != nil {
		return nil, object.Info{}, err
	}
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	return b, r.Info(), errors.Join(err, r.Close())
}

// drop removes what was written as name.
func (c *conformer) drop(ctx context.Context, name string) (Removed, error) {
	b, info, err := c.content(ctx, object.Ref{Key: c.prefix + name}, 0)
	if err != nil {
		return Removed{}, err
	}
	sum := sha256.Sum256(b)
	r, err := c.d.(Remover).Remove(ctx, object.Ref{Key: c.prefix + name, Version: info.Version}, Fence{Aside: tempName(), SHA256: sum[:]})
	if err == nil {
		delete(c.objects, name)
	}
	return r, err
}

// anchor keeps the folder of a prefix that is somebody's own from going with what
// is emptied below it, until it is released.
func (c *conformer) anchor(ctx context.Context, prefix string) (release func(context.Context) string) {
	key, content := prefix+tempName(), []byte("kept while landwaiter conform runs")
	sum := sha256.Sum256(content)
	info, err := c.d.(Putter).Put(ctx, key, bytes.NewReader(content), PutOptions{Size: int64(len(content)), SHA256: sum[:], TempName: tempName()})
	return func(ctx context.Context) string {
		if err == nil {
			_, err = c.d.(Remover).Remove(ctx, object.Ref{Key: key, Version: info.Version}, Fence{Aside: tempName(), SHA256: sum[:]})
		}
		if err != nil {
			return object.FormatKey(key) + ": " + err.Error()
		}
		return ""
	}
}

// clean removes what is left, and says what stays.
func (c *conformer) clean(ctx context.Context) string {
	if _, ok := c.d.(Remover); !ok {
		if len(c.objects) > 0 {
			return "what was written stays below " + c.prefix
		}
		return ""
	}
	var stays []string
	names := make([]string, 0, len(c.objects))
	for name := range c.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := c.drop(ctx, name); err != nil && !fault.Is(err, fault.NotFound) {
			stays = append(stays, object.FormatKey(c.prefix+name)+": "+err.Error())
		}
	}
	if p, ok := c.d.(Pruner); ok {
		_, _ = p.Prune(ctx, c.prefix+"k/a/c") // what is left is empty folders
		_, _ = p.Prune(ctx, c.prefix+"k/a-b/c")
	}
	return strings.Join(stays, "; ")
}

// orNone is err, or one that says that there was none.
func orNone(err error) error {
	if err == nil {
		return errors.New("it was done")
	}
	return err
}
