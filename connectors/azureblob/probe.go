package azureblob

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Probe proves below prefix what the account really does, see
// connectors.Prober. What the credentials may not do counts as absent, and is no
// error.
func (d *Driver) Probe(ctx context.Context, prefix string) (caps connectors.Caps, err error) {
	p := &probing{d: d, dir: prefix + "azureblob-" + strings.ToLower(rand.Text()[:12]) + "/"}
	caps.Ordered = true
	defer func() { err = errors.Join(err, p.clean(ctx)) }()
	if err := p.put(ctx, &caps); err != nil || !caps.Put {
		return caps, err
	}
	for _, step := range []func(context.Context, *connectors.Caps) error{p.read, p.order, p.tags, p.copies, p.remove} {
		if err := step(ctx, &caps); err != nil {
			return connectors.Caps{}, err
		}
	}
	return caps, nil
}

// probing is a probe under way: it works on blobs in a folder of its own.
type probing struct {
	d   *Driver
	dir string
}

// wrong is an ETag that no blob has.
const wrong = "0x8D0000000000000"

// write puts a blob, without looking first, and returns its version id.
func (p *probing) write(ctx context.Context, name, content string, g guard) (id string, err error) {
	out, err := call(ctx, p.d, "azureblob.Probe", p.dir+name, func(ctx context.Context) (blockblob.UploadResponse, error) {
		body := streaming.NopCloser(strings.NewReader(content))
		return p.d.blob(p.d.root+p.dir+name).Upload(ctx, body, &blockblob.UploadOptions{AccessConditions: g.conditions()})
	})
	return str(out.VersionID), err
}

// refused reports whether err is a failed precondition; another error is
// returned, unless it means that this cannot be done here.
func refused(err error) (bool, error) {
	switch {
	case fault.Is(err, fault.Changed, fault.Exists):
		return true, nil
	default:
		return false, connectors.OrAbsent(err)
	}
}

// put finds out whether blobs can be written, and under preconditions: at once,
// and when blocks are committed. A version id tells that the account keeps them.
func (p *probing) put(ctx context.Context, caps *connectors.Caps) error {
	id, err := p.write(ctx, "a", "first", guard{})
	if err != nil {
		return connectors.OrAbsent(err)
	}
	caps.Put, caps.Versions = true, id != ""
	create, replace := guard{none: ptr(azcore.ETagAny)}, guard{match: match(wrong)}
	held := 0
	for _, g := range []guard{create, replace} {
		_, atOnce := p.write(ctx, "a", "second", g)
		commit := p.commit(ctx, g)
		for _, err := range []error{atOnce, commit} {
			ok, err := refused(err)
			if err != nil {
				return err
			}
			if ok {
				held++
			}
		}
	}
	caps.FencedPut = held == 4
	return nil
}

// commit writes a blob of one block under the guard.
func (p *probing) commit(ctx context.Context, g guard) error {
	put := putting{d: p.d, key: p.dir + "a", full: p.d.root + p.dir + "a", guard: g}
	put.src = connectors.NewContent(ctx, strings.NewReader(""), connectors.PutOptions{Size: -1})
	ids, err := put.blocks(ctx, []byte("block"))
	if err != nil {
		return err
	}
	_, err = call(ctx, p.d, "azureblob.Probe", put.key, func(ctx context.Context) (blockblob.CommitBlockListResponse, error) {
		return p.d.blob(put.full).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{AccessConditions: g.conditions()})
	})
	return err
}

// read finds out whether a read keeps to the version that it names.
func (p *probing) read(ctx context.Context, caps *connectors.Caps) error {
	r, err := p.d.Open(ctx, object.Ref{Key: p.dir + "a", Version: wrong}, 0)
	if err == nil {
		return r.Close()
	}
	caps.ReadIsVersion, err = refused(err)
	return err
}

