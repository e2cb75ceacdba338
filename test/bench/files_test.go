package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
)

const (
	fileRows = 1_000_000
	fileBar  = 200 * time.Millisecond
)

// entrySQL makes the entries of a ledger that has worked for long: 97 of 100 are
// clean, the rest infected, failed, not scanned or waiting. %s are what the two
// databases say differently: n numbers, the id, and how bytes are made of text.
const entrySQL = `INSERT INTO entries (id, unit, scan, stype, workflow, ikey, vkey, version, slot, state, priority, due, seq, discovered, finished, size, outcome, verdict, code, decision, class, detected)
	SELECT %s, 1 + g %% 2, 1 + g %% 6, 0, 1, %s, %s, %s, 0,
	CASE WHEN g %% 200 = 0 THEN 0 ELSE 2 END, 0, 0, 1, 1700000000000000 + g / 100 * 5000000, 1700000000000000 + g / 100 * 5000000 + 1000, 4096,
	CASE WHEN g %% 200 = 0 THEN 0 WHEN g %% 200 = 1 THEN 2 ELSE 1 END,
	CASE WHEN g %% 200 = 0 THEN 0 WHEN g %% 200 < 4 THEN 4 WHEN g %% 200 < 6 THEN 3 ELSE 1 END,
	CASE WHEN g %% 200 = 0 THEN 0 WHEN g %% 200 < 4 THEN 10 WHEN g %% 200 < 6 THEN 1 ELSE 0 END,
	CASE WHEN g %% 200 = 0 THEN 0 WHEN g %% 200 < 6 THEN 2 ELSE 1 END,
	CASE WHEN g %% 200 = 0 THEN 262399 WHEN g %% 200 = 1 THEN 655370 WHEN g %% 200 < 4 THEN 1703946 WHEN g %% 200 < 6 THEN 1769473 ELSE 1572864 END,
	CASE WHEN g %% 200 IN (4, 5) THEN 1 + g %% 17 ELSE 0 END
	FROM %s`

