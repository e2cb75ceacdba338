package remediation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// An Input is all that a plan is made from.
type Input struct {
	Entry    string // id
	Unit     string // the source's
	Key      string
	Version  string // that was scanned
	Workflow workflow.Workflow
	Decision workflow.Decision
	Report   scan.Report
	Verdict  scan.Verdict
	Places   map[string]Place // by unit: the source's, every destination's, the quarantine's
	// There are the destination keys that are taken, with their versions; LookUp
	// fills it in. Nil: nobody looked.
	There      map[Target]string
	Quarantine string    // the quarantine's unit, "" if there is none
	At         time.Time // goes into tags, and the quarantine's expiry counts from it
}

// A Place is what a plan must know of an open unit.
type Place struct {
	Caps     connectors.Caps
	Unfenced bool // the unit allows acts that its vendor cannot make conditional
}

// LookUp asks stat for the keys that copies are to go to and fills in There. A
// copy that an earlier run of the same entry left does not count as taken.
func (in *Input) LookUp(ctx context.Context, stat func(ctx context.Context, ref object.Ref) (object.Info, error)) error {
	there := map[Target]string{}
	in.There = nil
	plan, err := NewPlan(*in)
	if err != nil {
		return err
	}
	for _, s := range plan {
		if s.Action != Copy && s.Action != Sanitized {
			continue
		}
		names := 1
		if s.Conflict == workflow.Rename {
			names = MaxCandidates
		}
		for n := range names {
			at := Target{s.Unit, Candidate(string(s.Key), n)}
			if _, ok := there[at]; ok {
				continue
			}
			info, err := stat(ctx, object.Ref{Unit: at.Unit, Key: at.Key})
			if fault.Is(err, fault.NotFound) || err == nil && info.Meta[MetaEntry] == in.Entry {
				break
			}
			if err != nil {
				return err
			}
			there[at] = info.Version
		}
	}
	in.There = there
	return nil
}

// NewPlan says what is to be done, in order: tagging, the sanitised copy, the
// remedy for what is blocked (or the quarantine in its stead) or allowed, and at
// last the removal of the source and of the folders that it leaves empty. What
// is held is only tagged.
//
// What cannot be done safely is planned as refused, with the reason. A plan that
// removes the source is all or nothing: if the source cannot be removed under a
// fence, or one of the copies cannot be made, all of them are refused, so that
// no move turns into a copy unasked.
func NewPlan(in Input) (Plan, error) {
	src, ok := in.Places[in.Unit]
	if !ok {
		return nil, fault.New(fault.Invalid, "remediation.NewPlan", in.Unit, fmt.Errorf("nothing is known of the source's unit"))
	}
	b := builder{in: in, src: src}
	w := in.Workflow
	if w.Tagging.Enabled {
		b.tag()
	}
	if in.Decision != workflow.Held {
		b.handle()
	}
	for i := range b.plan {
		s := &b.plan[i]
		sum := sha256.Sum256([]byte(in.Entry + "\x00" + string(s.Action) + "\x00" + fmt.Sprint(i)))
		if s.Action != Tag && s.Action != Prune {
			s.Aside = "lw-" + hex.EncodeToString(sum[:12])
		}
		if s.State != Planned || !w.DryRun {
			continue
		}
		s.State, s.Detail = Skipped, "dry run: would "+s.String()
	}
	return b.plan, nil
}

type builder struct {
	in   Input
	src  Place
	plan Plan
}

func (b *builder) add(s Step) { b.plan = append(b.plan, s) }

// handle plans everything but the tags.
func (b *builder) handle() {
	w, first := b.in.Workflow, len(b.plan)
	remove, stays := false, false
	remedy, disarmed := w.Allowed, w.Sanitized
	if b.in.Decision == workflow.Blocked {
		remedy = w.Blocked
		if w.BlockedSanitized.Handling != "" {
			disarmed = w.BlockedSanitized
		}
	}
	if b.in.Report.Sanitized != nil && disarmed.Handling == workflow.Move {
		remove = !b.copies(Sanitized, disarmed)
	}
	switch {
	case b.in.Decision == workflow.Blocked && w.Quarantine.Enabled:
		b.quarantine()
		remove = true
	case remedy.Handling == workflow.Copy:
		b.copies(Copy, remedy)
	case remedy.Handling == workflow.Move:
		stays = b.copies(Copy, remedy)
		remove = true
	case remedy.Handling == workflow.Delete:
		remove = true
	}
	if !remove || stays {
		return
	}
	last := Step{Action: Remove, Unit: b.in.Unit, Key: []byte(b.in.Key), State: Planned}
	why := b.cannotRemove()
	for _, s := range b.plan[first:] {
		if why == "" && s.State == Refused {
			why = s.Detail
		}
	}
	if why != "" {
		for i := range b.plan[first:] {
			if s := &b.plan[first+i]; s.State == Planned {
				s.State, s.Detail = Refused, "nothing is copied without the removal of the source: "+why
			}
		}
		last.State, last.Detail = Refused, why
		b.add(last)
		return
	}
	last.Unfenced = !b.src.Caps.FencedRemove
	b.add(last)
	if w.DeleteEmptyFolders && b.src.Caps.Prune {
		b.add(Step{Action: Prune, Unit: b.in.Unit, Key: []byte(b.in.Key), State: Planned})
	}
}

