package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/landwaiter/landwaiter/ledger"
)

// count says how many rows match: exactly up to countMost, and where each row
// must be asked as far as countLook rows tell.
func (q *fileQuery) count(ctx context.Context) (total int64, more bool, err error) {
	asked := q.rows
	most, columns, match := countMost+1, "1", "1 = 1"
	if len(asked.sql) > 0 {
		most, columns, match = countLook+1, "detected, vulns, dlp, remedies, workflow, tail, ikey, parent", asked.String()
		q.rows = clause{}
		defer func() { q.rows = asked }()
	}
	var looked int64
	for i := 0; i < len(q.streams) && looked < int64(most); i += maxStreams {
		sql, args := q.merged(q.streams[i:min(i+maxStreams, len(q.streams))], columns, "", "")
		if err := q.db.query(ctx, fmt.Sprintf("SELECT count(*), coalesce(sum(CASE WHEN %s THEN 1 ELSE 0 END), 0) FROM (SELECT * FROM (%s) g LIMIT %d) m", match, sql, int64(most)-looked), func(c cells) error {
			looked += c.i(0)
			total += c.i(1)
			return nil
		}, append(slices.Clone(asked.args), args...)...); err != nil {
			return 0, false, err
		}
	}
	if more = looked >= int64(most); more && len(asked.sql) == 0 {
		total = countMost
	}
	return total, more, nil
}

// rowKey names the column that orders what was found at one time, and that rows
// are read by.
func (db *DB) rowKey() string {
	if db.dollar {
		return "id"
	}
	return "n"
}

// keysAtOnce is how many rows are read in one statement.
const keysAtOnce = 500

// entriesByKey reads entries in the order of their keys.
func (db *DB) entriesByKey(ctx context.Context, keys []any) (list []ledger.Entry, err error) {
	for part := range slices.Chunk(keys, keysAtOnce) {
		var w clause
		w.in("e."+db.rowKey(), part)
		found := make(map[string]ledger.Entry, len(part))
		err := db.query(ctx, "SELECT "+entryColumns+", e."+db.rowKey()+" FROM entries e WHERE "+w.String(), func(c cells) error {
			e, err := db.entry(ctx, c)
			found[fmt.Sprint(c[len(c)-1])] = e
			return err
		}, w.args...)
		if err != nil {
			return nil, err
		}
		for _, k := range part {
			if e, ok := found[fmt.Sprint(k)]; ok { // it may have been removed meanwhile
				list = append(list, e)
			}
		}
	}
	return list, nil
}
