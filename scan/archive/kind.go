package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/landwaiter/landwaiter/scan"
)

// A Kind is a container format, by the name of its usual extension. "" is
// content that holds nothing we know to be packed.
type Kind string

// The kinds that Walk opens. Every other kind that Sniff names it can only
// recognise.
const (
	Plain Kind = ""
	Zip   Kind = "zip"
	Tar   Kind = "tar"
	Gzip  Kind = "gzip"
	Bzip2 Kind = "bzip2"
	Xz    Kind = "xz"
	Zstd  Kind = "zstd"
	Ar    Kind = "ar"
	OLE   Kind = "ole" // looked at for encryption alone
)

// Opens reports whether Walk can look into k.
func (k Kind) Opens() bool {
	switch k {
	case Zip, Tar, Gzip, Bzip2, Xz, Zstd, Ar, OLE:
		return true
	}
	return false
}

// HeadSize and TailSize are how many of the first and last bytes Sniff wants
// to see. With fewer it may miss what lies beyond.
const (
	HeadSize = 0x9006
	TailSize = 80 << 10 // a zip's end record with the longest comment needs 1<<16 + 21; unzip looks further
)

// Found is what a content's two ends claim it to be. Both count: what is a
// picture from the front may be a zip from the back.
type Found struct {
	Head Kind
	Tail Kind // zip, dmg, vhd

	// Tar is where a tar begins behind something that is none, 0 = nowhere. Sniff
	// leaves it alone, as it takes up to scan.TarJunk bytes to see; see scan.FindTar.
	Tar int64

	loose bool // something follows what Tail is
	doubt bool // a zip only if members stand before the bytes that were seen
}

// Any reports whether there is anything to look into.
func (f Found) Any() bool { return f.Head != Plain || f.Tail != Plain || f.Tar > 0 }

// Opens reports whether Walk can look into any of it.
func (f Found) Opens() bool { return f.Head.Opens() || f.Tail.Opens() || f.Tar > 0 }

// MayBehind reports whether a tar is to be looked for behind what f begins
// with. Tar readers would unpack the others instead.
func (f Found) MayBehind() bool {
	switch f.Head {
	case Tar, Gzip, Bzip2, Xz:
		return false
	}
	return true
}

// SeeTar looks for f.Tar in p, a piece of the content from off on, which must be
// a multiple of scan.TarBlock, and so must be the length of all but the last.
func (f *Found) SeeTar(p []byte, off int64) {
	if f.Tar > 0 || !f.MayBehind() || off >= scan.TarJunk {
		return
	}
	skip := 0
	if off == 0 {
		skip = scan.TarBlock
	}
	if i := scan.TarBehind(p[:min(int64(len(p)), scan.TarJunk-off)], skip); i >= 0 {
		f.Tar = off + int64(i)
	}
}

// Kind returns the kind to show for f.
func (f Found) Kind() Kind {
	switch {
	case f.Head != Plain:
		return f.Head
	case f.Tail == Plain && f.Tar > 0:
		return Tar
	}
	return f.Tail
}

// Sniff recognises content by its ends. It only compares fixed
// places with fixed values, so it is safe on hostile content anywhere. It
// retains nothing.
func Sniff(head, tail []byte) Found {
	f := sniffTail(tail)
	f.Head = sniffHead(head)
	return f
}

type magic struct {
	at   int
	sig  string
	kind Kind
}

// The magic numbers that need no further look. From the formats' own
// documents; file(1) agrees.
var magics = [...]magic{
	{0, "PK\x03\x04", Zip},
	{0, "PK\x05\x06", Zip},
	{0, "PK\x07\x08PK\x03\x04", Zip},
	{0, "PK00PK\x03\x04", Zip},
	{0, "\xfd7zXZ\x00", Xz},
	{0, "\x28\xb5\x2f\xfd", Zstd},
	{0, "!<arch>\n", Ar},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE},
	{0, sig7z, "7z"},
	{0, sigRar, "rar"},
	{0, "RE\x7e\x5e", "rar"},
	{0, "MSCF\x00\x00\x00\x00", "cab"},
	{0, "ISc(", "cab"},
	{7, "**ACE**", "ace"},
	{20, "\xdc\xa7\xc4\xfd", "zoo"},
	{0, "ALZ\x01", "alz"},
	{0, "EGGA", "egg"},
	{0, "SIT!", "sit"},
	{0, "StuffIt", "sit"},
	{0, "xar!", "xar"},
	{0, "MSWIM\x00\x00\x00", "wim"},
	{0, "070701", "cpio"},
	{0, "070702", "cpio"},
	{0, "070707", "cpio"},
	{0, "\xed\xab\xee\xdb", "rpm"},
	{0, "\x04\x22\x4d\x18", "lz4"},
	{0, "\x02\x21\x4c\x18", "lz4"},
	{0, "LZIP\x01", "lzip"},
	{0, "\x89LZO\x00\r\n\x1a\n", "lzop"},
	{0, "\xff\x06\x00\x00sNaPpY", "snappy"},
	{0, "SZDD\x88\xf0\x27\x33", "szdd"},
	{0, "KWAJ\x88\xf0\x27\xd1", "szdd"},
	{0, "ITSF\x03\x00\x00\x00", "chm"},
	{0, "hsqs", "squashfs"},
	{0, "sqsh", "squashfs"},
	{0, "vhdxfile", "vhdx"},
	{0, "conectix", "vhd"},
	{0, "KDMV", "vmdk"},
	{0, "QFI\xfb", "qcow"},
	{0x8001, "CD001", "iso"},
	{0x8001, "BEA01", "iso"},
	{0x8801, "CD001", "iso"},
	{0x9001, "CD001", "iso"},
}

