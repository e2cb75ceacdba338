package smb

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Bounds on what a listing holds: the entries of one folder, and less with each
// level below. A folder with more is read again for the next part.
const (
	entriesAtRoot = 64 << 10
	entriesAtLeaf = 512
	listPage      = 1024 // entries taken from the library at a time
)

// List yields every file and link in byte order of the key: the names of a folder
// are sorted as if folders ended in '/'. A folder that cannot be read is a
// *connectors.Gap; a connection that is lost ends the listing. What the token
// says of a file that somebody writes to may be older than what Stat says.
func (d *Driver) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		const op = "smb.List"
		if err := d.present(ctx, op); err != nil {
			yield(object.Info{}, err)
			return
		}
		top := prefix[:strings.LastIndexByte(prefix, '/')+1]
		if top != "" {
			if d.check(op, top[:len(top)-1]) != nil {
				return // no key has such a prefix
			}
			switch err := d.spell(ctx, op, top); {
			case fault.Is(err, fault.NotFound) || fault.ReasonOf(err) == "not_regular":
				return
			case fault.Is(err, fault.Denied):
				yield(object.Info{}, &connectors.Gap{Prefix: top, Err: err})
				return
			case err != nil:
				yield(object.Info{}, err)
				return
			}
		}
		l := &listing{d: d, ctx: ctx, prefix: prefix, start: start, yield: yield}
		if !l.folder(top, 0) {
			return
		}
		// What vanished meanwhile may have vanished with the whole folder.
		if err := d.present(ctx, op); err != nil {
			yield(object.Info{}, err)
		}
	}
}

type listing struct {
	d             *Driver
	ctx           context.Context // of List
	prefix, start string
	yield         func(object.Info, error) bool
}

// An entry of a folder. The names of folders that are gone into end in '/'.
type entry struct {
	name string
	st   stat
}

// wants reports whether name, in the folder path, may be or lead to a key that
// is asked for.
func (l *listing) wants(path, name string) bool {
	key := path + name
	if strings.HasSuffix(name, "/") {
		return (strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)) && (key > l.start || strings.HasPrefix(l.start, key))
	}
	return key > l.start && strings.HasPrefix(key, l.prefix) && !l.d.working(key)
}

// folder lists what is below path ("" or ending in '/'). It returns false when
// the listing is over. No handle stays open while it goes deeper or yields.
func (l *listing) folder(path string, depth int) bool {
	for after, more := "", true; more; {
		p, err := l.page(path, after, max(entriesAtLeaf, entriesAtRoot>>min(depth, 20)))
		switch {
		case err == nil:
		case path == "" || fault.Canceled(err) || fault.Is(err, fault.Unavailable, fault.Throttled, fault.Other):
			l.yield(object.Info{}, err)
			return false
		case fault.Is(err, fault.NotFound) || fault.ReasonOf(err) == "not_regular":
			return true // no longer a folder: not there to be listed
		default:
			return l.yield(object.Info{}, &connectors.Gap{Prefix: path, Err: err})
		}
		more = p.more
		for _, e := range p.entries {
			if err := l.ctx.Err(); err != nil {
				l.yield(object.Info{}, err)
				return false
			}
			after = e.name
			l.d.spelled.add(path + e.name)
			if strings.HasSuffix(e.name, "/") {
				if !l.folder(path+e.name, depth+1) {
					return false
				}
				continue
			}
			i := e.st.info(path + e.name)
			if checkName(e.name) != nil {
				i.Kind = object.Special // it has no name by which SMB would open it, and not another
			}
			if !l.yield(i, nil) {
				return false
			}
		}
	}
	return true
}

// A page is a part of a folder, sorted by name.
type page struct {
	entries []entry
	more    bool // there are further ones
}

// page returns what comes after after in a folder and is wanted: at most about
// budget entries.
func (l *listing) page(path, after string, budget int) (p page, err error) {
	byName := func(a, b entry) int { return cmp.Compare(a.name, b.name) }
	last := ""
	err = l.d.each(l.ctx, "smb.List", path, func(st stat) bool {
		name := st.FileName
		if st.folder() && st.kind() == object.Regular {
			name += "/"
		}
		if name <= after || p.more && name > last || !l.wants(path, name) {
			return true
		}
		p.entries = append(p.entries, entry{name, st})
		if len(p.entries) > budget {
			// Keep the smaller half; what is larger comes with the next reading.
			slices.SortFunc(p.entries, byName)
			p.entries = slices.Delete(p.entries, max(1, len(p.entries)/2), len(p.entries))
			last, p.more = p.entries[len(p.entries)-1].name, true
		}
		return true
	})
	slices.SortFunc(p.entries, byName)
	return p, err
}

// each calls f with what is in the folder of that key, in no order, until f has
// seen enough.
func (d *Driver) each(ctx context.Context, op, key string, f func(stat) (more bool)) (err error) {
	l, err := d.session(ctx, op, key)
	if err != nil {
		return err
	}
	defer l.release()
	defer func() { err = wrap(op, d.on(key), err) }()
	path := d.path(key)
	dir, err := call(ctx, l, closeFile, func(sh *smb2.Share) (*smb2.File, error) { return sh.Open(path) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.closeFile(ctx, l, dir)) }()
	for {
		found, err := call(ctx, l, nil, func(*smb2.Share) ([]os.FileInfo, error) { return dir.Readdir(listPage) })
		if len(found) == 0 || err != nil {
			return ignoreEOF(err)
		}
		for _, fi := range found {
			st, err := told(fi, nil)
			if err != nil || !f(st) {
				return err
			}
		}
	}
}
