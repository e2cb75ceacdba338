package gcs

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"

	"cloud.google.com/go/storage"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Probe proves below prefix what the server really does, see connectors.Prober.
// What the credentials may not do counts as absent, and is no error.
func (d *Driver) Probe(ctx context.Context, prefix string) (caps connectors.Caps, err error) {
	caps = connectors.Caps{Ordered: true, ReadIsVersion: true} // Open compares generations itself
	p := &probing{d: d, dir: prefix + "gcs-" + strings.ToLower(rand.Text()[:12]) + "/"}
	defer func() { err = errors.Join(err, p.clean(ctx)) }()
	if err := p.put(ctx, &caps); err != nil || !caps.Put {
		return caps, err
	}
	for _, step := range []func(context.Context, *connectors.Caps) error{p.order, p.tags, p.copies, p.remove} {
		if err := step(ctx, &caps); err != nil {
			return connectors.Caps{}, err
		}
	}
	return caps, nil
}

// probing is a probe under way: it works on objects in a folder of its own.
type probing struct {
	d   *Driver
	dir string
}

// wrong is a generation that no object of a probe has.
const wrong = 1

// write puts an object; without replaces, whatever stands there.
func (p *probing) write(ctx context.Context, name, content string, replaces *int64) (int64, error) {
	attrs := storage.ObjectAttrs{Name: p.d.root + p.dir + name, CRC32C: crc32.Checksum([]byte(content), castagnoli())}
	o, err := p.d.insert(ctx, "gcs.Probe", p.dir+name, strings.NewReader(content), 0, attrs, replaces)
	if err != nil {
		return 0, err
	}
	return o.Generation, nil
}

// refused reports whether err is a failed precondition; another error is returned.
func refused(err error) (bool, error) {
	if err == nil || refusedBy(err, http.StatusPreconditionFailed) {
		return err != nil, nil
	}
	return false, err
}

// put finds out whether objects can be written, and under preconditions.
func (p *probing) put(ctx context.Context, caps *connectors.Caps) error {
	if _, err := p.write(ctx, "a", "first", nil); err != nil {
		return connectors.OrAbsent(err)
	}
	caps.Put = true
	none, err := rejects(func(replaces int64) error { _, err := p.write(ctx, "a", "second", &replaces); return err })
	if err != nil {
		return err
	}
	p.d.honours.put.Set(none)
	caps.FencedPut = none
	return nil
}

// rejects reports whether a write to an object that is there is rejected, both
// as a creation and as a replacement of another generation.
func rejects(write func(replaces int64) error) (bool, error) {
	for _, replaces := range []int64{0, wrong} {
		ok, err := refused(write(replaces))
		if !ok {
			return false, connectors.OrAbsent(err)
		}
	}
	return true, nil
}

// order finds out whether listings are in byte order and go on where told.
func (p *probing) order(ctx context.Context, caps *connectors.Caps) error {
	names := []string{"o!", "o-b", "o/a", "o/b", "o0", "oa", "oé", "o\uffee", "o\U0001f600"}
	for _, n := range slices.Backward(names) {
		if _, err := p.write(ctx, n, n, nil); err != nil {
			return err
		}
	}
	ordered, err := connectors.Ordered(ctx, p.d.List, p.dir, "o", names)
	caps.Ordered = ordered
	return err
}

// tags finds out whether metadata can be changed under preconditions, and
// leaves the version as it is.
func (p *probing) tags(ctx context.Context, caps *connectors.Caps) error {
	key, want := p.dir+"a", map[string]string{"landwaiter-probe": "a b+c/d"}
	before, err := p.d.find(ctx, "gcs.Probe", key, 0)
	if err != nil {
		return err
	}
	if err := p.d.provePatch(ctx, "gcs.Probe", key, before); err != nil {
		return connectors.OrAbsent(err)
	}
	after, err := p.d.Tag(ctx, object.Ref{Key: key, Version: before.info.Version}, want)
	if err != nil {
		return connectors.OrAbsent(err)
	}
	got, err := p.d.Tags(ctx, object.Ref{Key: key})
	if err != nil {
		return err
	}
	caps.TagsKeepVersion = before.info.Version == after.Version
	caps.Tag = caps.TagsKeepVersion && len(got) == 1 && got["landwaiter-probe"] == want["landwaiter-probe"]
	return nil
}

