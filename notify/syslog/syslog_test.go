package syslog

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)

func notice(t *testing.T, kind ledger.NoticeKind, body any) ledger.Notice {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Notice{ID: ledger.NewID(), Kind: kind, Body: b}
}

// rsyslog reads what we write, field by field, a line for each notice.
func TestRsyslog(t *testing.T) {
	r := servers.StartRsyslog(t)
	s := New(Options{Host: "127.0.0.1", Port: r.Port, Version: "1.2", Guard: outbound.Guard{Loopback: true}})
	file := notice(t, ledger.NoticeFile, ledger.FileNotice{Record: ledger.Record{ID: "e1", Time: at, Unit: "inbox", Key: "in/a=b\\|ä.txt", Size: 3, Verdict: "infected", Threat: "Eicar\n<0>1 - - forged - - - x\r\x00\x1b[31m\u202e",
		Decision: "blocked", Actions: []ledger.ActionRecord{{Type: "quarantine", State: "done"}}}})
	audit := notice(t, ledger.NoticeAudit, ledger.AuditRow{N: 7, At: at, Who: "ann", Action: "group.add", Target: "Fin|ance", Level: ledger.Warning, Category: ledger.CategoryStorage})
	scan := notice(t, ledger.NoticeScan, ledger.ScanNotice{Unit: "inbox", State: "completed", Ended: at})
	list := []ledger.Notice{file, audit, scan}
	var lines []servers.SyslogLine
	for end := time.Now().Add(20 * time.Second); len(lines) < len(list) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if len(lines) < len(r.Lines(t)) { // UDP may lose one: it is written again
			lines = r.Lines(t)
			continue
		}
		if len(lines) < len(list) {
			if err := s.Deliver(t.Context(), list[len(lines)]); err != nil {
				t.Fatal(err)
			}
			for wait := time.Now().Add(2 * time.Second); len(r.Lines(t)) == len(lines) && time.Now().Before(wait); {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	lines = r.Lines(t)
	if len(lines) != len(list) {
		t.Fatalf("%d lines, want %d: %+v", len(lines), len(list), lines)
	}
	for i, want := range []servers.SyslogLine{
		{Severity: "crit", MsgID: "file", Message: `CEF:0|Landwaiter|Landwaiter|1.2|file.scanned|File blocked|9|externalId=e1 outcome=Blocked act=BlockedQuarantined: done fname=a\=b\\|ä.txt filePath=in/a\=b\\|ä.txt fsize=3 ` +
			`cs1Label=storage cs1=inbox cs2Label=verdict cs2=infected cs3Label=threat cs3=Eicar\n<0>1 - - forged - - - x\r\\u0000\\u001b[31m\\u202e`},
		{Severity: "warning", MsgID: "audit", Message: `CEF:0|Landwaiter|Landwaiter|1.2|audit.group.add|Audit group.add|6|externalId=7 suser=ann cat=Storage outcome=Warning cs1Label=target cs1=Fin|ance`},
		{Severity: "info", MsgID: "scan", Message: `CEF:0|Landwaiter|Landwaiter|1.2|scan.completed|Scan completed|2|externalId=00000000-0000-0000-0000-000000000000 cs1Label=storage cs1=inbox`},
	} {
		got := lines[i]
		if got.Facility != "local0" || got.Severity != want.Severity || got.MsgID != want.MsgID || strings.TrimPrefix(got.Message, " ") != want.Message+" cs6Label=notice cs6="+list[i].ID.String() ||
			!strings.HasPrefix(got.Time, "2026-01-02T03:04:05.000678") || got.Data != "-" {
			t.Errorf("line %d:\n got %+v\nwant %+v", i, got, want)
		}
	}
}

func TestLineIsBounded(t *testing.T) {
	s := New(Options{Version: "1"})
	n := notice(t, ledger.NoticeFile, ledger.FileNotice{Record: ledger.Record{Key: strings.Repeat("ä\n", 20000), Time: at}})
	e, err := eventOf(n)
	if err != nil {
		t.Fatal(err)
	}
	if line := s.line(n, e); len(line) > maxLine || strings.ContainsAny(line, "\n\r\x00") || !strings.HasPrefix(line, "<134>1 2026-01-02T03:04:05.000678Z ") {
		t.Errorf("%d bytes: %.100q", len(line), line)
	}
}

func TestRefusals(t *testing.T) {
	s := New(Options{Host: "127.0.0.1", Port: 514})
	if err := s.Deliver(t.Context(), notice(t, ledger.NoticeScan, ledger.ScanNotice{})); !fault.Is(err, fault.Invalid) {
		t.Errorf("guarded: %v", err)
	}
	for _, n := range []ledger.Notice{{Kind: ledger.NoticeMail}, {Kind: ledger.NoticeAudit, Body: []byte("{")}} {
		if err := s.Deliver(t.Context(), n); !fault.Is(err, fault.Corrupt) {
			t.Errorf("got %v, want Corrupt", err)
		}
	}
}
