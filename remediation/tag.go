package remediation

import (
	"context"
	"slices"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// tag writes the tags. Where all but the loose ones are there already, it writes
// nothing, so that a rescan does not touch every object.
func (r *run) tag(ctx context.Context, s *Step) ([]Own, error) {
	var have map[string]string
	err := r.onSource(ctx, func(ref object.Ref) (err error) {
		have, err = r.src.Tags(ctx, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.tagged(s, have, true) {
		if !r.tagged(s, have, false) {
			s.State, s.Detail = Skipped, "the tags are there already"
		}
	} else if err := r.writeTags(ctx, s); err != nil {
		return nil, err
	}
	s.Version = r.version
	return []Own{{Unit: s.Unit, Key: string(s.Key), Version: r.version, Size: r.job.Size}}, nil
}

// tagged reports whether the tags of s are among have.
func (r *run) tagged(s *Step, have map[string]string, loosely bool) bool {
	for name, value := range s.Tags {
		got, ok := have[name]
		switch {
		case got == value && ok:
		case ok && loosely && slices.Contains(s.Loose, name):
		case ok && loosely && name == s.VersionTag && r.src.MetadataOnly(got, r.job.Version):
			// It names the version before our own tags moved the token.
		default:
			return false
		}
	}
	return true
}

func (r *run) writeTags(ctx context.Context, s *Step) error {
	tried := false
	err := r.onSource(ctx, func(ref object.Ref) error {
		tried = true
		info, err := r.src.Tag(ctx, ref, s.Tags)
		if err == nil && info.Version != "" {
			r.version = info.Version
		}
		return err
	})
	if tried && fault.Is(err, fault.Changed) {
		if undo := r.untag(ctx, s); undo != nil {
			return undo
		}
	}
	return err
}

// untag takes our tags off a version that they do not speak of: where tagging
// cannot be made conditional, they may have come to lie on the next one. It
// returns only errors after which it should be tried again.
func (r *run) untag(ctx context.Context, s *Step) error {
	now, err := r.src.Stat(ctx, object.Ref{Unit: s.Unit, Key: string(s.Key)})
	if err == nil && now.Version != r.version {
		ref := object.Ref{Unit: s.Unit, Key: string(s.Key), Version: now.Version}
		var have map[string]string
		have, err = r.src.Tags(ctx, ref)
		if err == nil && r.tagged(s, have, false) {
			off := make(map[string]string, len(s.Tags))
			for name := range s.Tags {
				off[name] = ""
			}
			_, err = r.src.Tag(ctx, ref, off)
		}
	}
	switch fault.KindOf(err) {
	case fault.Throttled, fault.Unavailable, fault.Other:
		return err // nil if there was none
	}
	return nil
}
