package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Bounds and intervals of a watch.
const (
	queued       = 8192                  // events between the reader and the loop; the kernel holds 16,384 more
	batch        = 500                   // events in one Emit
	maxUnsettled = 100_000               // files waited for; beyond that they are emitted as they are
	maxPaths     = 64 << 20              // bytes of the names of watched folders
	maxLong      = 256                   // watched folders whose path is longer than PATH_MAX: each takes a descriptor
	maxUnwatched = 1000                  // trees without a watch that are told apart
	rootEvery    = 2 * time.Second       // between looks whether the root is still there
	sweepEvery   = time.Minute           // between sweeps of a tree that cannot be watched
	healEvery    = time.Second           // between two healings of an overflow
	tick         = 10 * time.Millisecond // the coarsest clock that stamps files
)

// Watch delivers what happens in the folder and below: a Look when a file is
// fully written or its metadata moved, a Delete when a name goes. It has no
// cursor: it begins with what changed since Open or the last Watch, and what
// happened before is for the sweep. So is what the kernel dropped, which an event with the cause "overflow" names. Folders
// that cannot be watched (fs.inotify.max_user_watches) are named the same way
// every minute, and Degraded tells why. fault.NotFound: the unit's folder is
// gone, or another is in its place.
//
// One goroutine does everything; fsnotify's reader is the only other. While
// Emit blocks, events wait in the kernel.
func (d *Driver) Watch(ctx context.Context, _ string, emit connectors.Emit) error {
	const op = "file.Watch"
	fs, err := fsnotify.NewBufferedWatcher(queued)
	if err != nil {
		return fault.New(fault.Unavailable, op, d.path, fmt.Errorf("%w (see fs.inotify.max_user_instances)", err))
	}
	w := &watch{d: d, fs: fs, emit: emit, folders: map[string]watched{}, long: map[string]longPath{},
		unwatched: map[string]error{}, unsettled: newUnsettled(), todo: []todo{{path: "", since: *d.blind.Load()}}}
	err = w.run(ctx)
	now := time.Now()
	d.blind.Store(&now)
	w.forget("")
	d.unwatched.Store(nil)
	if cerr := fs.Close(); err == nil && cerr != nil {
		err = wrap(op, d.path, cerr)
	}
	return err
}

// Degraded says which folders the running watch cannot watch, and why, and who
// has taken the private folder's names.
func (d *Driver) Degraded() error {
	err := d.strangers()
	if g := d.unwatched.Load(); g != nil {
		err = errors.Join(err, g.err)
	}
	return err
}

type degraded struct{ err error }

// A watch is the state of one Watch. Folders' keys are "" or end in '/'.
type watch struct {
	d    *Driver
	fs   *fsnotify.Watcher
	emit connectors.Emit

	folders   map[string]watched
	paths     int                 // bytes of their names
	long      map[string]longPath // by the name that fsnotify knows it by
	unwatched map[string]error    // trees
	todo      []todo              // folders to look at, the last first
	round     int                 // of healing
	healing   bool                // todo is a healing
	lost      bool                // events were: heal as soon as may be
	healed    time.Time           // when last
	rooted    time.Time           // when the root was last looked at
	swept     time.Time           // when unwatched trees were last told

	unsettled *unsettled
	out       []object.Event
}

// A watched folder.
type watched struct {
	id    identity
	round int
	name  string // that fsnotify knows it by
}

// A longPath is a folder that only a descriptor can name.
type longPath struct {
	key string
	dir *os.File
}

// todo is a folder to be watched. Those of its files that changed since then
// are looked at: the zero time is all of them.
type todo struct {
	path  string
	since time.Time
}

// never is when no file was changed: a sweep looks at them.
var never = time.Unix(1<<40, 0)