// cannotRemove says why the source cannot be removed, or "".
func (b *builder) cannotRemove() string {
	switch {
	case !b.src.Caps.Remove:
		return fmt.Sprintf("unit %q does not let us remove objects", b.in.Unit)
	case !b.src.Caps.FencedRemove && !b.src.Unfenced:
		return fmt.Sprintf("unit %q cannot make a removal conditional on the scanned version; its option unfenced would allow it", b.in.Unit)
	}
	return ""
}

// cannotPut says why the unit cannot take a copy, or "".
func (b *builder) cannotPut(unit string) string {
	at, ok := b.in.Places[unit]
	switch {
	case !ok:
		return fmt.Sprintf("there is no unit %q", unit)
	case !at.Caps.Put:
		return fmt.Sprintf("unit %q does not let us write objects", unit)
	case !at.Caps.FencedPut && !at.Unfenced:
		return fmt.Sprintf("unit %q cannot write without the risk of replacing another object; its option unfenced would allow it", unit)
	}
	return ""
}

// copies plans a copy to each destination. stays: the source lies in one of
// them already, so a move has nothing to remove.
func (b *builder) copies(a Action, r workflow.Remedy) (stays bool) {
	conflict := r.OnConflict
	if conflict == "" {
		conflict = workflow.Rename
	}
	for _, d := range r.Destinations {
		s := Step{Action: a, Unit: d.Unit, State: Planned, Conflict: conflict}
		name := ""
		if a == Sanitized {
			name = sanitizedName(b.in.Key, b.in.Report.Sanitized.Name)
		}
		s.Key = []byte(destination(d, b.in.Key, name))
		folder := strings.Trim(d.Folder, "/") + "/"
		if d.Unit == b.in.Unit && (string(s.Key) == b.in.Key || folder != "/" && strings.HasPrefix(b.in.Key, folder)) {
			// Else a rescan of what was moved would move it deeper and deeper.
			s.State, s.Detail = Skipped, "the object lies in this destination already"
			stays = true
		} else if why := b.cannotPut(d.Unit); why != "" {
			s.State, s.Detail = Refused, why
		} else {
			s.Unfenced = !b.in.Places[d.Unit].Caps.FencedPut
			b.resolve(&s)
		}
		b.add(s)
	}
	return stays
}

// resolve applies the conflict rule to what LookUp found.
func (b *builder) resolve(s *Step) {
	if b.in.There == nil {
		return
	}
	key := string(s.Key)
	version, taken := b.in.There[s.Target()]
	// Two steps of this plan must not share a name either.
	taken = taken || b.planned(s.Target())
	switch {
	case !taken:
	case s.Conflict == workflow.Overwrite && version != "":
		s.IfThere = version
	case s.Conflict == workflow.Rename:
		for n := 1; taken; n++ {
			if n == MaxCandidates {
				s.State, s.Detail = Refused, fmt.Sprintf("%d names like %s are taken", n, object.FormatKey(key))
				return
			}
			s.Key, s.Wanted = []byte(Candidate(key, n)), []byte(key)
			_, taken = b.in.There[s.Target()]
			taken = taken || b.planned(s.Target())
		}
	default:
		s.State, s.Detail = Refused, "there is an object of this name already"
		return
	}
	s.Claimed = true
}

func (b *builder) planned(t Target) bool {
	return slices.ContainsFunc(b.plan, func(s Step) bool { return s.copies() && s.Target() == t })
}

// quarantine plans to put the object away under a name that says nothing.
func (b *builder) quarantine() {
	s := Step{Action: Put, Unit: b.in.Quarantine, Key: []byte(b.in.Entry + ".lwq"), State: Planned}
	if e := b.in.Workflow.Quarantine.Expiry; e > 0 {
		s.Expiry = b.in.At.Add(e).Unix()
	}
	if b.in.Quarantine == "" {
		s.State, s.Detail = Refused, "no quarantine is configured"
	} else if why := b.cannotPut(b.in.Quarantine); why != "" {
		s.State, s.Detail = Refused, why
	}
	b.add(s)
}

// destination returns the key of a copy: below the folder, under the same
// folders as the source or none, with the same name unless another is given. An
// element "." or "..", with which a key could leave the folder, is written in
// percent signs; an empty one is left out.
func destination(d workflow.Destination, key, name string) string {
	var elems []string
	for e := range strings.SplitSeq(key, "/") {
		switch e {
		case "":
			continue
		case ".", "..":
			e = strings.ReplaceAll(e, ".", "%2E")
		}
		elems = append(elems, e)
	}
	if len(elems) == 0 {
		elems = []string{"unnamed"}
	}
	if name != "" {
		elems[len(elems)-1] = name
	}
	if d.Flat {
		elems = elems[len(elems)-1:]
	}
	if folder := strings.Trim(d.Folder, "/"); folder != "" {
		elems = append([]string{folder}, elems...)
	}
	return strings.Join(elems, "/")
}

// sanitizedName is the name of a sanitised copy: the one that the engine
// proposes (it may have converted the file to another type), else one that
// says what it is. The engine's reply is not trusted to be a name.
func sanitizedName(key, proposed string) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == '\\' || r == '/' {
			return '_'
		}
		return r
	}, object.Base(strings.ReplaceAll(proposed, `\`, "/")))
	if name != "" && name != "." && name != ".." && len(name) <= 255 {
		return name
	}
	base := object.Base(strings.TrimRight(key, "/"))
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		return cut(base[:i], 200) + "_sanitized" + cut(base[i:], 40)
	}
	return cut(base, 200) + "_sanitized"
}
