package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/ledger"
)

const (
	// countMost bounds how exactly a list of files says how many there are.
	countMost = 20_000
	// countLook is how many rows are looked at to count, where each must be asked.
	countLook = 20_000
	// maxStreams is how many scans times classes are merged; of more, the entries
	// are read in the order that they were found in.
	maxStreams = 100
	maxFiles   = 10_000
)

// A stream is the entries of one scan and class: the index has them in the order
// of their discovery.
type stream struct {
	scan  int64
	id    ledger.ID
	class class
}

// Files returns a page of a tenant's entries, finished or not.
func (db *DB) Files(ctx context.Context, f ledger.FileFilter) (page ledger.FilePage, err error) {
	q := &fileQuery{db: db, f: f}
	if err := q.prepare(ctx); err != nil {
		return page, err
	}
	if len(q.streams) == 0 || q.nothing {
		return page, nil
	}
	keys, err := q.page(ctx)
	if err != nil {
		return page, err
	}
	if page.Entries, err = db.entriesByKey(ctx, keys); err != nil {
		return page, err
	}
	page.Total, page.AtLeast, err = q.count(ctx)
	if seen := int64(f.Start + len(keys)); len(keys) > 0 && page.Total < seen {
		page.Total = seen
	}
	return page, err
}

// A fileQuery is a list of files under way.
type fileQuery struct {
	db      *DB
	f       ledger.FileFilter
	streams []stream
	rows    clause // what each row must be asked
	by      clause // what the index answers beside scan and class
	limit   int
	nothing bool // some filter can match nothing
}

func (q *fileQuery) prepare(ctx context.Context) error {
	q.limit = 100
	if q.f.Limit > 0 {
		q.limit = min(q.f.Limit, maxFiles)
	}
	if len(q.f.Sort) == 0 {
		q.f.Sort = []ledger.FileSort{{By: ledger.ByDiscovery, Desc: true}}
	}
	if !q.f.From.IsZero() {
		q.by.and("discovered >= ?", micros(q.f.From))
	}
	if !q.f.To.IsZero() {
		q.by.and("discovered < ?", micros(q.f.To))
	}
	q.each()
	return q.find(ctx)
}

// each makes the conditions that no index answers.
func (q *fileQuery) each() {
	if q.f.Detected != nil {
		q.rows.in("detected", numbers(q.f.Detected))
	}
	if q.f.Vulns != nil {
		q.rows.in("vulns", numbers(q.f.Vulns))
	}
	if q.f.HasVulns != nil {
		q.rows.and(map[bool]string{true: "vulns > 0", false: "vulns = 0"}[*q.f.HasVulns])
	}
	if q.f.Sensitive != nil {
		q.rows.and(map[bool]string{true: "dlp > 0", false: "dlp = 0"}[*q.f.Sensitive])
	}
	if q.f.Remedies != nil {
		var bits int64
		for _, r := range q.f.Remedies {
			bits |= remedyBit(r)
		}
		q.nothing = q.nothing || bits == 0
		q.rows.and("remedies & ? <> 0", bits)
	}
	if q.f.Workflows != nil {
		var hashes clause
		list := make([]any, len(q.f.Workflows))
		for i, h := range q.f.Workflows {
			list[i] = h[:]
		}
		hashes.in("hash", list)
		q.rows.and("workflow IN (SELECT w.n FROM workflows w WHERE "+hashes.String()+")", hashes.args...)
	}
	if q.f.Search != "" {
		q.rows.and(q.db.contains("coalesce(tail, ikey)"), []byte(q.f.Search))
	}
	if q.f.Parent != (ledger.ID{}) {
		q.rows.and("parent = ?", q.f.Parent[:])
	}
}

