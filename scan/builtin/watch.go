package builtin

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// watched is the current state of the hash lists. Reading them anew is all or
// nothing.
type watched struct {
	paths []string

	mu     sync.Mutex
	cur    *lists
	files  []stamp // what cur, or the failed attempt after it, was read from
	broken string  // why the files are not what cur is
}

func (w *watched) open(paths []string) error {
	w.paths = slices.Clone(paths)
	files, err := stamps(w.paths)
	if err != nil {
		return err
	}
	l, err := read(files)
	if err != nil {
		return err
	}
	w.cur, w.files = l, files
	return nil
}

// close forgets the lists.
func (w *watched) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cur = nil
}

// state returns the lists, nil after close, and what is wrong with newer ones.
func (w *watched) state() (*lists, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cur, w.broken
}

// follow looks at the files at each interval until ctx ends. Looking is cheap,
// and works where notifications do not (NFS, renamed directories).
func (w *watched) follow(ctx context.Context, every time.Duration, log *slog.Logger) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			w.refresh(log)
		}
	}
}

func (w *watched) refresh(log *slog.Logger) {
	files, err := stamps(w.paths)
	if err == nil && slices.EqualFunc(files, w.files, stamp.same) {
		return
	}
	var l *lists
	if err == nil {
		l, err = read(files)
	}
	if err == nil { // written to while we read?
		if again, aerr := stamps(w.paths); aerr != nil || !slices.EqualFunc(files, again, stamp.same) {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.broken != err.Error() {
			log.Error("hash lists not read, the earlier ones stay", "err", err)
		}
		w.broken, w.files = err.Error(), files
		return
	}
	w.cur, w.files, w.broken = l, files, ""
	log.Info("hash lists read", "definitions", l.definitions(), "hashes", l.size())
}
