package builtin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan/archive"
)

// maxLine bounds a line of a hash list, maxName a threat's name.
const (
	maxLine = 4096
	maxName = 128
)

// listName is the threat of a hash that the list gives no name.
const listName = "Hash-List"

// A row is a digest and where its meaning is.
type row[D comparable] struct {
	sum  D
	mean uint32
}

// A meaning is what a digest stands for. Rows share it where they can.
type meaning struct {
	name string
	size int64 // -1 = any
}

// lists are the hash lists as of one moment; they do not change. A SHA-256
// takes 36 bytes, and its name what it needs unless another row has it too.
type lists struct {
	md5    []row[[16]byte]
	sha1   []row[[20]byte]
	sha256 []row[[32]byte]
	means  []meaning
	id     string    // of all content
	newest time.Time // change time of the newest file
}

func (l *lists) digests() archive.Digests {
	var d archive.Digests
	if len(l.md5) > 0 {
		d |= archive.MD5
	}
	if len(l.sha1) > 0 {
		d |= archive.SHA1
	}
	if len(l.sha256) > 0 {
		d |= archive.SHA256
	}
	return d
}

// match returns the name under which a content of those sums and size is
// listed.
func (l *lists) match(s *archive.Sums, size int64) (string, bool) {
	if s.Has&archive.SHA256 != 0 {
		if name, ok := find(l.sha256, s.SHA256[:], l.means, size, sum32); ok {
			return name, true
		}
	}
	if s.Has&archive.SHA1 != 0 {
		if name, ok := find(l.sha1, s.SHA1[:], l.means, size, sum20); ok {
			return name, true
		}
	}
	if s.Has&archive.MD5 != 0 {
		return find(l.md5, s.MD5[:], l.means, size, sum16)
	}
	return "", false
}

func sum16(r *row[[16]byte]) []byte { return r.sum[:] }
func sum20(r *row[[20]byte]) []byte { return r.sum[:] }
func sum32(r *row[[32]byte]) []byte { return r.sum[:] }

// find searches sorted rows. One digest may be listed with several sizes.
func find[D comparable](rows []row[D], sum []byte, means []meaning, size int64, of func(*row[D]) []byte) (string, bool) {
	i, _ := slices.BinarySearchFunc(rows, sum, func(r row[D], sum []byte) int { return bytes.Compare(of(&r), sum) })
	for ; i < len(rows) && bytes.Equal(of(&rows[i]), sum); i++ {
		if m := &means[rows[i].mean]; m.size < 0 || m.size == size {
			return m.name, true
		}
	}
	return "", false
}

// stamp tells whether a list's file is still the one that was read.
type stamp struct {
	path  string
	info  os.FileInfo
	mtime time.Time
	size  int64
}

func (s stamp) same(t stamp) bool {
	return s.path == t.path && s.size == t.size && s.mtime.Equal(t.mtime) && os.SameFile(s.info, t.info)
}