// find reads which scans and classes there are: of what is finished from the index
// alone, from one class to the next; of what is not from the counts. No index has
// those in order: each would cost every entry two more writes.
func (q *fileQuery) find(ctx context.Context) error {
	w := clause{sql: []string{"s.removed = 0"}}
	if q.f.Tenant != 0 {
		w.and("s.tenant = ?", q.f.Tenant)
	}
	if q.f.Units != nil {
		w.in("s.unit", numbers(q.f.Units))
	}
	if q.f.Types != nil {
		w.in("s.type", numbers(q.f.Types))
	}
	if q.f.Scans != nil {
		ids := make([]any, len(q.f.Scans))
		for i, id := range q.f.Scans {
			ids[i] = id[:]
		}
		w.in("s.id", ids)
	}
	if q.wants(classOpen) {
		err := q.db.query(ctx, "SELECT s.n, s.id FROM scans s WHERE "+w.String()+` AND
			(SELECT CAST(coalesce(sum(c.n), 0) AS BIGINT) FROM scan_counts c WHERE c.scan = s.n AND c.outcome = 0) > 0`, func(c cells) error {
			q.streams = append(q.streams, stream{c.i(0), toID(c.b(1)), classOpen})
			return nil
		}, w.args...)
		if err != nil {
			return err
		}
	}
	return q.db.query(ctx, `WITH RECURSIVE r(scan, id, class) AS (
		SELECT s.n, s.id, (SELECT min(e.class) FROM entries e WHERE e.scan = s.n AND e.state = 2) FROM scans s WHERE `+w.String()+`
		UNION ALL SELECT r.scan, r.id, (SELECT min(e.class) FROM entries e WHERE e.scan = r.scan AND e.state = 2 AND e.class > r.class) FROM r WHERE r.class IS NOT NULL)
		SELECT scan, id, class FROM r WHERE class IS NOT NULL`, func(c cells) error {
		if s := (stream{c.i(0), toID(c.b(1)), class(c.i(2))}); s.class != classOpen && q.wants(s.class) {
			q.streams = append(q.streams, s)
		}
		return nil
	}, w.args...)
}

// wants says whether entries of a class may match.
func (q *fileQuery) wants(c class) bool {
	if q.f.Processing != nil && !slices.Contains(q.f.Processing, c.processing()) || q.f.Results != nil && !slices.Contains(q.f.Results, c.result()) ||
		q.f.Codes != nil && !slices.Contains(q.f.Codes, c.code()) {
		return false
	}
	isTrue := func(b *bool) bool { return b != nil && *b }
	counted := isTrue(q.f.HasVulns) || isTrue(q.f.Sensitive) || q.f.Detected != nil && !slices.Contains(q.f.Detected, 0) || q.f.Vulns != nil && !slices.Contains(q.f.Vulns, 0)
	return c.counts() || !counted
}

// compare puts streams in the order asked for, as far as that is not by
// discovery. Streams that are equal are merged.
func (q *fileQuery) compare(a, b stream) int {
	for _, s := range q.f.Sort {
		d := 0
		switch s.By {
		case ledger.ByDiscovery:
			return 0
		case ledger.ByScan:
			d = slices.Compare(a.id[:], b.id[:])
		case ledger.ByProcessing:
			d = cmp.Compare(a.class.processing(), b.class.processing())
		case ledger.ByResult:
			d = cmp.Compare(a.class.result(), b.class.result())
		case ledger.ByCode:
			d = cmp.Compare(a.class.code(), b.class.code())
		case ledger.ByDetections, ledger.ByVulnerabilities:
			d = cmp.Compare(flag(a.class.counts()), flag(b.class.counts()))
		}
		if s.Desc {
			d = -d
		}
		if d != 0 {
			return d
		}
	}
	return 0
}

// groups are the streams in order, those that are equal together.
func (q *fileQuery) groups() (groups [][]stream) {
	slices.SortFunc(q.streams, func(a, b stream) int {
		return cmp.Or(q.compare(a, b), cmp.Compare(a.scan, b.scan), cmp.Compare(a.class, b.class))
	})
	for _, s := range q.streams {
		if n := len(groups); n > 0 && q.compare(groups[n-1][0], s) == 0 {
			groups[n-1] = append(groups[n-1], s)
		} else {
			groups = append(groups, []stream{s})
		}
	}
	return groups
}

// page reads the keys of the rows of the page, group by group.
func (q *fileQuery) page(ctx context.Context) (keys []any, err error) {
	skip := q.f.Start
	for _, g := range q.groups() {
		if len(keys) == q.limit {
			break
		}
		if skip > 0 {
			n, err := q.size(ctx, g, skip)
			if err != nil {
				return nil, err
			}
			if n < skip || n == skip {
				skip -= n
				continue
			}
		}
		part, err := q.read(ctx, g, skip, q.limit-len(keys))
		if err != nil {
			return nil, err
		}
		keys, skip = append(keys, part...), 0
	}
	return keys, nil
}