func (w *watch) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if err := w.periodic(now); err != nil {
			return err
		}
		// A folder at a time, so that events are taken in between.
		if n := len(w.todo); n > 0 {
			next := w.todo[n-1]
			w.todo = w.todo[:n-1]
			if err := w.adopt(ctx, next); err != nil {
				return err
			}
		}
		w.look(time.Now())
		if err := w.flush(ctx); err != nil {
			return err
		}
		timer.Reset(w.wait())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-w.fs.Events:
			if err := w.take(ev, ok); err != nil {
				return err
			}
		case err, ok := <-w.fs.Errors:
			if err := w.trouble(err, ok); err != nil {
				return err
			}
		case <-timer.C:
		}
		// What else is there by now belongs to the same batch.
		for more := true; more && len(w.out) < batch; {
			select {
			case ev, ok := <-w.fs.Events:
				if err := w.take(ev, ok); err != nil {
					return err
				}
			case err, ok := <-w.fs.Errors:
				if err := w.trouble(err, ok); err != nil {
					return err
				}
			default:
				more = false
			}
		}
	}
}

// wait is how long the loop may sleep.
func (w *watch) wait() time.Duration {
	if len(w.todo) > 0 {
		return 0
	}
	next := w.rooted.Add(rootEvery)
	if w.lost {
		next = earlier(next, w.healed.Add(healEvery))
	}
	if due, ok := w.unsettled.next(); ok {
		next = earlier(next, due)
	}
	return max(0, time.Until(next))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// periodic does what is due by the clock alone.
func (w *watch) periodic(now time.Time) error {
	if now.Sub(w.rooted) >= rootEvery {
		if err := w.d.present("file.Watch"); err != nil {
			return err
		}
		w.rooted = now
	}
	if len(w.todo) == 0 {
		if w.healing {
			w.endHealing()
		}
		if len(w.unwatched) == 0 {
			w.tell()
		}
	}
	if w.lost && !w.healing && len(w.todo) == 0 && now.Sub(w.healed) >= healEvery {
		w.lost, w.healing, w.round = false, true, w.round+1
		w.todo = append(w.todo, todo{"", never})
	}
	if len(w.unwatched) > 0 && now.Sub(w.swept) >= sweepEvery {
		// The last sweep saw what had changed before it; if the watch fails again,
		// cannot has the tree swept again.
		for path := range w.unwatched {
			w.todo = append(w.todo, todo{path, w.swept})
		}
		clear(w.unwatched)
		w.swept = now
	}
	return nil
}

// endHealing drops the folders that the healing did not meet, and has the unit
// swept: by now every folder is watched again, so nothing can slip between.
func (w *watch) endHealing() {
	w.healing, w.healed = false, time.Now()
	for path, f := range w.folders {
		if f.round != w.round && path != "" {
			w.unwatch(path, f)
		}
	}
	w.overflow("")
}

func (w *watch) overflow(prefix string) {
	w.out = append(w.out, object.Event{Ref: object.Ref{Unit: w.d.unit, Key: prefix}, Op: object.Look, Size: -1, Time: time.Now().UTC(), Cause: "overflow"})
}

// flush emits what came together.
func (w *watch) flush(ctx context.Context) error {
	for len(w.out) > 0 {
		n := min(len(w.out), batch)
		if err := w.emit(ctx, w.out[:n:n], ""); err != nil {
			return err
		}
		w.out = w.out[n:]
	}
	w.out = nil // the receiver may keep the slice
	return nil
}

// trouble takes an error of fsnotify: an overflow of its queue, or a failure to
// read, which loses events too.
func (w *watch) trouble(err error, ok bool) error {
	if !ok {
		return fault.New(fault.Unavailable, "file.Watch", w.d.path, errors.New("the kernel's notifications ended"))
	}
	if err != nil {
		w.lost = true
	}
	return nil
}

// take takes an event of fsnotify.
func (w *watch) take(ev fsnotify.Event, ok bool) error {
	if !ok {
		return fault.New(fault.Unavailable, "file.Watch", w.d.path, errors.New("the kernel's notifications ended"))
	}
	key, ok := w.key(ev.Name)
	gone := ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename)
	switch {
	case !ok:
	case key == "" && gone:
		w.rooted = time.Time{} // have it looked at now
		if err := w.d.present("file.Watch"); err != nil {
			return err
		}
	case key == "" || w.d.excluded(key) && !reserved(key):
	case gone: // also of a private folder's names: a stranger's may have given way to ours
		w.gone(key, ev.Has(fsnotify.Rename))
	case w.d.excluded(key):
		w.forget(key + "/")
	default:
		if ev.Has(fsnotify.Create) {
			w.forget(key + "/") // whatever had that name is another folder
		}
		w.unsettled.poke(key, time.Now())
	}
	return nil
}

