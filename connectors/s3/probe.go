package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Probe proves below prefix what the server really does, see connectors.Prober.
// What the credentials may not do counts as absent, and is no error.
func (d *Driver) Probe(ctx context.Context, prefix string) (caps connectors.Caps, err error) {
	caps = connectors.Caps{Ordered: true, ReadIsVersion: true} // Open compares versions itself
	if err := d.learnVersioning(ctx); err != nil {
		return connectors.Caps{}, err
	}
	if d.keeps.Load() {
		_, err := d.versionsPage(ctx, cursor{prefix: d.root + prefix, limit: 1})
		caps.Versions = err == nil
	}
	p := &probing{d: d, dir: prefix + "s3-" + strings.ToLower(rand.Text()[:12]) + "/"}
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

// wrong is an ETag that no object of a probe has.
var wrong = aws.String(`"00000000000000000000000000000000"`)

// write puts an object, without looking first.
func (p *probing) write(ctx context.Context, name, content string, g guard) error {
	_, err := call(ctx, p.d, "s3.Probe", p.dir+name, p.d.client.PutObject, &s3.PutObjectInput{
		Bucket: &p.d.bucket, Key: aws.String(p.d.root + p.dir + name), Body: strings.NewReader(content), IfMatch: g.match, IfNoneMatch: g.none,
	})
	return err
}

// refused reports whether err is a failed precondition; another error is returned.
func refused(err error) (bool, error) {
	switch re := replyOf(err); {
	case err == nil:
		return false, nil
	case re != nil && re.Status == 412:
		return true, nil
	default:
		return false, err
	}
}

// put finds out whether objects can be written, and under preconditions.
func (p *probing) put(ctx context.Context, caps *connectors.Caps) error {
	if err := p.write(ctx, "a", "first", guard{}); err != nil {
		return connectors.OrAbsent(err)
	}
	caps.Put = true
	none, err := refused(p.write(ctx, "a", "second", guard{none: aws.String("*")}))
	if connectors.OrAbsent(err) != nil {
		return err
	}
	match, err := refused(p.write(ctx, "a", "third", guard{match: wrong}))
	if connectors.OrAbsent(err) != nil {
		return err
	}
	p.d.honours.put.Set(none && match)
	if err := p.complete(ctx); connectors.OrAbsent(err) != nil {
		return err
	}
	caps.FencedPut = none && match && p.d.honours.complete.Yes()
	return nil
}

// complete finds out whether completing a multipart upload has preconditions.
func (p *probing) complete(ctx context.Context) error {
	d, key := p.d, p.dir+"a"
	held := 0
	for _, g := range []guard{{none: aws.String("*")}, {match: wrong}} {
		_, _, err := d.multipart(ctx, "s3.Probe", key, &s3.CreateMultipartUploadInput{Bucket: &d.bucket, Key: aws.String(d.root + key)}, g,
			func(ctx context.Context, upload *string) ([]types.CompletedPart, error) {
				etag, err := d.putPart(ctx, key, d.root+key, upload, 1, []byte("part"))
				return []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: etag}}, err
			})
		ok, err := refused(err)
		if connectors.OrAbsent(err) != nil {
			return err
		}
		if ok {
			held++
		}
	}
	d.honours.complete.Set(held == 2)
	return nil
}

// order finds out whether listings are in byte order and go on where told.
func (p *probing) order(ctx context.Context, caps *connectors.Caps) error {
	names := []string{"o!", "o-b", "o/a", "o/b", "o0", "oa"}
	for _, n := range slices.Backward(names) {
		if err := p.write(ctx, n, n, guard{}); err != nil {
			return err
		}
	}
	ordered, err := connectors.Ordered(ctx, p.d.List, p.dir, "o", names)
	caps.Ordered = ordered
	return err
}

// tags finds out whether tags are kept, and leave the version as it is.
func (p *probing) tags(ctx context.Context, caps *connectors.Caps) error {
	before, err := p.d.Stat(ctx, object.Ref{Key: p.dir + "a"})
	if err != nil {
		return err
	}
	// Not Tag: it would take a moved version for a replaced object.
	want := map[string]string{"landwaiter-probe": "a b+c/d"}
	if err := p.d.putTags(ctx, "s3.Probe", p.dir+"a", nil, want); err != nil {
		return connectors.OrAbsent(err)
	}
	got, err := p.d.getTags(ctx, "s3.Probe", p.dir+"a", nil)
	if err != nil {
		return connectors.OrAbsent(err)
	}
	after, err := p.d.Stat(ctx, object.Ref{Key: p.dir + "a"})
	if err != nil {
		return err
	}
	caps.TagsKeepVersion = before.Version == after.Version
	caps.Tag = caps.TagsKeepVersion && len(got) == 1 && got["landwaiter-probe"] == want["landwaiter-probe"]
	return nil
}