// copies finds out whether copies look at the source and at what they replace.
// Where the destination is not looked at, there is no copy: what somebody wrote
// there meanwhile would be lost.
func (p *probing) copies(ctx context.Context, caps *connectors.Caps) error {
	a, err := p.d.find(ctx, "gcs.Probe", p.dir+"a", 0)
	if err != nil {
		return err
	}
	rewrite := func(to string, gen int64, replaces *int64) error {
		_, err := p.d.rewrite(ctx, "gcs.Probe", p.dir+to, rewriting{from: a.Name, gen: gen, to: p.d.root + p.dir + to, object: kept(a.ObjectAttrs), replaces: replaces})
		return err
	}
	if err := rewrite("c", a.Generation, nil); err != nil {
		return connectors.OrAbsent(err)
	}
	caps.Copy, err = rejects(func(replaces int64) error { return rewrite("c", a.Generation, &replaces) })
	if err != nil {
		return err
	}
	p.d.honours.copy.Set(caps.Copy)
	stale := rewrite("c-stale", wrong, nil)
	if !fault.Is(stale, fault.Changed, fault.NotFound) {
		return connectors.OrAbsent(stale)
	}
	caps.FencedCopy = caps.Copy
	return nil
}

// remove finds out whether a removal takes exactly the generation it names, and
// whether the bucket keeps versions.
func (p *probing) remove(ctx context.Context, caps *connectors.Caps) error {
	const op = "gcs.Probe"
	d, key := p.d, p.dir+"r"
	name := d.root + key
	first, err := p.write(ctx, "r", "first", nil)
	if err != nil {
		return err
	}
	second, err := p.write(ctx, "r", "second", nil)
	if err != nil {
		return connectors.OrAbsent(err) // a hold or retention: nothing can be removed either
	}
	if caps.Versions, err = d.remains(ctx, op, key, name, first); err != nil {
		return err
	}
	target, beside := second, int64(0)
	if caps.Versions {
		// The generation alone says what is deleted.
		target, beside = first, second
		_, err = d.delete(ctx, op, key, name, first, 0)
	} else {
		_, err = d.delete(ctx, op, key, name, 0, wrong)
		if ok, other := refused(err); ok {
			caps.FencedRemove = true
			_, err = d.delete(ctx, op, key, name, second, second)
		} else if other == nil {
			// It ignored the precondition: "r" is gone, and another one must show
			// that objects can be removed at all.
			if target, err = p.write(ctx, "r", "third", nil); err != nil {
				return err
			}
			_, err = d.delete(ctx, op, key, name, target, target)
		}
	}
	if err != nil {
		caps.FencedRemove = false
		return connectors.OrAbsent(err)
	}
	left, err := d.remains(ctx, op, key, name, target)
	if err != nil {
		return err
	}
	caps.Remove = !left
	if beside != 0 {
		if caps.FencedRemove, err = d.remains(ctx, op, key, name, beside); err != nil {
			return err
		}
	}
	caps.FencedRemove = caps.FencedRemove && caps.Remove
	d.honours.remove.Set(caps.FencedRemove)
	return nil
}

// clean removes all that the probe wrote, every generation of it. What a policy
// keeps stays.
func (p *probing) clean(ctx context.Context) error {
	return connectors.Clear(ctx, "gcs.Probe", p.dir, p.d.ListVersions, func(ctx context.Context, info object.Info) error {
		gen, err := parseVersion("gcs.Probe", object.Ref{Key: info.Key, Version: info.Version})
		if err == nil {
			_, err = p.d.delete(ctx, "gcs.Probe", info.Key, p.d.root+info.Key, gen, 0)
		}
		return err
	})
}
