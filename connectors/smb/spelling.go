package smb

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// A server answers to every spelling of a name, and to the short one that it
// made up for DOS; the library does not say which is stored. So a key, and each
// folder on its way, is looked up in its folder once, unless a listing told it,
// and the answer is remembered for a minute. On the way no folder is a reparse
// point.

// Bounds of what is remembered.
const (
	spellingsFor  = time.Minute
	spellingsMost = 32_768 // in each of two generations; 8 bytes each
)

// spellings remembers keys, and folders' keys with '/', that are spelled as the
// server stores them, by their hash.
type spellings struct {
	mu       sync.Mutex
	seed     maphash.Seed
	now, old map[uint64]struct{}
	since    time.Time
}

func (s *spellings) turn() {
	if s.now == nil || len(s.now) >= spellingsMost || time.Since(s.since) > spellingsFor/2 {
		if s.now == nil {
			s.seed = maphash.MakeSeed()
		}
		if s.old = s.now; time.Since(s.since) > spellingsFor {
			s.old = nil
		}
		s.now, s.since = make(map[uint64]struct{}), time.Now()
	}
}

func (s *spellings) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	s.now[maphash.String(s.seed, key)] = struct{}{}
}

func (s *spellings) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	h := maphash.String(s.seed, key)
	_, now := s.now[h]
	_, old := s.old[h]
	return now || old
}

// lookup describes what the server has under key, in whatever spelling. A key
// that the server spells otherwise, or a folder, is fault.NotFound.
func (d *Driver) lookup(ctx context.Context, op, key string) (stat, error) {
	if err := d.check(op, key); err != nil {
		return stat{}, err
	}
	st, err := d.lstat(ctx, op, key)
	if err != nil {
		return st, err
	}
	if st.folder() && st.kind() == object.Regular {
		return st, fault.New(fault.NotFound, op, short(key), errors.New("it is a folder"))
	}
	return st, d.spell(ctx, op, key)
}

// lstat describes the file or folder of that key itself, not what it leads to.
func (d *Driver) lstat(ctx context.Context, op, key string) (stat, error) {
	return do(ctx, d, op, key, nil, func(sh *smb2.Share) (stat, error) {
		if d.path(key) == "" { // the share itself
			return told(sh.Stat(""))
		}
		return told(sh.Lstat(d.path(key)))
	})
}

func told(fi os.FileInfo, err error) (stat, error) {
	if err != nil {
		return stat{}, err
	}
	st, ok := fi.Sys().(*smb2.FileStat)
	if !ok {
		return stat{}, fmt.Errorf("the library described a file by a %T", fi.Sys())
	}
	return stat{st}, nil
}

// spell returns fault.NotFound unless the server stores key, or a folder's key
// with '/', in just that spelling.
func (d *Driver) spell(ctx context.Context, op, key string) error {
	if key == "" || d.spelled.has(key) {
		return nil
	}
	name := object.Base(strings.TrimSuffix(key, "/"))
	dir := strings.TrimSuffix(key, "/")
	dir = dir[:len(dir)-len(name)]
	if err := d.spell(ctx, op, dir); err != nil {
		return err
	}
	if strings.HasSuffix(key, "/") {
		st, err := d.lstat(ctx, op, key)
		if err != nil {
			return err
		}
		if st.kind() != object.Regular {
			return notRegular(op, key)
		}
	}
	found, err := d.holds(ctx, op, dir, name)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.NotFound, op, short(key), errors.New("the server spells it otherwise"))
	}
	d.spelled.add(key)
	return nil
}

// almost returns a pattern for the library that matches name and little else.
func almost(name string) (string, bool) {
	pattern := strings.NewReplacer("[", "?", "]", "?").Replace(name)
	if pattern == name {
		r, n := utf8.DecodeLastRuneInString(name)
		if r > 0xffff { // two units to the server, one rune to the library
			return "", false
		}
		pattern = name[:len(name)-n] + "?"
	}
	return pattern, true
}

// holds reports whether the folder of that key holds just that name.
func (d *Driver) holds(ctx context.Context, op, dir, name string) (found bool, err error) {
	if pattern, ok := almost(name); ok && !strings.ContainsAny(d.path(dir), "[]") {
		// The server's answer is short. The library keeps errors of it to itself, so
		// that only a yes counts.
		found, err = do(ctx, d, op, dir+name, nil, func(sh *smb2.Share) (bool, error) {
			there, err := sh.Glob(strings.TrimPrefix(d.path(dir)+`\`+pattern, `\`))
			return err == nil && slices.ContainsFunc(there, func(path string) bool { return path[strings.LastIndexByte(path, '\\')+1:] == name }), nil
		})
		if found || err != nil {
			return found, err
		}
	}
	err = d.each(ctx, op, dir, func(st stat) bool { found = st.FileName == name; return !found })
	return found, err
}