// copies finds out whether copies look at the source and at what they replace.
func (p *probing) copies(ctx context.Context, caps *connectors.Caps) error {
	d := p.d
	in := func(to string) *s3.CopyObjectInput {
		c := copying{d: d, src: p.dir + "a"}
		return &s3.CopyObjectInput{Bucket: &d.bucket, Key: aws.String(d.root + p.dir + to), CopySource: c.source()}
	}
	_, err := call(ctx, d, "s3.Probe", p.dir+"c", d.client.CopyObject, in("c"))
	if err != nil {
		return connectors.OrAbsent(err)
	}
	caps.Copy = true
	stale := in("c-stale")
	stale.CopySourceIfMatch = wrong
	_, err = call(ctx, d, "s3.Probe", p.dir+"c", d.client.CopyObject, stale)
	if caps.FencedCopy, err = refused(err); connectors.OrAbsent(err) != nil {
		return err
	}
	none, match := in("c"), in("c")
	none.IfNoneMatch, match.IfMatch = aws.String("*"), wrong
	held := 0
	for _, in := range []*s3.CopyObjectInput{none, match} {
		_, err := call(ctx, d, "s3.Probe", p.dir+"c", d.client.CopyObject, in)
		ok, err := refused(err)
		if connectors.OrAbsent(err) != nil {
			return err
		}
		if ok {
			held++
		}
	}
	d.honours.copy.Set(held == 2)
	return nil
}

// remove finds out whether a removal takes exactly the version it names.
func (p *probing) remove(ctx context.Context, caps *connectors.Caps) error {
	d, key := p.d, p.dir+"r"
	if err := p.write(ctx, "r", "first", guard{}); err != nil {
		return err
	}
	first, err := d.find(ctx, "s3.Probe", key, version{})
	if err != nil {
		return err
	}
	if err := p.write(ctx, "r", "second", guard{}); err != nil {
		return err
	}
	second, err := d.find(ctx, "s3.Probe", key, version{})
	if err != nil {
		return err
	}
	if first.v.id != "" {
		if _, err := d.delete(ctx, "s3.Probe", key, first.id, nil); err != nil {
			return connectors.OrAbsent(err)
		}
		_, gone := d.head(ctx, "s3.Probe", key, d.root+key, first.id)
		_, err := d.find(ctx, "s3.Probe", key, second.v)
		caps.Remove = err == nil && fault.Is(gone, fault.NotFound)
		caps.FencedRemove = caps.Remove
		d.honours.remove.Set(caps.Remove)
		return nil
	}
	id := (*string)(nil)
	if d.keeps.Load() {
		id = aws.String(nullID)
	}
	if _, err = d.delete(ctx, "s3.Probe", key, id, wrong); fault.Is(err, fault.Denied) {
		return nil
	}
	_, err = refused(err)
	if connectors.OrAbsent(err) != nil {
		return err
	}
	_, still := d.find(ctx, "s3.Probe", key, second.v)
	if still != nil && !fault.Is(still, fault.NotFound) {
		return still
	}
	caps.FencedRemove = still == nil
	d.honours.remove.Set(caps.FencedRemove)
	if still == nil {
		if _, err := d.delete(ctx, "s3.Probe", key, id, second.etag); err != nil {
			return connectors.OrAbsent(err)
		}
		_, still = d.find(ctx, "s3.Probe", key, second.v)
	}
	caps.Remove = fault.Is(still, fault.NotFound)
	caps.FencedRemove = caps.FencedRemove && caps.Remove
	return nil
}

// clean removes all that the probe wrote, every version of it.
func (p *probing) clean(ctx context.Context) error {
	keeps, list := p.d.keeps.Load(), p.d.List
	if keeps {
		list = p.d.ListVersions
	}
	return connectors.Clear(ctx, "s3.Probe", p.dir, list, func(ctx context.Context, info object.Info) error {
		var id *string
		if keeps {
			v, err := parseVersion("s3.Probe", info.Key, info.Version)
			if err != nil {
				return err
			}
			if id = &v.id; v.id == "" {
				id = aws.String(nullID)
			}
		}
		_, err := p.d.delete(ctx, "s3.Probe", info.Key, id, nil)
		return err
	})
}