const (
	sig7z  = "7z\xbc\xaf\x27\x1c"
	sigRar = "Rar!\x1a\x07"
)

func sniffHead(p []byte) Kind {
	for i := range magics {
		m := &magics[i]
		if len(p) >= m.at+len(m.sig) && p[m.at] == m.sig[0] && string(p[m.at:m.at+len(m.sig)]) == m.sig {
			return m.kind
		}
	}
	if len(p) < 8 {
		return Plain
	}
	switch {
	case p[0] == 0x1f && p[1] == 0x8b && p[2] == 8: // whatever the reserved flags: not all readers mind them
		return Gzip
	case p[0] == 0x1f && p[1] == 0x9d && p[2]&0x60 == 0 && p[2]&0x1f >= 9 && p[2]&0x1f <= 16:
		return "compress"
	case p[0] == 'B' && p[1] == 'Z' && p[2] == 'h' && p[3] >= '1' && p[3] <= '9' && len(p) >= 10 &&
		(string(p[4:10]) == "1AY&SY" || string(p[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Bzip2
	case p[0]&0xf0 == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18: // a skippable frame
		return Zstd
	case p[0] == 0x60 && p[1] == 0xea && isARJ(p):
		return "arj"
	case p[2] == '-' && p[3] == 'l' && (p[4] == 'h' || p[4] == 'z') && p[6] == '-':
		return "lha"
	case p[0] == 0x5d && p[1] == 0 && p[2] == 0 && isLZMA(p):
		return "lzma"
	case scan.IsTar(p):
		return Tar
	}
	return Plain
}

// isARJ checks the main header's CRC, for the signature is two bytes only.
func isARJ(p []byte) bool {
	n := int(binary.LittleEndian.Uint16(p[2:]))
	return n >= 30 && n <= 2600 && len(p) >= 8+n && crc32.ChecksumIEEE(p[4:4+n]) == binary.LittleEndian.Uint32(p[4+n:])
}

// isLZMA judges the size field of a .lzma file: unknown, or below 256 GiB.
func isLZMA(p []byte) bool {
	if len(p) < 14 {
		return false
	}
	size := binary.LittleEndian.Uint64(p[5:])
	return p[13] == 0 && (size == 1<<64-1 || size < 1<<38)
}

func sniffTail(p []byte) Found {
	for i := range endRecords(p) {
		if le.Uint16(p[i+10:]) > 0 { // without members it may be four bytes of any program
			return Found{Tail: Zip, loose: i+eocdSize+int(le.Uint16(p[i+20:])) < len(p)}
		}
	}
	// Readers believe some of the end record's fields and not others, each its own.
	if i := lastEnd(p); i >= 0 {
		if seen := hasHeader(p[:i]); seen || len(p) >= TailSize {
			return Found{Tail: Zip, loose: true, doubt: !seen}
		}
	}
	if len(p) >= 512 {
		switch t := p[len(p)-512:]; {
		case string(t[:4]) == "koly":
			return Found{Tail: "dmg"}
		case string(t[:8]) == "conectix":
			return Found{Tail: "vhd"}
		}
	}
	return Found{}
}

// IsProgram reports whether content that begins with head is one that may
// carry an archive behind it: a program or a script.
func IsProgram(head []byte) bool {
	for _, sig := range [...]string{"MZ", "\x7fELF", "#!", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(sig)) {
			return true
		}
	}
	return false
}

// EmbedOverlap is how many bytes of one piece Embedded wants to see again in
// front of the next.
const EmbedOverlap = 64

// Embedded looks for the beginning of a 7z or rar archive in a piece of a
// program. Their headers carry a CRC, so a program that merely knows the
// signatures is not taken for an archive.
func Embedded(p []byte) Kind {
	for q := p; ; {
		i := bytes.Index(q, []byte(sig7z))
		if i < 0 || len(q)-i < 32 {
			break
		}
		h := q[i:]
		if h[6] == 0 && crc32.ChecksumIEEE(h[12:32]) == binary.LittleEndian.Uint32(h[8:]) {
			return "7z"
		}
		q = h[len(sig7z):]
	}
	for q := p; ; {
		i := bytes.Index(q, []byte(sigRar))
		if i < 0 || len(q)-i < 20 {
			break
		}
		if isRar(q[i:]) {
			return "rar"
		}
		q = q[i+len(sigRar):]
	}
	return Plain
}

// isRar checks the first header behind a rar signature: version 4 has a
// 13-byte main header with CRC-16, version 5 a header of variable size.
func isRar(h []byte) bool {
	le := binary.LittleEndian
	switch {
	case h[6] == 0:
		b := h[7:20]
		n := int(le.Uint16(b[5:]))
		return b[2] == 0x73 && n == 13 && uint16(crc32.ChecksumIEEE(b[2:13])) == le.Uint16(b)
	case h[6] == 1 && h[7] == 0:
		n := int(h[12]) // a main or encryption header is shorter than 128 bytes
		return n > 0 && n < 0x80 && len(h) >= 13+n && crc32.ChecksumIEEE(h[12:13+n]) == le.Uint32(h[8:])
	}
	return false
}
