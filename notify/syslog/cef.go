package syslog

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
)

// cef writes the event: a header with bars between its fields, and extensions.
func (e event) cef(version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CEF:0|Landwaiter|Landwaiter|%s|%s|%s|%d|", header(version), header(e.class), header(e.name), e.severity)
	sep := ""
	for _, x := range e.extensions {
		if x[1] != "" {
			b.WriteString(sep + x[0] + "=" + extension(x[1]))
			sep = " "
		}
	}
	return b.String()
}

// visible turns what could begin a line or steer a terminal into its escape.
func visible(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			fmt.Fprintf(&b, `\\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// header escapes a field of the header, and extension a value: backslashes
// before what visible adds.
func header(s string) string {
	return visible(strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ").Replace(s))
}

func extension(s string) string {
	return visible(strings.NewReplacer(`\`, `\\`, `=`, `\=`).Replace(s))
}

// eventOf reads a notice.
func eventOf(n ledger.Notice) (event, error) {
	switch n.Kind {
	case ledger.NoticeFile:
		f, err := notify.Body[ledger.FileNotice](n)
		return fileEvent(f), err
	case ledger.NoticeScan:
		s, err := notify.Body[ledger.ScanNotice](n)
		return event{at: s.Ended, class: "scan.completed", name: "Scan " + strings.ToLower(notify.ScanStatus(s.State)), severity: 2,
			extensions: [][2]string{{"externalId", s.ID.String()}, {"cs1Label", "storage"}, {"cs1", s.Unit}}}, err
	case ledger.NoticeAudit:
		r, err := notify.Body[ledger.AuditRow](n)
		return auditEvent(r), err
	}
	return event{}, fault.New(fault.Corrupt, "syslog", n.ID.String(), fmt.Errorf("no line for a notice of %q", n.Kind))
}

func fileEvent(f ledger.FileNotice) event {
	e := event{at: f.Time, class: "file.scanned", name: "File " + strings.ToLower(notify.FileStatus(f)), severity: 1}
	switch f.Verdict {
	case "infected":
		e.severity = 9
	case "suspicious":
		e.severity = 7
	case "not_scanned":
		e.severity = 6
	}
	var actions []string
	for _, a := range f.Actions {
		actions = append(actions, notify.Remediation(f, a)+": "+a.State)
	}
	size := ""
	if f.Size >= 0 {
		size = strconv.FormatInt(f.Size, 10)
	}
	e.extensions = [][2]string{{"externalId", f.ID}, {"outcome", notify.FileStatus(f)}, {"act", strings.Join(actions, ", ")}, {"fname", path.Base(f.Key)}, {"filePath", f.Key}, {"fsize", size},
		{"fileHash", f.SHA256}, {"reason", string(f.Reason)}, {"cs1Label", "storage"}, {"cs1", f.Unit}, {"cs2Label", "verdict"}, {"cs2", f.Verdict}, {"cs3Label", "threat"}, {"cs3", f.Threat}, {"msg", f.Error}}
	return e
}

func auditEvent(r ledger.AuditRow) event {
	severity := map[ledger.AuditLevel]int{ledger.Warning: 6, ledger.Error: 6}[r.Level]
	return event{at: r.At, class: "audit." + r.Action, name: "Audit " + r.Action, severity: max(severity, 2), extensions: [][2]string{{"externalId", strconv.FormatInt(r.N, 10)},
		{"suser", r.Who}, {"cat", r.Category.String()}, {"outcome", r.Level.String()}, {"cs1Label", "target"}, {"cs1", r.Target}, {"msg", r.Detail}}}
}