// size counts the rows of a group, one more than most at most.
func (q *fileQuery) size(ctx context.Context, g []stream, most int) (n int, err error) {
	sql, args := q.merged(g, "1", "", "")
	err = q.db.query(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM (%s) g LIMIT %d) m", sql, most+1), func(c cells) error {
		n = int(c.i(0))
		return nil
	}, args...)
	return n, err
}

func (q *fileQuery) read(ctx context.Context, g []stream, skip, limit int) (keys []any, err error) {
	order, columns := q.order(g[0])
	part := ""
	if q.db.dollar { // which would sort all of them else
		part = fmt.Sprintf("%s LIMIT %d", order, skip+limit)
	}
	sql, args := q.merged(g, q.db.rowKey()+" AS k, discovered"+columns, part, order)
	// As literals: PostgreSQL plans for how few rows are wanted.
	err = q.db.query(ctx, fmt.Sprintf("%s LIMIT %d OFFSET %d", sql, limit, skip), func(c cells) error {
		if q.db.dollar {
			keys = append(keys, slices.Clone(c.b(0)))
		} else {
			keys = append(keys, c.i(0))
		}
		return nil
	}, args...)
	return keys, err
}

// order is how the rows of a group are ordered, and the columns for that.
func (q *fileQuery) order(of stream) (order, columns string) {
	var list []string
	for _, s := range q.f.Sort {
		dir := direction(s.Desc)
		switch {
		case s.By == ledger.ByDiscovery:
			return " ORDER BY " + strings.Join(append(list, "discovered"+dir, "k"+dir), ", "), columns
		case s.By == ledger.ByDetections && of.class.counts():
			list, columns = append(list, "detected"+dir), columns+", detected"
		case s.By == ledger.ByVulnerabilities && of.class.counts():
			list, columns = append(list, "vulns"+dir), columns+", vulns"
		}
	}
	return " ORDER BY " + strings.Join(append(list, "discovered DESC", "k DESC"), ", "), columns
}

func direction(desc bool) string {
	if desc {
		return " DESC"
	}
	return " ASC"
}

// merged is a query of the rows of a group that match. The database merges the
// streams, each of which its index has in order; where they are too many it
// sorts. each goes behind every stream, order behind all of them.
func (q *fileQuery) merged(g []stream, columns, each, order string) (sql string, args []any) {
	if len(g) > maxStreams {
		return q.together(g, columns, order)
	}
	var parts []string
	for _, s := range g {
		w, from := clause{sql: []string{"scan = ?", "state = 2", "class = ?"}, args: []any{s.scan, int64(s.class)}}, q.db.by("entries_class")
		if s.class == classOpen {
			w, from = clause{sql: []string{"scan = ?", "state < 2"}, args: []any{s.scan}}, "entries e"
		}
		w.and2(q.by)
		w.and2(q.rows)
		part := "SELECT " + columns + " FROM " + from + " WHERE " + w.String()
		if each != "" && len(g) > 1 {
			part = "(" + part + each + ")"
		}
		parts = append(parts, part)
		args = append(args, w.args...)
	}
	return strings.Join(parts, " UNION ALL ") + order, args
}

func (q *fileQuery) together(g []stream, columns, order string) (sql string, args []any) {
	scans, classes := map[int64]bool{}, map[class]bool{}
	var ns, cs, open []any
	for _, s := range g {
		if s.class == classOpen {
			open = append(open, s.scan)
			continue
		}
		if !scans[s.scan] {
			scans[s.scan], ns = true, append(ns, s.scan)
		}
		if !classes[s.class] {
			classes[s.class], cs = true, append(cs, int64(s.class))
		}
	}
	var parts []string
	add := func(w clause, from string) {
		w.and2(q.by)
		w.and2(q.rows)
		parts, args = append(parts, "SELECT "+columns+" FROM "+from+" WHERE "+w.String()), append(args, w.args...)
	}
	if len(ns) > 0 {
		w := clause{sql: []string{"state = 2"}}
		w.in("scan", ns)
		w.in("class", cs)
		add(w, q.db.by("entries_class"))
	}
	if len(open) > 0 {
		w := clause{sql: []string{"state < 2"}}
		w.in("scan", open)
		add(w, "entries e")
	}
	return strings.Join(parts, " UNION ALL ") + order, args
}

func (c *clause) and2(o clause) {
	c.sql, c.args = append(c.sql, o.sql...), append(c.args, o.args...)
}
