package remediation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// quarantine puts the scanned bytes into the vault. Its key is nobody else's, so
// the inventory hears nothing of it.
func (r *run) quarantine(ctx context.Context, s *Step) ([]Own, error) {
	if r.Vault == nil {
		return nil, fault.New(fault.Unsupported, "remediation.Quarantine", "", errors.New("no quarantine is configured"))
	}
	in, body, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info := in.Info()
	c := Caught{Name: string(s.Key), TempName: s.Aside, Entry: r.job.Entry, Unit: r.job.Unit, Key: r.job.Key, Version: r.job.Version,
		Size: r.job.Size, SHA256: r.job.SHA256, ContentType: cmp.Or(r.job.ContentType, info.ContentType), ModTime: info.ModTime, Meta: info.Meta,
		Verdict: r.job.Verdict, Threat: r.job.Report.Threat, At: r.now()}
	if s.Expiry > 0 {
		c.Expiry = time.Unix(s.Expiry, 0)
	}
	if r.src.Caps().Tag {
		c.Tags, err = r.src.Tags(ctx, r.ref())
		if err != nil && !fault.Is(err, fault.Unsupported, fault.Denied) {
			return nil, err
		}
	}
	version, err := r.Vault.Store(ctx, c, body)
	if body.err != nil {
		return nil, body.err
	}
	if err != nil {
		return nil, gone(err)
	}
	s.Version = version
	return nil, nil
}
