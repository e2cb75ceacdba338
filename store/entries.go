package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// maxScanned is how many rows a page looks at: a filter that no index helps and
// few rows pass ends its page early instead of reading the whole ledger.
const maxScanned = 20_000

// Filter is ledger.Filter.
type Filter = ledger.Filter

// Page is ledger.Page.
type Page = ledger.Page

// Entries returns a page of entries, by default finished ones, the last first.
func (db *DB) Entries(ctx context.Context, f Filter) (Page, error) {
	if f.Unfinished {
		return db.unfinished(ctx, f)
	}
	return db.finished(ctx, f)
}

// A clause collects conditions and their arguments.
type clause struct {
	sql  []string
	args []any
}

func (c *clause) and(sql string, args ...any) {
	c.sql, c.args = append(c.sql, sql), append(c.args, args...)
}

func (c *clause) String() string { return strings.Join(c.sql, " AND ") }

// common adds what both listings can restrict.
func (db *DB) common(ctx context.Context, c *clause, f Filter) error {
	if f.Scan != (ledger.ID{}) {
		sc, err := db.scan(ctx, f.Scan)
		if err != nil {
			return err
		}
		c.and("scan = ?", sc.n)
	}
	if f.Search != "" {
		if db.dollar {
			c.and("position(? IN coalesce(tail, ikey)) > 0", []byte(f.Search))
		} else {
			c.and("instr(coalesce(tail, ikey), ?) > 0", []byte(f.Search))
		}
	}
	return nil
}

// by names the index to use. SQLite has no statistics of a growing ledger, and
// would take another; PostgreSQL has, and no way to be told.
func (db *DB) by(index string) string {
	if db.dollar {
		return "entries e"
	}
	return "entries e INDEXED BY " + index
}

