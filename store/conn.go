package store

import (
	"context"
	"strconv"
	"strings"
)

// A conn is one connection to the database. It says the few things that
// SQLite and PostgreSQL do differently; what is said is in one place for both.
type conn interface {
	begin(ctx context.Context) error
	commit(ctx context.Context) error
	rollback()
	// each carries s out for every row and tells which rows it changed or found
	// a place for. SQLite runs a prepared statement a row, PostgreSQL one
	// statement over arrays.
	each(ctx context.Context, s *set, rows [][]any) ([]bool, error)
	// look runs the query s for every row; f gets the row's index and a result.
	look(ctx context.Context, s *set, rows [][]any, f func(i int, c cells) error) error
	// exec and query run one statement with ? for arguments.
	exec(ctx context.Context, sql string, args ...any) (int64, error)
	query(ctx context.Context, sql string, f func(c cells) error, args ...any) error
	close() error
}

// A set is a statement for many rows. In its text :name is a column of the
// row. The rest in braces is what PostgreSQL needs to do all rows at once:
//
//	{from} {using} {also}  the rows as a table: of an UPDATE or INSERT … SELECT, a DELETE, a SELECT
//	{ord}                  the row's number as the first result of a SELECT
//	{back}                 which rows were hit
//	{backid}               the same where the statement inserts: by the first column, which must be bytes
//	{order}                rows in the order given, so that two nodes lock in one order
//	{lock}                 keep what was read until the commit
type set struct {
	cols string // names with types: "id:b unit:i"; b bytes, i integer
	sql  string
	pg   string // where it differs beyond the braces
}

func (s *set) names() (names []string, types []byte) {
	for _, f := range strings.Fields(s.cols) {
		name, kind, _ := strings.Cut(f, ":")
		names, types = append(names, name), append(types, kind[0])
	}
	return names, types
}

// lite returns the statement for one row, and which columns its parameters take.
// They have no names: SQLite would look each up in a list. An error of any row
// rolls the whole transaction back, so SQLite need not be able to undo one
// statement alone: without OR FAIL it copies every page that an INSERT … SELECT
// is about to change.
func (s *set) lite() (sql string, order []int) {
	text := strings.NewReplacer("{from}", "", "{using}", "", "{also}", "", "{ord}", "", "{back}", "", "{backid}", "",
		"{order}", "", "{lock}", "", "GREATEST(", "max(", "LEAST(", "min(", "INSERT INTO", "INSERT OR FAIL INTO").Replace(s.sql)
	names, _ := s.names()
	sql = bindNames(text, names, func(i int) string {
		order = append(order, i)
		return "?"
	})
	return sql, order
}

// postgres returns the statement for arrays of columns.
func (s *set) postgres() string {
	text := s.sql
	if s.pg != "" {
		text = s.pg
	}
	names, types := s.names()
	var rows strings.Builder
	rows.WriteString("unnest(")
	for i, k := range types {
		if i > 0 {
			rows.WriteString(", ")
		}
		rows.WriteString("$" + strconv.Itoa(i+1) + map[byte]string{'b': "::bytea[]", 'i': "::bigint[]"}[k])
	}
	rows.WriteString(") WITH ORDINALITY AS v(" + strings.Join(names, ", ") + ", ord)")
	text = strings.NewReplacer("{from}", "FROM "+rows.String(), "{using}", "USING "+rows.String(), "{also}", ", "+rows.String(),
		"{ord}", "v.ord, ", "{back}", " RETURNING v.ord", "{backid}", " RETURNING "+names[0], "{order}", " ORDER BY v.ord").Replace(text)
	if from, _, ok := strings.Cut(text, "{lock}"); ok {
		text = from + " FOR UPDATE OF " + lockTable(s.sql)
	}
	return bindNames(text, names, func(i int) string { return "v." + names[i] })
}

// lockTable is the alias of the table that {lock} keeps: the word before {also}.
func lockTable(sql string) string {
	before, _, _ := strings.Cut(sql, "{also}")
	f := strings.Fields(before)
	return f[len(f)-1]
}

// bindNames replaces :name by what put says of the name's index.
func bindNames(sql string, names []string, put func(i int) string) string {
	index := make(map[string]int, len(names))
	for i, n := range names {
		index[n] = i
	}
	var b strings.Builder
	for i := 0; i < len(sql); i++ {
		if sql[i] != ':' || i+1 == len(sql) || sql[i+1] == ':' || (i > 0 && sql[i-1] == ':') {
			b.WriteByte(sql[i])
			continue
		}
		j := i + 1
		for j < len(sql) && (sql[j] == '_' || sql[j] >= 'a' && sql[j] <= 'z' || sql[j] >= '0' && sql[j] <= '9') {
			j++
		}
		n, ok := index[sql[i+1:j]]
		if !ok {
			b.WriteString(sql[i:j])
		} else {
			b.WriteString(put(n))
		}
		i = j - 1
	}
	return b.String()
}

// dollars turns ? into $1, $2 … for PostgreSQL. Our statements have no ? in
// literals.
func dollars(sql string) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(sql); i++ {
		if sql[i] == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
		} else {
			b.WriteByte(sql[i])
		}
	}
	return b.String()
}

// cells are the columns of a result as the drivers give them.
type cells []any

func (c cells) i(n int) int64 {
	switch v := c[n].(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case bool:
		if v {
			return 1
		}
	}
	return 0
}

// b returns the bytes, nil for NULL.
func (c cells) b(n int) []byte {
	switch v := c[n].(type) {
	case []byte:
		if v == nil {
			return []byte{}
		}
		return v
	case string:
		return []byte(v)
	}
	return nil
}

func (c cells) s(n int) string {
	switch v := c[n].(type) {
	case []byte:
		return string(v)
	case string:
		return v
	}
	return ""
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// text returns s as bytes, NULL for "".
func text(s string) any {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// blob returns b, NULL for nil.
func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
