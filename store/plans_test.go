package store

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"testing"
)

// No statement that runs for an entry or a page reads a whole table, whatever
// SQLite thinks of one without statistics.
func TestPlans(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	db, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	texts := map[string]string{"top": liteTop, "pick": litePick, "heads": liteHeads, "lines": liteLines,
		"running": "SELECT e.id FROM entries e WHERE e.state < 2 AND e.running = 1",
		"history": "SELECT e.id FROM entries e WHERE e.unit = ? AND e.ikey = ? AND e.state > 0 ORDER BY e.id DESC LIMIT ?",
		"page":    "SELECT ikey FROM inventory WHERE unit = ? AND ikey > ? ORDER BY ikey LIMIT ?",
		"purge":   "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE state = 2 AND finished < ? AND outcome <> 2 ORDER BY finished LIMIT ?)"}
	for name, s := range map[string]*set{"insertEntry": insertEntry, "foldEntry": foldEntry, "inventoryHas": inventoryHas, "pendingOf": pendingOf, "endGone": endGone,
		"touchEntry": touchEntry, "insertBaseline": insertBaseline, "updateBaseline": updateBaseline, "inventoryOld": inventoryOld, "newInventory": newInventory,
		"setInventory": setInventory, "removeInventory": removeInventory, "startEntry": startEntry, "parkEntry": parkEntry, "wholeEntry": wholeEntry, "wakeEntry": wakeEntry,
		"saveEntry": saveEntry, "forgetEntry": forgetEntry, "entryStatus": entryStatus, "takeHold": takeHold, "othersHold": othersHold, "doubtPending": doubtPending,
		"dropHolds": dropHolds, "dropHold": dropHold, "holdsOfEntry": holdsOfEntry, "latestEntry": latestEntry, "entryByID": entryByID, "reopenEntry": reopenEntry,
		"crashedEntry": crashedEntry} {
		texts[name], _ = s.lite()
	}
	raw, err := sql.Open("sqlite", litePath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	whole := regexp.MustCompile(`^SCAN (entries|e|w|a|p|inventory|i|holds|h)\b`)
	for name, text := range texts {
		args := make([]any, strings.Count(text, "?"))
		for i := range args {
			args[i] = 1
		}
		for _, detail := range plan(t, raw, name, text, args) {
			if whole.MatchString(detail) && !strings.Contains(detail, "USING INDEX entries_running") {
				t.Errorf("%s: %s", name, detail)
			}
		}
	}
}

// plan is what SQLite would do for a statement, a line a step.
func plan(t *testing.T, raw *sql.DB, name, text string, args []any) (details []string) {
	t.Helper()
	rows, err := raw.Query("EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		details = append(details, detail)
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
	return details
}
