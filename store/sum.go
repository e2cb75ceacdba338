package store

import (
	"encoding/binary"
	"hash"
	"hash/crc32"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// A row that says what was found carries a checksum of that, so that a bit that
// flipped on disk is never read as clean: databases check the structure of their
// pages, SQLite not the content. It is signed, as SQLite then keeps it in 4 bytes. CRC-32C finds every flip of up to three bits.

// damagedRow is the error of an entry whose checksum is wrong. Its verdict is
// then not_scanned.
const damagedRow = "this row of the ledger is damaged: rescan the object"

type summer struct{ hash.Hash32 }

func newSum() summer { return summer{crc32.New(crc32.MakeTable(crc32.Castagnoli))} }

func (s summer) bytes(list ...[]byte) summer {
	for _, b := range list {
		s.numbers(int64(len(b)))
		_, _ = s.Write(b)
	}
	return s
}

func (s summer) numbers(list ...int64) summer {
	var b [8]byte
	for _, n := range list {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		_, _ = s.Write(b[:])
	}
	return s
}

// endSum is of what a finished entry says.
func endSum(e *ledger.Entry) int64 {
	return int64(int32(newSum().bytes(e.ID[:], []byte(e.Key), []byte(e.Version), e.SHA256).
		numbers(int64(e.Verdict), reasonCode(e.Reason), codeOf(outcomes[:], e.Outcome), codeOf(decisions[:], e.Decision)).Sum32()))
}

// goneSum is endSum of a pending entry that ends as gone.
func goneSum(id []byte, key, version string, sha256 []byte) int64 {
	return endSum(&ledger.Entry{ID: toID(id), Key: key, Version: version, SHA256: sha256, Outcome: ledger.OutcomeGone, Verdict: scan.NotScanned, Reason: scan.Gone})
}

// sum is of what an inventory row says.
func (r *invRow) sum() int64 {
	return int64(int32(newSum().bytes(r.ikey, r.version).numbers(r.unit, r.verdict, r.reason).Sum32()))
}
