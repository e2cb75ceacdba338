package smb

import (
	"strconv"
	"strings"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/object"
)

// File attributes, [MS-FSCC] 2.6.
const (
	attrFolder  = 0x10
	attrSparse  = 0x200
	attrReparse = 0x400
	attrOffline = 0x1000
	attrRecall  = 0x40000 | 0x400000 // on open, on access to data
)

// A stat is what the server says of a file.
type stat struct{ *smb2.FileStat }

func (s stat) folder() bool { return s.FileAttributes&attrFolder != 0 }

// cold reports whether reading makes the server fetch the content from a tape or
// a cloud.
func (s stat) cold() bool { return s.FileAttributes&(attrOffline|attrRecall) != 0 }

// kind tells a file from what is none. Files of a volume with deduplication are
// reparse points too, and sparse; the server resolves those by itself. A link
// that is sparse gains nothing by it: who opens it gets another file, with
// another token.
func (s stat) kind() object.Kind {
	if s.FileAttributes&attrReparse != 0 && (s.folder() || s.FileAttributes&attrSparse == 0 && !s.cold()) {
		return object.Symlink
	}
	return object.Regular
}

// token is the version token: creation, change and write time in nanoseconds
// and the size, in base 36 and joined with dots. Samba's change time is its
// write time, which whoever may write can set: there a change that keeps the
// size and puts the time back does not show.
func (s stat) token() string {
	b := make([]byte, 0, 56)
	for i, n := range [...]int64{s.CreationTime.UnixNano(), s.LastWriteTime.UnixNano(), s.EndOfFile, s.ChangeTime.UnixNano()} {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendInt(b, n, 36)
	}
	return string(b)
}

// MetadataOnly reports whether the tokens differ in the change time alone, as
// after a rename or a change of attributes. Only equal hashes tell.
func (d *Driver) MetadataOnly(a, b string) bool { return sameContent(a, b) }

func sameContent(a, b string) bool {
	i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
	return i > 0 && j > 0 && a[:i] == b[:j] && strings.Count(a, ".") == 3
}

// moved is when the file was last changed, as far as the token tells.
func (s stat) moved() time.Time {
	if s.ChangeTime.Before(s.LastWriteTime) {
		return s.LastWriteTime
	}
	return s.ChangeTime
}

func (s stat) info(key string) object.Info {
	return object.Info{Key: key, Version: s.token(), Size: s.EndOfFile, ModTime: s.LastWriteTime.UTC(), Kind: s.kind(), Cold: s.cold() && s.kind() == object.Regular, Latest: true}
}
