package remediation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// copy brings the scanned bytes to a destination; a move is this and a removal.
func (r *run) copy(ctx context.Context, i int, s *Step) ([]Own, error) {
	c := content{size: r.job.Size, sum: r.job.SHA256}
	c.write = func(ctx context.Context, dst Storage, ifVersion string) (object.Info, error) {
		if caps := dst.Caps(); s.Unit == r.job.Unit && caps.Copy && caps.FencedCopy {
			info, err := r.within(ctx, dst, s, ifVersion)
			if !fault.Is(err, fault.Unsupported) {
				return info, err
			}
		}
		return r.across(ctx, dst, s, ifVersion)
	}
	return r.land(ctx, i, s, c)
}

// within copies inside the unit, without the bytes passing through us, and
// reads the copy back: what the plan promises is the hash, not the vendor's word.
func (r *run) within(ctx context.Context, dst Storage, s *Step, ifVersion string) (info object.Info, err error) {
	err = r.onSource(ctx, func(ref object.Ref) error {
		info, err = dst.Copy(ctx, ref, string(s.Key), connectors.PutOptions{IfVersion: ifVersion, Size: r.job.Size, SHA256: r.job.SHA256,
			Meta: r.marks(r.job.SHA256), ContentType: r.job.ContentType, TempName: s.Aside})
		if fault.Is(err, fault.Changed) && ifVersion != "" {
			// Of the two conditions, was it the source's that failed?
			if _, at := r.src.Stat(ctx, ref); at == nil {
				return replaced(s)
			}
		}
		return err
	})
	if err != nil {
		return info, err
	}
	made := object.Ref{Unit: s.Unit, Key: string(s.Key), Version: info.Version}
	sum, err := hashOf(ctx, dst, made, r.job.Size)
	if err != nil {
		return info, lost(err)
	}
	if !bytes.Equal(sum, r.job.SHA256) {
		_, err := dst.Remove(ctx, made, connectors.Fence{Aside: s.Aside, SHA256: sum})
		return info, errors.Join(fault.New(fault.Changed, "remediation.Copy", made.String(),
			errors.New("the copy that the vendor made does not have the scanned bytes")), err)
	}
	return info, nil
}

// across streams the source to a destination anywhere, with its metadata, and
// with its tags where both ends have such.
func (r *run) across(ctx context.Context, dst Storage, s *Step, ifVersion string) (object.Info, error) {
	in, body, err := r.open(ctx)
	if err != nil {
		return object.Info{}, err
	}
	defer in.Close()
	opt := connectors.PutOptions{IfVersion: ifVersion, Size: r.job.Size, SHA256: r.job.SHA256,
		ContentType: cmp.Or(r.job.ContentType, in.Info().ContentType), TempName: s.Aside}
	var dropped int
	opt.Meta, dropped = portable(in.Info().Meta, maxMeta, 2<<10)
	for name, v := range r.marks(r.job.SHA256) {
		opt.Meta[name] = v
	}
	if r.src.Caps().Tag && dst.Caps().Tag {
		tags, err := r.src.Tags(ctx, r.ref())
		if err != nil && !fault.Is(err, fault.Unsupported, fault.Denied) {
			return object.Info{}, err
		}
		var lost int
		opt.Tags, lost = portable(tags, maxTags, 4<<10)
		dropped += lost
	}
	if dropped > 0 {
		s.Detail = fmt.Sprintf("%d tags or metadata of the source were left out: not every vendor can hold them", dropped)
	}
	info, err := dst.Put(ctx, string(s.Key), body, opt)
	return info, body.after(written(s, ifVersion, err))
}

// sanitized brings the engine's disarmed copy to a destination.
func (r *run) sanitized(ctx context.Context, i int, s *Step) ([]Own, error) {
	rep := r.job.Report
	if r.Sanitizer == nil || rep.Sanitized == nil {
		return nil, fault.New(fault.Unsupported, "remediation.Sanitized", "", errors.New("no engine hands out a sanitized copy"))
	}
	size, sum, err := r.measure(ctx, s)
	if err != nil {
		return nil, engine(err)
	}
	c := content{size: size, sum: sum}
	c.write = func(ctx context.Context, dst Storage, ifVersion string) (object.Info, error) {
		in, err := r.Sanitizer.OpenSanitized(ctx, rep)
		if err != nil {
			return object.Info{}, engine(err)
		}
		defer in.Close()
		body := check(in, size, sum)
		info, err := dst.Put(ctx, string(s.Key), body, connectors.PutOptions{IfVersion: ifVersion, Size: size, SHA256: sum, Meta: r.marks(sum), TempName: s.Aside})
		if body.err != nil {
			return info, engine(body.err)
		}
		return info, body.after(written(s, ifVersion, err))
	}
	return r.land(ctx, i, s, c)
}

// measure reads the sanitised copy once to learn its size and hash: engines
// need not tell them, and stores want them before the first byte. It takes no
// more than the source's size four times over and 64 MiB.
func (r *run) measure(ctx context.Context, s *Step) (int64, []byte, error) {
	in, err := r.Sanitizer.OpenSanitized(ctx, r.job.Report)
	if err != nil {
		return 0, nil, err
	}
	defer in.Close()
	most := 4*r.job.Size + 64<<20
	h := sha256.New()
	size, err := io.Copy(h, io.LimitReader(in, most+1))
	if err != nil {
		return 0, nil, err
	}
	if size > most {
		return 0, nil, fault.New(fault.Corrupt, "remediation.Sanitized", "", fmt.Errorf("the sanitized copy has more than %d bytes", most))
	}
	sum, told := h.Sum(nil), r.job.Report.Sanitized
	if told.SHA256 != "" && told.SHA256 != hex.EncodeToString(sum) || told.Size > 0 && told.Size != size {
		return 0, nil, fault.New(fault.Corrupt, "remediation.Sanitized", "", errors.New("the sanitized copy is not the one that was reported"))
	}
	s.SHA256 = sum
	return size, sum, nil
}

// engine says of an engine's error what a step must know: that the engine has
// lost, or changed, its copy is nothing that befell the source.
func engine(err error) error {
	if fault.Is(err, fault.NotFound, fault.Changed) {
		return fault.New(fault.Corrupt, "remediation.Sanitized", "", err)
	}
	return err
}

// written says of a destination's error what a step must know: that the version
// to be replaced is not there any more, or that bytes were lost on the way.
func written(s *Step, ifVersion string, err error) error {
	if ifVersion != "" && fault.Is(err, fault.Changed, fault.NotFound) {
		return replaced(s)
	}
	return gone(err)
}

// marks are the metadata on what the plan writes.
func (r *run) marks(sum []byte) map[string]string {
	return map[string]string{MetaEntry: r.job.Entry, MetaSHA256: hex.EncodeToString(sum)}
}
