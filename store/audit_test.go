package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
)

func addRows(t testing.TB, db *store.DB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := db.AddAudit(ctx, ledger.AuditRow{Tenant: int64(1 + i%2), Who: fmt.Sprint("user", i), WhoID: ledger.NewID(), Action: "group.add", Target: fmt.Sprint("g", i),
			Level: ledger.AuditLevel(i % 3), Category: ledger.CategoryStorage, Detail: "ä\x00"}); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, db *store.DB) control.Verified {
	t.Helper()
	return must((&control.Control{Store: db}).VerifyAudit(ctx))(t)
}

func testAudit(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	if v := verify(t, db); !v.Sound() || v.Rows != 0 {
		t.Errorf("an empty chain: %+v", v)
	}
	addRows(t, db, 0, 12)
	if v := verify(t, db); !v.Sound() || v.Rows != 12 {
		t.Errorf("%+v", v)
	}
	two, category := ledger.Error, ledger.CategoryUser
	for _, c := range []struct {
		f     ledger.AuditFilter
		rows  int
		total int64
		first string
	}{
		{ledger.AuditFilter{}, 12, 12, "g11"}, {ledger.AuditFilter{Tenant: 1}, 6, 6, "g10"}, {ledger.AuditFilter{Tenant: 2, Limit: 2, Start: 1}, 2, 6, "g9"},
		{ledger.AuditFilter{Level: &two}, 4, 4, "g11"}, {ledger.AuditFilter{Category: &category}, 0, 0, ""}, {ledger.AuditFilter{Search: "user1"}, 3, 3, "g11"},
		{ledger.AuditFilter{Tenant: 3}, 0, 0, ""}, {ledger.AuditFilter{From: time.Now().Add(time.Hour)}, 0, 0, ""}, {ledger.AuditFilter{To: time.Now().Add(-time.Hour)}, 0, 0, ""},
	} {
		list, total, err := db.Audit(ctx, c.f)
		if err != nil || len(list) != c.rows || total != c.total || c.rows > 0 && list[0].Target != c.first {
			t.Errorf("%+v: %d rows of %d, %v; want %d of %d from %s", c.f, len(list), total, err, c.rows, c.total, c.first)
		}
	}
}

// What retention removed is a beginning, and what is left still proves itself.
func testAuditCut(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	addRows(t, db, 0, 10)
	if n := must(db.CutAudit(ctx, time.Now().Add(-time.Hour), 100))(t); n != 0 {
		t.Errorf("%d young rows were removed", n)
	}
	later := time.Now().Add(time.Hour)
	if n := must(db.CutAudit(ctx, later, 3))(t); n != 3 {
		t.Errorf("%d rows removed, want 3", n)
	}
	if v := verify(t, db); !v.Sound() || v.Rows != 7 || v.Cut == 0 {
		t.Errorf("%+v", v)
	}
	if n := must(db.CutAudit(ctx, later, 100))(t); n != 6 {
		t.Errorf("%d rows removed, want all but the last", n)
	}
	addRows(t, db, 10, 12)
	if v := verify(t, db); !v.Sound() || v.Rows != 3 {
		t.Errorf("%+v", v)
	}
}

// Whatever somebody does to the rows behind our back is found, and where.
func TestAuditTampering(t *testing.T) {
	server := servers.Postgres(t)
	for i, c := range []struct {
		name, sql string
		broken    int64
	}{
		{"a word changed", "UPDATE audit SET target = 'nothing' WHERE n = 4", 4},
		{"a level changed", "UPDATE audit SET level = 0 WHERE n = 6", 6},
		{"a tenant changed", "UPDATE audit SET tenant = 7 WHERE n = 2", 2},
		{"one removed", "DELETE FROM audit WHERE n = 5", 6},
		{"the first removed", "DELETE FROM audit WHERE n = 1", 2},
		{"the last removed", "DELETE FROM audit WHERE n = 8", 8},
		{"two changed places", "UPDATE audit SET n = CASE n WHEN 3 THEN -3 WHEN 5 THEN -5 END WHERE n IN (3, 5); UPDATE audit SET n = 8 + n WHERE n < 0", 3},
		{"one added", "INSERT INTO audit (n, tenant, at, who, type, category, level, action, target, detail, before, hash) SELECT 99, tenant, at, who, type, category, level, action, target, detail, hash, hash FROM audit WHERE n = 8", 99},
		{"all removed", "DELETE FROM audit", 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn := database(t, server, "")
			db := openAt(t, store.Options{DSN: dsn, Lease: 2 * time.Second})
			addRows(t, db, 0, 8)
			if v := verify(t, db); !v.Sound() {
				t.Fatalf("before: %+v", v)
			}
			conn := must(pgx.Connect(ctx, dsn))(t)
			defer conn.Close(ctx)
			// Identity columns take a number of ours only when told to.
			if _, err := conn.Exec(ctx, "ALTER TABLE audit ALTER n DROP IDENTITY IF EXISTS; "+c.sql); err != nil {
				t.Fatal(i, err)
			}
			if v := verify(t, db); v.Broken != c.broken || v.Why == "" {
				t.Errorf("got row %d (%s), want %d", v.Broken, v.Why, c.broken)
			}
		})
	}
}

// Two nodes that write at once make one chain.
func TestAuditOfTwoNodes(t *testing.T) {
	dsn := database(t, servers.Postgres(t), "")
	const writers, each = 4, 25
	var nodes []*store.DB
	for range 2 {
		nodes = append(nodes, openAt(t, store.Options{DSN: dsn, Lease: 2 * time.Second}))
	}
	var wg sync.WaitGroup
	for _, db := range nodes {
		for w := range writers {
			wg.Go(func() { addRows(t, db, w*each, (w+1)*each) })
		}
	}
	wg.Wait()
	if v := verify(t, nodes[0]); !v.Sound() || v.Rows != 2*writers*each {
		t.Errorf("%+v", v)
	}
}
