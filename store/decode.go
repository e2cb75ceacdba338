package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// What a pick-up reads of an entry that nobody looked at yet, and the rest.
const (
	briefColumns = "e.id, e.unit, e.scan, e.workflow, e.ikey, e.tail, e.version, e.slot, e.state, e.lane, e.priority, e.due, e.seq, " +
		"e.force, e.attempts, e.crashes, e.cancel, e.cause, e.parent, e.discovered, e.started, e.size"
	restColumns = ", e.finished, e.mtime, e.md5, e.sha1, e.sha256, e.outcome, e.verdict, e.reason, e.threat, e.code, e.engines, e.engine, e.decision, " +
		"e.decided_by, e.report, e.plan, e.story, e.error, e.sum"
	entryColumns = briefColumns + restColumns
	briefCount   = 22
)

// brief reads briefColumns.
func (db *DB) brief(ctx context.Context, c cells) (ledger.Entry, error) {
	e := ledger.Entry{ID: toID(c.b(0)), Unit: c.i(1), Key: wholeKey(c.b(4), nullable(c, 5)), Version: unpackVersion(c.b(6)), Slot: uint8(c.i(7)),
		State: ledger.State(c.i(8)), Lane: ledger.Lane(c.i(9)), Priority: int(c.i(10)), Due: fromMicros(c.i(11)), Seq: c.i(12), Force: c.i(13) != 0,
		Attempts: int(c.i(14)), Crashes: int(c.i(15)), Cancel: c.i(16) != 0, Cause: c.s(17), Parent: toID(c.b(18)),
		Discovered: fromMicros(c.i(19)), Started: fromMicros(c.i(20)), Size: c.i(21)}
	var err error
	if e.Workflow, err = db.workflowHash(ctx, c.i(3)); err != nil {
		return e, err
	}
	sc, err := db.scanNumber(ctx, c.i(2))
	if err != nil {
		return e, err
	}
	e.Scan, e.ScanType = sc.id, sc.typ
	u, err := db.unit(ctx, e.Unit)
	if err != nil {
		return e, err
	}
	e.UnitName, e.Tenant = u.name, u.tenant
	return e, nil
}

func nullable(c cells, n int) []byte {
	if c[n] == nil {
		return nil
	}
	b := c.b(n)
	if len(b) == 0 {
		return nil
	}
	return b
}

// entry reads entryColumns.
func (db *DB) entry(ctx context.Context, c cells) (ledger.Entry, error) {
	e, err := db.brief(ctx, c)
	if err != nil {
		return e, err
	}
	r := c[briefCount:]
	e.Finished, e.ModTime = fromMicros(r.i(0)), fromMicros(r.i(1))
	e.MD5, e.SHA1, e.SHA256 = nullable(r, 2), nullable(r, 3), nullable(r, 4)
	e.Outcome, e.Verdict, e.Reason = wordOf(outcomes[:], r.i(5)), scan.Verdict(r.i(6)), reasonWord(r.i(7))
	e.Threat, e.Code, e.Engines, e.Engine = r.s(8), int(r.i(9)), int(r.i(10)), r.s(11)
	e.Decision, e.By, e.Error = wordOf(decisions[:], r.i(12)), r.s(13), r.s(17)
	if b := nullable(r, 14); b != nil {
		if e.Report, err = decodeReport(b, &e); err != nil {
			return e, damaged(e.ID, "report", err)
		}
	}
	if b := nullable(r, 15); b != nil {
		if err := json.Unmarshal(b, &e.Plan); err != nil {
			return e, damaged(e.ID, "plan", err)
		}
	}
	if b := nullable(r, 16); b != nil {
		if err := json.Unmarshal(b, &e.Story); err != nil {
			return e, damaged(e.ID, "story", err)
		}
	}
	if e.State == ledger.Finished && r.i(18) != endSum(&e) {
		e.Verdict, e.Reason, e.Decision, e.Error = scan.NotScanned, other, workflow.Held, damagedRow
	}
	return e, nil
}

func damaged(id ledger.ID, what string, err error) error {
	return fault.New(fault.Corrupt, "store", "entry "+id.String(), fmt.Errorf("its %s is damaged: %w", what, err))
}

// encodeReport leaves out what the entry's columns say, so that the report of a
// plain clean object is short.
func encodeReport(e *ledger.Entry) ([]byte, error) {
	if e.Report == nil {
		return nil, nil
	}
	r := *e.Report
	same := r.Verdict == e.Verdict && r.Reason == e.Reason && r.Threat == e.Threat && r.Code == e.Code && r.Engine == e.Engine && r.Engines == e.Engines
	if same {
		r.Verdict, r.Reason, r.Threat, r.Code, r.Engine, r.Engines = 0, "", "", 0, "", 0
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fault.New(fault.Internal, "store", "report", err)
	}
	if same {
		b = append([]byte{compact}, b...)
	}
	return b, nil
}

// compact marks a report whose beginning is in the entry's columns.
const compact = '+'

func decodeReport(b []byte, e *ledger.Entry) (*scan.Report, error) {
	same := b[0] == compact
	if same {
		b = b[1:]
	}
	var r scan.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if same {
		r.Verdict, r.Reason, r.Threat, r.Code, r.Engine, r.Engines = e.Verdict, e.Reason, e.Threat, e.Code, e.Engine, e.Engines
	}
	return &r, nil
}

// encodeList is nil for an empty list, else JSON.
func encodeList[T any](list []T) ([]byte, error) {
	if len(list) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return nil, fault.New(fault.Internal, "store", "entry", err)
	}
	return b, nil
}