// key turns a name of fsnotify's into a key. Events that it could not tell the
// folder of have no name.
func (w *watch) key(name string) (string, bool) {
	if rest, ok := strings.CutPrefix(name, w.d.path); ok && (rest == "" || rest[0] == '/') {
		return strings.TrimPrefix(rest, "/"), true
	}
	if w.d.path == "/" {
		return strings.TrimPrefix(name, "/"), name != ""
	}
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		if l, ok := w.long[name[:i]]; ok {
			return l.key + name[i+1:], true
		}
	}
	return "", false
}

// gone takes a name that was removed or moved away. By now it may be another's:
// an exchange of two names ends with a move away from one that is still there.
func (w *watch) gone(key string, moved bool) {
	w.unsettled.forget(key)
	if w.d.there(key) {
		defer w.unsettled.poke(key, time.Now())
		if _, ok := w.folders[key+"/"]; !ok && !w.partly(key+"/") {
			return
		}
	}
	if _, ok := w.folders[key+"/"]; ok || w.partly(key+"/") {
		w.forget(key + "/")
		if moved {
			w.overflow(key + "/") // only the sweep knows what was below
		}
		return
	}
	w.out = append(w.out, object.Event{Ref: object.Ref{Unit: w.d.unit, Key: key}, Op: object.Delete, Size: -1, Time: time.Now().UTC(), Cause: "watch"})
}

// partly reports whether a folder is in, or holds, a tree without a watch.
func (w *watch) partly(path string) bool {
	for tree := range w.unwatched {
		if strings.HasPrefix(path, tree) || strings.HasPrefix(tree, path) {
			return true
		}
	}
	return false
}

// look looks at the files that are due.
func (w *watch) look(now time.Time) {
	for len(w.out) < batch {
		f := w.unsettled.due(now)
		if f == nil {
			return
		}
		kind, st, err := w.d.writing(f.key)
		switch {
		case fault.Is(err, fault.NotFound, fault.Invalid):
			w.unsettled.drop(f.key) // gone: its Delete is on the way
		case err != nil: // whoever looks closer will be told
			w.out = append(w.out, object.Event{Ref: object.Ref{Unit: w.d.unit, Key: f.key}, Op: object.Look, Size: -1, Time: now.UTC(), Cause: "watch"})
			w.unsettled.drop(f.key)
		case folder(&st):
			w.unsettled.drop(f.key)
			if _, known := w.folders[f.key+"/"]; !known && !w.partly(f.key+"/") {
				w.todo = append(w.todo, todo{path: f.key + "/"})
			}
		case !regular(&st) || w.unsettled.settled(f, kind, token(&st), w.d.young(&st, time.Now()), w.d.window(f.key), w.d.settleMax, now):
			if w.unsettled.fresh(f.key, token(&st)) {
				w.out = append(w.out, w.event(f.key, &st, now))
			}
			w.unsettled.drop(f.key)
		}
	}
}

func (w *watch) event(key string, st *unix.Stat_t, now time.Time) object.Event {
	return object.Event{Ref: object.Ref{Unit: w.d.unit, Key: key, Version: token(st)}, Op: object.Look, Size: st.Size, Time: now.UTC(), Cause: "watch"}
}