// order finds out whether listings are in byte order and go on where told. An
// account that lists in another order is listed folder by folder from then on.
func (p *probing) order(ctx context.Context, caps *connectors.Caps) error {
	names := []string{"o!", "o-b", "o/a", "o/b", "o0", "oa"}
	for _, n := range slices.Backward(names) {
		if _, err := p.write(ctx, n, n, guard{}); err != nil {
			return err
		}
	}
	ok, err := connectors.Ordered(ctx, p.d.List, p.dir, "o", names)
	if err == nil && !ok && p.d.tree.Load() {
		ok, err = connectors.Ordered(ctx, p.d.List, p.dir, "o", names)
	}
	caps.Ordered = ok
	return err
}

// tags finds out whether tags are kept, and leave the version as it is.
func (p *probing) tags(ctx context.Context, caps *connectors.Caps) error {
	before, err := p.d.Stat(ctx, object.Ref{Key: p.dir + "a"})
	if err != nil {
		return err
	}
	ref := object.Ref{Key: p.dir + "a", Version: before.Version}
	after, err := p.d.Tag(ctx, ref, map[string]string{"LandwaiterProbe": "a b+c/d@e"})
	if err != nil {
		return connectors.OrAbsent(err)
	}
	got, err := p.d.Tags(ctx, object.Ref{Key: p.dir + "a"})
	if err != nil {
		return connectors.OrAbsent(err)
	}
	now, err := p.d.Stat(ctx, object.Ref{Key: p.dir + "a"})
	if err != nil {
		return err
	}
	caps.TagsKeepVersion = before.Version == now.Version
	caps.Tag = now.Version == after.Version && len(got) == 1 && got["LandwaiterProbe"] == "a b+c/d@e"
	return nil
}

// copies finds out whether copies look at the source and at what they replace.
func (p *probing) copies(ctx context.Context, caps *connectors.Caps) error {
	d := p.d
	f, err := d.find(ctx, "azureblob.Probe", p.dir+"a", version{})
	if err != nil {
		return err
	}
	attempt := func(to, source string, g guard) error {
		c := copying{d: d, src: p.dir + "a", f: f, key: p.dir + to, full: d.root + p.dir + to, guard: g}
		if c.f.etag = f.etag; source != "" {
			c.f.etag = source
		}
		_, err := c.run(ctx)
		return err
	}
	if err := attempt("c", "", guard{}); err != nil {
		return connectors.OrAbsent(err)
	}
	caps.Copy = true
	if caps.FencedCopy, err = refused(attempt("c-stale", wrong, guard{})); err != nil {
		return err
	}
	for _, g := range []guard{{none: ptr(azcore.ETagAny)}, {match: match(wrong)}} {
		ok, err := refused(attempt("c", "", g))
		if err != nil {
			return err
		}
		caps.FencedPut = caps.FencedPut && ok
	}
	return nil
}

// remove finds out whether a removal takes exactly the version it names.
func (p *probing) remove(ctx context.Context, caps *connectors.Caps) error {
	d, key := p.d, p.dir+"r"
	if _, err := p.write(ctx, "r", "first", guard{}); err != nil {
		return err
	}
	first, err := d.find(ctx, "azureblob.Probe", key, version{})
	if err != nil {
		return err
	}
	_, err = d.delete(ctx, "azureblob.Probe", key, "", ifMatch(wrong))
	if fault.Is(err, fault.Denied) {
		return nil
	}
	fenced, err := refused(err)
	if err != nil {
		return err
	}
	if _, err := d.Remove(ctx, object.Ref{Key: key, Version: first.info.Version}, connectors.Fence{}); err != nil && !fault.Is(err, fault.NotFound) {
		return connectors.OrAbsent(err)
	}
	_, gone := d.find(ctx, "azureblob.Probe", key, version{})
	caps.Remove = fault.Is(gone, fault.NotFound)
	caps.FencedRemove = caps.Remove && fenced
	return nil
}

// clean removes all that the probe wrote, every version of it.
func (p *probing) clean(ctx context.Context) error {
	return connectors.Clear(ctx, "azureblob.Probe", p.dir, p.d.ListVersions, func(ctx context.Context, info object.Info) error {
		_, err := p.d.Remove(ctx, object.Ref{Key: info.Key, Version: info.Version}, connectors.Fence{})
		return err
	})
}
