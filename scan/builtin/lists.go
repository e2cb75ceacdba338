package builtin

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
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

// A table is a sorted set of digests of one length, each followed by the number
// of its meaning. It is flat, for lists are long and memory is not.
type table struct {
	width int // of a digest
	rows  []byte
	spare [sha256.Size + 4]byte // for Swap
}

func (t *table) row(i int) []byte   { return t.rows[i*(t.width+4):][:t.width+4] }
func (t *table) Len() int           { return len(t.rows) / (t.width + 4) }
func (t *table) Less(i, j int) bool { return bytes.Compare(t.row(i), t.row(j)) < 0 }
func (t *table) Swap(i, j int) {
	n := copy(t.spare[:], t.row(i))
	copy(t.row(i), t.row(j))
	copy(t.row(j), t.spare[:n])
}

func (t *table) add(sum []byte, mean uint32) {
	t.rows = binary.BigEndian.AppendUint32(append(t.rows, sum...), mean)
}

// find returns what sum means for a content of the given size. One digest may
// be listed with several sizes.
func (t *table) find(sum []byte, size int64, means []meaning) (string, bool) {
	n := t.Len()
	for i := sort.Search(n, func(i int) bool { return bytes.Compare(t.row(i)[:t.width], sum) >= 0 }); i < n; i++ {
		r := t.row(i)
		if !bytes.Equal(r[:t.width], sum) {
			break
		}
		if m := &means[binary.BigEndian.Uint32(r[t.width:])]; m.size < 0 || m.size == size {
			return m.name, true
		}
	}
	return "", false
}

// A meaning is what a digest stands for. Rows share it where they can.
type meaning struct {
	name string
	size int64 // -1 = any
}

// lists are the hash lists as of one moment; they do not change. A SHA-256
// takes 36 bytes, and its name what it needs unless another row has it too.
type lists struct {
	md5, sha1, sha256 table
	means             []meaning
	id                string    // of all content
	newest            time.Time // change time of the newest file
}

func newLists() *lists {
	return &lists{md5: table{width: md5.Size}, sha1: table{width: sha1.Size}, sha256: table{width: sha256.Size}}
}

// size returns the number of digests.
func (l *lists) size() int { return l.md5.Len() + l.sha1.Len() + l.sha256.Len() }

// digests returns those that a content must have computed to be looked up.
func (l *lists) digests() archive.Digests {
	var d archive.Digests
	if l.md5.Len() > 0 {
		d |= archive.MD5
	}
	if l.sha1.Len() > 0 {
		d |= archive.SHA1
	}
	if l.sha256.Len() > 0 {
		d |= archive.SHA256
	}
	return d
}

// match returns the name under which a content of those sums and size is
// listed.
func (l *lists) match(s *archive.Sums, size int64) (string, bool) {
	if s.Has&archive.SHA256 != 0 {
		if name, ok := l.sha256.find(s.SHA256[:], size, l.means); ok {
			return name, true
		}
	}
	if s.Has&archive.SHA1 != 0 {
		if name, ok := l.sha1.find(s.SHA1[:], size, l.means); ok {
			return name, true
		}
	}
	if s.Has&archive.MD5 != 0 {
		return l.md5.find(s.MD5[:], size, l.means)
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
	l := newLists()
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
	for _, t := range [...]*table{&l.md5, &l.sha1, &l.sha256} {
		sort.Sort(t)
	}
	if len(files) > 0 {
		l.id = hex.EncodeToString(sum.Sum(nil)[:8])
	}
	return l, nil
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
		if err := l.line(string(bytes.TrimSpace(sc.Bytes())), known); err != nil {
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
	var room [64]byte
	if len(digest) > 2*len(room) {
		return fmt.Errorf("no digest: %.20q", digest)
	}
	n, err := hex.Decode(room[:], []byte(digest))
	if err != nil {
		return fmt.Errorf("no digest: %.20q", digest)
	}
	raw := room[:n]
	i, ok := known[m]
	if !ok {
		i = uint32(len(l.means))
		known[m] = i
		l.means = append(l.means, m)
	}
	switch n {
	case md5.Size:
		l.md5.add(raw, i)
	case sha1.Size:
		l.sha1.add(raw, i)
	case sha256.Size:
		l.sha256.add(raw, i)
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
