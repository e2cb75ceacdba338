package store

import (
	"github.com/landwaiter/landwaiter/ledger"
)

// A class is, in one number, how far an entry is, its result, whether an engine
// found something that is counted (detections, vulnerabilities, sensitive data),
// and its code. There are few classes, so that an index that begins with scan and
// class answers for any of them and any order of them.
type class int64

// classOpen is an entry that is not finished: the default of the column.
const classOpen class = class(ledger.ResultProcessing)<<17 | 255

const maxCode = 0xffff

func (c class) processing() ledger.Processing { return ledger.Processing(c >> 19) }
func (c class) result() ledger.Result         { return ledger.Result(c >> 17 & 3) }
func (c class) counts() bool                  { return c>>16&1 == 1 }
func (c class) code() int                     { return int(c & maxCode) }

// A digest is what the columns beside say of a finished entry.
type digest struct {
	class                class
	detected, vulns, dlp int64
	remedies             int64
}

// digestOf reads it from an entry that is about to be finished.
func digestOf(e *ledger.Entry) digest {
	end := *e
	end.State = ledger.Finished
	var d digest
	if r := e.Report; r != nil {
		d.detected, d.vulns, d.dlp = int64(r.Detected), int64(r.Vulnerabilities), int64(r.Sensitive)
	}
	for _, r := range end.Remedies() {
		d.remedies |= remedyBit(r)
	}
	code := end.ResultCode()
	if code < 0 || code > maxCode {
		code = maxCode
	}
	d.class = class(end.Processing())<<19 | class(end.Result())<<17 | class(flag(d.detected+d.vulns+d.dlp > 0))<<16 | class(code)
	return d
}

// remedyBit is where a remedy is in the column: those from 100 on have the bits
// from 40 on. 0 for a number that no remedy has.
func remedyBit(r ledger.Remedy) int64 {
	switch {
	case r >= 0 && r < 40:
		return 1 << r
	case r >= 100 && r < 110:
		return 1 << (40 + r - 100)
	}
	return 0
}
