package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
)

// adopt watches a folder and then lists it: what came before the watch is seen
// in the list, what comes after it by the watch.
func (w *watch) adopt(ctx context.Context, t todo) error {
	if w.d.excluded(t.path) || !w.wanted(t.path) {
		return nil
	}
	fd, err := w.d.walk(t.path, unix.O_RDONLY)
	if err == nil {
		defer unix.Close(fd)
		err = w.add(t.path, fd)
	}
	switch {
	case err == nil:
	case t.path == "":
		if gone := w.d.present("file.Watch"); gone != nil {
			return gone
		}
		return fault.New(fault.Unavailable, "file.Watch", w.d.path, hint(err))
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil // no longer a folder
	case errors.Is(err, unix.EACCES):
		return nil // nothing below can be read either; a change of its mode is an event in its parent
	default:
		w.cannot(t.path, err)
		return nil
	}
	buf := make([]byte, 64<<10)
	for after, more := "", true; more; {
		var names []string
		if names, more, err = readNames(fd, buf, after, namesAtRoot, func(string) bool { return true }); err != nil {
			w.cannot(t.path, err)
			return nil
		}
		for _, name := range names {
			after = name
			key := t.path + name
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case strings.HasSuffix(name, "/"):
				w.todo = append(w.todo, todo{key, t.since})
			case w.d.excluded(key):
			case changedSince(fd, name, t.since):
				w.unsettled.poke(key, time.Now())
				if w.unsettled.len() >= batch {
					w.look(time.Now())
				}
				if err := w.flush(ctx); err != nil {
					return err
				}
			}
		}
		if more {
			if _, err := unix.Seek(fd, 0, 0); err != nil {
				w.cannot(t.path, err)
				return nil
			}
		}
	}
	return nil
}

// changedSince reports whether a file changed at that time or later.
func changedSince(dir int, name string, since time.Time) bool {
	if since.IsZero() || since == never {
		return since.IsZero()
	}
	var st unix.Stat_t
	return lstat(dir, name, &st) == nil && !time.Unix(st.Ctim.Unix()).Before(since.Add(-tick))
}

// wanted reports whether a folder is in, or leads to, what the unit watches.
func (w *watch) wanted(path string) bool {
	if w.d.parts == nil {
		return true
	}
	for _, p := range w.d.parts {
		if strings.HasPrefix(path, p) || strings.HasPrefix(p, path) {
			return true
		}
	}
	return false
}

// add watches the folder that is open as fd, unless it is watched already.
func (w *watch) add(path string, fd int) error {
	var st unix.Stat_t
	if err := do(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	if f, ok := w.folders[path]; ok {
		if f.id == identify(&st) {
			f.round = w.round
			w.folders[path] = f
			return nil
		}
		w.forget(path)
	}
	name := strings.TrimSuffix(strings.TrimSuffix(w.d.path, "/")+"/"+path, "/")
	if name == "" {
		name = "/"
	}
	if w.paths+len(name) > w.d.maxPaths {
		return fmt.Errorf("the names of the watched folders take more than %d bytes", w.d.maxPaths)
	}
	if len(name) >= unix.PathMax {
		return w.addLong(path, fd, &st)
	}
	if err := w.fs.Add(name); err != nil {
		return err
	}
	// A name is followed through links that appear at the wrong moment.
	var there unix.Stat_t
	if err := unix.Stat(name, &there); err != nil || identify(&there) != identify(&st) {
		_ = w.fs.Remove(name)
		return errors.Join(errors.New("the folder was moved while it was looked at"), err)
	}
	w.folders[path] = watched{id: identify(&st), round: w.round, name: name}
	w.paths += len(name)
	return nil
}

// addLong watches a folder whose path no system call takes: by its descriptor,
// which stays open as long as the watch.
func (w *watch) addLong(path string, fd int, st *unix.Stat_t) error {
	if len(w.long) >= maxLong {
		return fmt.Errorf("more than %d folders have a path longer than %d bytes", maxLong, unix.PathMax)
	}
	keep, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("/proc/self/fd/%d", keep)
	dir := os.NewFile(uintptr(keep), name)
	if err := w.fs.Add(name); err != nil {
		return errors.Join(err, dir.Close())
	}
	w.long[name] = longPath{key: path, dir: dir}
	w.folders[path] = watched{id: identify(st), round: w.round, name: name}
	w.paths += len(path)
	return nil
}

// forget gives up the watches of a folder and all below. "" is everything.
func (w *watch) forget(path string) {
	if _, ok := w.folders[path]; !ok {
		return // then nothing below it is watched either
	}
	for p, f := range w.folders {
		if strings.HasPrefix(p, path) {
			w.unwatch(p, f)
		}
	}
}

func (w *watch) unwatch(path string, f watched) {
	_ = w.fs.Remove(f.name) // fails where the folder is gone, and the watch with it
	delete(w.folders, path)
	w.paths -= len(f.name)
	if l, ok := w.long[f.name]; ok {
		w.paths += len(f.name) - len(path)
		delete(w.long, f.name)
		_ = l.dir.Close()
	}
}

// cannot notes a tree that has no watch. It is swept now, and every minute
// until it has one.
func (w *watch) cannot(path string, err error) {
	if len(w.unwatched) >= maxUnwatched {
		clear(w.unwatched)
		path = "" // too many to tell apart
	}
	if len(w.unwatched) == 0 {
		w.swept = time.Now() // not later than any tree's
	}
	w.unwatched[path] = err
	w.overflow(path)
	w.tell()
}

// tell keeps for Degraded what is not watched.
func (w *watch) tell() {
	if len(w.unwatched) == 0 {
		w.d.unwatched.Store(nil)
		return
	}
	for path, err := range w.unwatched {
		w.d.unwatched.Store(&degraded{fault.New(fault.Unavailable, "file.Watch", short(w.d.path+"/"+path), fmt.Errorf(
			"%d folders are swept every %v instead of being watched, this one because: %w", len(w.unwatched), sweepEvery, hint(err)))})
		return
	}
}

// hint adds what an operator can do.
func hint(err error) error {
	if errors.Is(err, unix.ENOSPC) {
		limit, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_watches")
		return fmt.Errorf("%w: the user's inotify watches are used up; raise fs.inotify.max_user_watches (now %s)", err, strings.TrimSpace(string(limit)))
	}
	return err
}