func (db *DB) finished(ctx context.Context, f Filter) (Page, error) {
	// What an index answers, and what each row must be asked.
	var by, rest clause
	index := "entries_finished"
	by.and("state = 2")
	if f.Failed {
		f.Outcome = ledger.OutcomeFailed
	}
	switch {
	case f.Outcome == ledger.OutcomeFailed:
		index = "entries_failed"
		by.and("outcome = 2")
	case f.Verdict != scan.None && f.Verdict != scan.Clean:
		index = "entries_notable"
		by.and(fmt.Sprintf("verdict = %d AND verdict <> 1", f.Verdict))
	case f.Unit != 0:
		index = "entries_unit"
		by.and("unit = ?", f.Unit)
	}
	if f.Unit != 0 && index != "entries_unit" {
		rest.and("unit = ?", f.Unit)
	}
	if f.Outcome != "" && index != "entries_failed" {
		rest.and("outcome = ?", codeOf(outcomes[:], f.Outcome))
	}
	if f.Verdict != scan.None && index != "entries_notable" {
		rest.and("verdict = ?", int64(f.Verdict))
	}
	if f.Reason != "" {
		rest.and("reason = ?", reasonCode(f.Reason))
	}
	if f.Decision != "" {
		rest.and("decision = ?", codeOf(decisions[:], f.Decision))
	}
	if err := db.common(ctx, &rest, f); err != nil {
		return Page{}, err
	}
	if !f.Since.IsZero() {
		by.and("finished >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		by.and("finished < ?", micros(f.Until))
	}
	dir, before, bound := "DESC", "<", ">="
	if f.Oldest {
		dir, before, bound = "ASC", ">", "<="
	}
	if f.After != "" {
		at, id, err := parseAfter(f.After)
		if err != nil {
			return Page{}, err
		}
		by.and("finished "+before+"= ?", at)
		by.and("(finished "+before+" ? OR id "+before+" ?)", at, id[:])
	}
	from := db.by(index)
	var page Page
	last, bounded := int64(0), false
	if len(rest.sql) > 0 {
		err := db.query(ctx, "SELECT finished FROM "+from+" WHERE "+by.String()+" ORDER BY finished "+dir+" LIMIT 1 OFFSET "+strconv.Itoa(maxScanned), func(c cells) error {
			last, bounded = c.i(0), true
			return nil
		}, by.args...)
		if err != nil {
			return page, err
		}
		if bounded {
			by.and("finished "+bound+" ?", last)
		}
	}
	limit := pageSize(f.Limit)
	where, args := by, append([]any{}, by.args...)
	where.sql, args = append(append([]string{}, by.sql...), rest.sql...), append(args, rest.args...)
	err := db.query(ctx, "SELECT "+entryColumns+" FROM "+from+" WHERE "+where.String()+" ORDER BY finished "+dir+", id "+dir+" LIMIT ?", func(c cells) error {
		e, err := db.entry(ctx, c)
		page.Entries = append(page.Entries, e)
		return err
	}, append(args, limit)...)
	if err != nil {
		return page, err
	}
	switch n := len(page.Entries); {
	case int64(n) == limit:
		page.Next = after(micros(page.Entries[n-1].Finished), page.Entries[n-1].ID)
	case bounded:
		var edge ledger.ID
		if f.Oldest {
			for i := range edge {
				edge[i] = 0xff
			}
		}
		page.Next = after(last, edge)
	}
	return page, nil
}

func after(at int64, id ledger.ID) string {
	return strconv.FormatInt(at, 10) + "." + hex.EncodeToString(id[:])
}

func parseAfter(s string) (at int64, id ledger.ID, err error) {
	a, b, _ := strings.Cut(s, ".")
	at, err = strconv.ParseInt(a, 10, 64)
	raw, herr := hex.DecodeString(b)
	if err != nil || herr != nil || len(raw) != len(id) {
		return 0, id, badCursor(s)
	}
	return at, toID(raw), nil
}

func badCursor(s string) error {
	return fault.New(fault.Invalid, "store.Entries", s, errors.New("not a place in this listing"))
}

// unfinished lists acting entries on the first page, whatever its size: they are
// as few as workers. Then pending ones in the order of their index.
func (db *DB) unfinished(ctx context.Context, f Filter) (Page, error) {
	var page Page
	var rest clause
	if f.Unit != 0 {
		rest.and("unit = ?", f.Unit)
	}
	if err := db.common(ctx, &rest, f); err != nil {
		return page, err
	}
	read := func(index, where string, args ...any) error {
		return db.query(ctx, "SELECT "+entryColumns+" FROM "+db.by(index)+" WHERE "+where, func(c cells) error {
			e, err := db.entry(ctx, c)
			page.Entries = append(page.Entries, e)
			return err
		}, args...)
	}
	by := clause{sql: []string{"state = 0"}}
	if f.After == "" {
		if err := read("entries_acting", strings.Join(append([]string{"state = 1"}, rest.sql...), " AND ")+" ORDER BY id", rest.args...); err != nil {
			return page, err
		}
	} else {
		p := strings.Split(f.After, ".")
		if len(p) != 4 {
			return page, badCursor(f.After)
		}
		unit, err1 := strconv.ParseInt(p[0], 10, 64)
		ikey, err2 := hex.DecodeString(p[1])
		sc, err3 := strconv.ParseInt(p[2], 10, 64)
		vkey, err4 := hex.DecodeString(p[3])
		if errors.Join(err1, err2, err3, err4) != nil {
			return page, badCursor(f.After)
		}
		by.and("(unit, ikey, scan, vkey) > (?, ?, ?, ?)", unit, ikey, sc, vkey)
	}
	if f.Unit != 0 {
		by.and("unit = ?", f.Unit)
	}
	const order = " ORDER BY unit, ikey, scan, vkey "
	place := func(c cells) string {
		return fmt.Sprintf("%d.%x.%d.%x", c.i(0), c.b(1), c.i(2), c.b(3))
	}
	var edge string
	if f.Search != "" || f.Scan != (ledger.ID{}) {
		err := db.query(ctx, "SELECT unit, ikey, scan, vkey FROM "+db.by("entries_pending")+" WHERE "+by.String()+order+"LIMIT 1 OFFSET "+strconv.Itoa(maxScanned), func(c cells) error {
			edge = place(c)
			by.and("(unit, ikey, scan, vkey) <= (?, ?, ?, ?)", c.i(0), c.b(1), c.i(2), c.b(3))
			return nil
		}, by.args...)
		if err != nil {
			return page, err
		}
	}
	limit, first := pageSize(f.Limit), len(page.Entries)
	args := append(append([]any{}, by.args...), rest.args...)
	if err := read("entries_pending", strings.Join(append(by.sql, rest.sql...), " AND ")+order+"LIMIT ?", append(args, limit)...); err != nil {
		return page, err
	}
	if int64(len(page.Entries)-first) == limit {
		last := page.Entries[len(page.Entries)-1]
		ikey, _ := indexKey(last.Key)
		sc, err := db.scan(ctx, last.Scan)
		if err != nil {
			return page, err
		}
		u, err := db.unit(ctx, last.Unit)
		if err != nil {
			return page, err
		}
		vkey := []byte{}
		if u.allVersions {
			vkey = versionKey(last.Version)
		}
		edge = fmt.Sprintf("%d.%x.%d.%x", last.Unit, ikey, sc.n, vkey)
	}
	page.Next = edge
	return page, nil
}

// Entry returns an entry, fault.NotFound if there is none.
func (db *DB) Entry(ctx context.Context, id ledger.ID) (ledger.Entry, error) {
	list, err := db.entriesWhere(ctx, "e.id = ?", id[:])
	if err != nil {
		return ledger.Entry{}, err
	}
	if len(list) == 0 {
		return ledger.Entry{}, fault.New(fault.NotFound, "store.Entry", id.String(), nil)
	}
	return list[0], nil
}

// maxHistory bounds what History returns.
const maxHistory = 1000

// History returns what the ledger holds of a key, the oldest entry first, at
// most the last 1,000.
func (db *DB) History(ctx context.Context, unit int64, key string) ([]ledger.Entry, error) {
	ikey, _ := indexKey(key)
	list, err := db.entriesWhere(ctx, "e.unit = ? AND e.ikey = ? AND e.state > 0 ORDER BY e.id DESC LIMIT ?", unit, ikey, maxHistory)
	if err != nil {
		return nil, err
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	pending, err := db.entriesWhere(ctx, "e.unit = ? AND e.ikey = ? AND e.state = 0 ORDER BY e.id", unit, ikey)
	return append(list, pending...), err
}

func (db *DB) entriesWhere(ctx context.Context, where string, args ...any) (list []ledger.Entry, err error) {
	err = db.query(ctx, "SELECT "+entryColumns+" FROM entries e WHERE "+where, func(c cells) error {
		e, err := db.entry(ctx, c)
		list = append(list, e)
		return err
	}, args...)
	return list, err
}

// Purge removes up to n entries that finished before before, but never dead
// letters, and returns how many. The inventory and the counts stay.
func (db *DB) Purge(ctx context.Context, before time.Time, n int) (removed int64, err error) {
	err = db.do(ctx, func(ctx context.Context, c conn) error {
		removed, err = c.exec(ctx, "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE state = 2 AND finished < ? AND outcome <> 2 ORDER BY finished LIMIT ?)",
			micros(before), n)
		return err
	})
	return removed, err
}