func fillLite(tb testing.TB, dir string) {
	tb.Helper()
	execute(tb, "sqlite", "file:"+filepath.Join(dir, "ledger.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=cache_size(-200000)",
		fmt.Sprintf(entrySQL, "randomblob(16)", "CAST('dir/' || (g % 1000) || '/file-' || g AS BLOB)", "x''", "x'76'",
			fmt.Sprintf("(WITH RECURSIVE s(g) AS (SELECT 0 UNION ALL SELECT g + 1 FROM s WHERE g < %d) SELECT g FROM s)", fileRows-1)))
}

func fillPG(tb testing.TB, dsn string) {
	tb.Helper()
	execute(tb, "pgx", dsn, fmt.Sprintf(entrySQL, "decode(md5(g::text), 'hex')", "convert_to('dir/' || (g % 1000) || '/file-' || g, 'UTF8')", "''::bytea", "'v'::bytea",
		fmt.Sprintf("generate_series(0::bigint, %d) g", fileRows-1)), "VACUUM ANALYZE entries")
}

func execute(tb testing.TB, driver, dsn string, statements ...string) {
	tb.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkFiles lists pages of 1,000,000 files, in each order, with three filters
// together: 200 ms at most.
func BenchmarkFiles(t *testing.B) {
	for _, dsn := range []string{"", servers.Postgres(t)} {
		name := map[bool]string{true: "sqlite", false: "postgres"}[dsn == ""]
		t.Run(name, func(t *testing.B) {
			dir := t.TempDir()
			open := func() (*ledgerBench, func()) {
				db, err := store.Open(context.Background(), store.Options{Dir: dir, DSN: dsn})
				if err != nil {
					t.Fatal(err)
				}
				return &ledgerBench{db: db}, func() {
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				}
			}
			b, closeIt := open()
			scans(t, b.db)
			closeIt()
			if dsn == "" {
				fillLite(t, dir)
			} else {
				fillPG(t, dsn)
			}
			b, closeIt = open()
			defer closeIt()
			for _, c := range fileCases() {
				took, n, total := timeFiles(t, b.db, c.f)
				fmt.Printf("files-page %s %s: p50=%s rows=%d total=%d of=%d\n", name, c.name, took.Round(100*time.Microsecond), n, total, fileRows)
				if took > fileBar && !c.free {
					t.Errorf("%s: %s, want at most %s", c.name, took, fileBar)
				}
			}
		})
	}
}

// scans makes two units with three scans each, numbered from 1.
func scans(tb testing.TB, db *store.DB) {
	tb.Helper()
	ctx := context.Background()
	wf, err := db.SaveWorkflow(ctx, []byte(`{"name":"w"}`))
	if err != nil {
		tb.Fatal(err)
	}
	var units []int64
	for _, name := range []string{"a", "b"} {
		id, err := db.EnsureUnit(ctx, connectors.Unit{Name: name, URL: "s3://" + name})
		if err != nil {
			tb.Fatal(err)
		}
		units = append(units, id)
	}
	for i := range 6 {
		s, err := db.StartScan(ctx, ledger.Scan{Unit: units[i%2], Type: ledger.Instant, Partition: fmt.Sprint("p", i), Workflow: wf})
		if err == nil {
			err = db.EndScan(ctx, s.ID, store.ScanCompleted)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

type fileCase struct {
	name string
	f    ledger.FileFilter
	free bool // it is measured, and has no bar
}

func fileCases() (cases []fileCase) {
	from := time.UnixMicro(1700000000000000)
	three := ledger.FileFilter{Tenant: 1, Units: []int64{2}, Results: []ledger.Result{ledger.ResultAllowed}, From: from.Add(time.Hour), To: from.Add(12 * time.Hour)}
	rare := ledger.FileFilter{Tenant: 1, Types: []ledger.ScanType{ledger.Instant}, Results: []ledger.Result{ledger.ResultBlocked}, Processing: []ledger.Processing{ledger.Available}}
	found := ledger.FileFilter{Tenant: 1, Units: []int64{1}, Codes: []int{1}, Detected: []int{3, 4, 5}}
	for by := ledger.ByDiscovery; by <= ledger.ByVulnerabilities; by++ {
		for _, desc := range []bool{true, false} {
			for what, f := range map[string]ledger.FileFilter{"all": {Tenant: 1}, "storage+allowed+dates": three, "type+blocked+available": rare, "storage+infected+engines": found} {
				f.Sort, f.Limit = []ledger.FileSort{{By: by, Desc: desc}}, 50
				cases = append(cases, fileCase{name: fmt.Sprintf("sort=%d desc=%t %s", by, desc, what), f: f})
			}
		}
	}
	slices.SortFunc(cases, func(a, b fileCase) int { return slices.Compare([]byte(a.name), []byte(b.name)) })
	return append(cases,
		fileCase{name: "page 2,000", f: ledger.FileFilter{Tenant: 1, Start: 100_000, Limit: 50}},
		fileCase{name: "search that hits", f: ledger.FileFilter{Tenant: 1, Search: "/file-99", Limit: 50}},
		fileCase{name: "search that hits nothing", f: ledger.FileFilter{Tenant: 1, Search: "zzz", Limit: 50}, free: true},
		fileCase{name: "10,000 at once", f: ledger.FileFilter{Tenant: 1, Limit: 10_000}, free: true})
}

// timeFiles is the median of five.
func timeFiles(tb testing.TB, db *store.DB, f ledger.FileFilter) (took time.Duration, n int, total int64) {
	tb.Helper()
	var list []time.Duration
	for range 5 {
		began := time.Now()
		page, err := db.Files(context.Background(), f)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, time.Since(began))
		n, total = len(page.Entries), page.Total
	}
	slices.Sort(list)
	return list[2], n, total
}