// stamps returns the files that paths name, in order; a directory stands for
// the regular files in it whose names do not begin with a dot.
func stamps(paths []string) ([]stamp, error) {
	var out []stamp
	add := func(path string) error {
		fi, err := os.Stat(path)
		if err != nil {
			return fault.New(kindOf(err), "builtin.lists", path, err)
		}
		out = append(out, stamp{path, fi, fi.ModTime(), fi.Size()})
		return nil
	}
	for _, p := range paths {
		if err := add(p); err != nil {
			return nil, err
		}
		dir := out[len(out)-1]
		if !dir.info.IsDir() {
			continue
		}
		out = out[:len(out)-1]
		entries, err := os.ReadDir(p)
		if err != nil {
			return nil, fault.New(kindOf(err), "builtin.lists", p, err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
				continue
			}
			if err := add(filepath.Join(p, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func kindOf(err error) fault.Kind {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fault.NotFound
	case errors.Is(err, os.ErrPermission):
		return fault.Denied
	}
	return fault.Other
}

// read reads all files, or none: its error names file and line.
func read(files []stamp) (*lists, error) {
	l := &lists{}
	known := map[meaning]uint32{}
	sum := sha256.New()
	for _, f := range files {
		if !f.info.Mode().IsRegular() {
			return nil, fault.New(fault.Invalid, "builtin.lists", f.path, errors.New("not a regular file"))
		}
		if err := l.readFile(f.path, io.Writer(sum), known); err != nil {
			return nil, err
		}
		if f.mtime.After(l.newest) {
			l.newest = f.mtime
		}
	}
	sortRows(l.md5, sum16)
	sortRows(l.sha1, sum20)
	sortRows(l.sha256, sum32)
	if len(files) > 0 {
		l.id = hex.EncodeToString(sum.Sum(nil)[:8])
	}
	return l, nil
}

func sortRows[D comparable](rows []row[D], of func(*row[D]) []byte) {
	slices.SortStableFunc(rows, func(a, b row[D]) int { return bytes.Compare(of(&a), of(&b)) })
}

func (l *lists) readFile(path string, sum io.Writer, known map[meaning]uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.New(kindOf(err), "builtin.lists", path, err)
	}
	defer f.Close()
	sc := bufio.NewScanner(io.TeeReader(f, sum))
	sc.Buffer(make([]byte, maxLine), maxLine)
	n := 0
	for sc.Scan() {
		n++
		if err := l.line(strings.TrimSpace(sc.Text()), known); err != nil {
			return fault.New(fault.Invalid, "builtin.lists", fmt.Sprintf("%s:%d", path, n), err)
		}
	}
	if err := sc.Err(); err != nil {
		return fault.New(fault.Invalid, "builtin.lists", fmt.Sprintf("%s:%d", path, n+1), err)
	}
	return nil
}

// line takes one line: a digest, and a name if there is one, parted by space
// (sha256sum's output is such a list), or ClamAV's hash:size:name of .hdb and
// .hsb, whose further fields say which of its versions want the line.
// https://docs.clamav.net/manual/Signatures/HashSignatures.html
func (l *lists) line(s string, known map[meaning]uint32) error {
	if s == "" || s[0] == '#' {
		return nil
	}
	m := meaning{name: listName, size: -1}
	digest, rest, _ := strings.Cut(s, " ")
	if d, r, ok := strings.Cut(digest, "\t"); ok {
		digest, rest = d, r+" "+rest
	}
	if strings.Contains(digest, ":") {
		part := strings.Split(s, ":")
		if len(part) < 3 || len(part) > 5 || part[2] == "" {
			return errors.New("want hash:size:name")
		}
		digest, rest = part[0], part[2]
		if part[1] != "*" {
			size, err := strconv.ParseInt(part[1], 10, 64)
			if err != nil || size < 0 {
				return fmt.Errorf("size %.20q", part[1])
			}
			m.size = size
		}
	}
	if name := strings.TrimPrefix(strings.TrimSpace(rest), "*"); name != "" {
		m.name = printable(name)
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		return fmt.Errorf("no digest: %.20q", digest)
	}
	i, ok := known[m]
	if !ok {
		i = uint32(len(l.means))
		known[m] = i
		l.means = append(l.means, m)
	}
	switch len(raw) {
	case 16:
		l.md5 = append(l.md5, row[[16]byte]{[16]byte(raw), i})
	case 20:
		l.sha1 = append(l.sha1, row[[20]byte]{[20]byte(raw), i})
	case 32:
		l.sha256 = append(l.sha256, row[[32]byte]{[32]byte(raw), i})
	default:
		return fmt.Errorf("no MD5, SHA-1 or SHA-256: %d digits", len(digest))
	}
	return nil
}

// printable returns a name that can be shown anywhere.
func printable(s string) string {
	s = s[:min(len(s), maxName)]
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
}
