package mdcore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

// How much of an archive's list of members is asked for, beyond what comes with
// the report. The instance's own verdict covers all of them.
const (
	pageSize = 500
	maxPages = 20
)

// A tally is what the members of an archive add to its report.
type tally struct {
	members []scan.Member
	worst   scan.Verdict // of Suspicious and Infected
	engines int64        // the most that looked at one member
}

// members goes through the members of job id, of whose report rep is the first page.
func (e *Engine) members(ctx context.Context, id string, rep *report) (*tally, error) {
	t := new(tally)
	if err := t.add(&rep.Extracted, 0); err != nil {
		return nil, e.malformed("mdcore.members", err)
	}
	page, p := rep.Extracted, e.patience()
	next := page.First.n + int64(len(page.Files))
	for n := 0; n < maxPages && len(page.Files) > 0 && next < page.Count.n && len(t.members) < scan.MaxDetails; n++ {
		more, err := e.fetch(ctx, id, pageQuery(next))
		if err != nil {
			after, err := p.forgive(ctx, err)
			if err == nil {
				err = sleep(ctx, max(after, e.o.PollMin))
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		done, err := more.finished(id)
		if err == nil && !done {
			err = errors.New("a finished report is unfinished again")
		}
		page = more.Extracted
		if err == nil && page.First.set && page.First.n != next {
			break // this version knows no pages
		}
		if err == nil {
			err = t.add(&page, 0)
		}
		if err != nil {
			return nil, e.malformed("mdcore.members", err)
		}
		next += int64(len(page.Files))
	}
	return t, nil
}

// add counts members in. One that is unfinished in a finished report is an error.
func (t *tally) add(c *children, depth int) error {
	if depth > maxDepth {
		return errors.New("members are nested too deep")
	}
	for i := range c.Files {
		m := &c.Files[i]
		if err := t.one(m); err != nil {
			return err
		}
		if err := t.add(&m.Extracted, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (t *tally) one(m *child) error {
	name, size, code, progress := m.Name, m.Size.n, m.Code, []number{m.Progress}
	member := scan.Member{Verdict: scan.NotScanned, Reason: scan.EngineError}
	if m.File != nil {
		name, size = cmp.Or(name, m.File.Name), cmp.Or(size, m.File.Size.n)
		member.SHA256 = hexOnly(m.File.SHA256)
	}
	if m.Process != nil {
		progress = append(progress, m.Process.Progress)
	}
	looked := m.Engines.n
	if m.Scan != nil {
		if !code.set {
			code = m.Scan.Code
		}
		progress = append(progress, m.Scan.Progress)
		looked = max(looked, looks(m.Scan).looked)
		member.Threat = threat(m.Scan)
	}
	for _, p := range progress {
		if p.set && p.n != 100 {
			return fmt.Errorf("a member is unfinished (%d %%) in a finished report", p.n)
		}
	}
	if code.set {
		if !scan.CodeFinal(int(code.n)) {
			return fmt.Errorf("a member is unfinished (code %d) in a finished report", code.n)
		}
		member.Verdict, member.Reason = scan.FromCode(int(code.n))
	}
	t.engines = max(t.engines, looked)
	if member.Verdict == scan.Clean {
		return nil
	}
	if member.Verdict != scan.NotScanned {
		t.worst = scan.Worse(t.worst, member.Verdict)
		if member.Threat == "" {
			member.Threat = scan.CodeName(int(code.n))
		}
	} else {
		member.Threat = ""
	}
	member.Path, member.Size = object.FormatKey(plainPath(name)), max(size, 0)
	if len(t.members) < scan.MaxDetails {
		t.members = append(t.members, member)
	}
	return nil
}

// judge makes a report of a complete answer. The verdict is the instance's own,
// by its code, with three exceptions. "No Threat Detected" where too few
// engines looked, at the object or a member, is not scanned. A code that leaves
// open whether the content was scanned is clean where the engines' own results
// say that it was, and that nothing was found. And a clean archive with a
// member that is not is as bad as that member. An engine that failed beside
// others, or found something below the instance's threshold, changes nothing.
func (e *Engine) judge(r *report, t *tally) scan.Report {
	code := int(r.Scan.Code.n)
	l := looks(r.Scan)
	out := scan.Report{Code: code, Engine: e.name, JobID: r.DataID, Engines: int(l.looked), Detected: l.detected,
		Details: details(r.Scan), Members: t.members, DefinedAt: l.defined,
		Sensitive: r.sensitive(), Vulnerabilities: r.vulnerabilities()}
	out.Verdict, out.Reason = scan.FromCode(code)
	enough := max(l.looked, t.engines) >= int64(e.o.MinEngines) || l.hidden && e.o.MinEngines == 1
	switch {
	case code == 0 && !enough:
		out.Verdict, out.Reason = scan.NotScanned, scan.EngineError
		out.Code = scan.Code(out.Verdict, "") // 10, Not Scanned
	case openCode(code) && enough && l.detected == 0 && l.looked > 0:
		out.Verdict, out.Reason = scan.Clean, ""
	}
	if scan.Worse(out.Verdict, t.worst) != out.Verdict {
		out.Verdict, out.Reason = t.worst, ""
		out.Code = scan.Code(t.worst, "")
	}
	if out.Verdict == scan.Infected || out.Verdict == scan.Suspicious {
		out.Threat = r.threat(t)
	}
	if p := r.Process; p.Result == "Blocked" {
		out.Blocked = plain(cmp.Or(strings.Join(p.Reasons, ", "), p.Reason, r.Scan.Said, "Blocked"), 300)
		out.BlockedBy = plain(p.Profile, 200)
	}
	out.Sanitized = sanitized(r.Process.Post)
	return out
}

// openCode reports whether a code says only that something beside the scan was
// fine: country of origin, threat intelligence, AI content, or that the copy is
// sanitised.
func openCode(n int) bool { return n == 41 || n == 48 || n == 61 || n == 65 }

// A look is what the engines of a multi-scanner say together.
type look struct {
	looked   int64 // engines that came to a result of their own
	detected int
	defined  time.Time // oldest definitions among them
	hidden   bool      // nothing is said of engines at all
}

func looks(s *scanResults) (l look) {
	for _, d := range s.Details {
		switch d.Code.n {
		case 1, 2, 22:
			l.detected++
		case 0:
			if !d.Code.set {
				continue
			}
		default:
			continue // failed, not scanned, cancelled, unsupported
		}
		l.looked++
		if at := when(d.Defined); !at.IsZero() && (l.defined.IsZero() || at.Before(l.defined)) {
			l.defined = at
		}
	}
	if len(s.Details) == 0 { // the instance's settings may hide them, and even their number
		l.looked = max(min(s.Engines.n, 1000), 0)
		l.hidden = !s.Engines.set
	}
	return l
}

// details lists engines, those that found something first.
func details(s *scanResults) []scan.Detail {
	var out []scan.Detail
	for _, name := range slices.Sorted(maps.Keys(s.Details)) {
		d := s.Details[name]
		v := scan.NotScanned
		if d.Code.set {
			v, _ = scan.FromCode(int(d.Code.n))
		}
		out = append(out, scan.Detail{Engine: plain(name, 100), Verdict: v, Threat: plain(d.Threat, 200), Defined: when(d.Defined)})
	}
	found := func(d scan.Detail) int {
		if d.Verdict == scan.Infected || d.Verdict == scan.Suspicious {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b scan.Detail) int { return found(a) - found(b) })
	return out[:min(len(out), scan.MaxDetails)]
}

// threat names what was found: by the first engine that did, else by a rule or
// member, else in the words for the code.
func (r *report) threat(t *tally) string {
	if s := threat(r.Scan); s != "" {
		return s
	}
	if r.Yara != nil {
		var hits map[string]json.RawMessage
		if json.Unmarshal(r.Yara.Hits, &hits) == nil && len(hits) > 0 {
			return plain(slices.Min(slices.Collect(maps.Keys(hits))), 200)
		}
	}
	for _, m := range t.members {
		if m.Verdict == t.worst && m.Threat != "" {
			return m.Threat
		}
	}
	if name := scan.CodeName(int(r.Scan.Code.n)); name != "Unknown" && r.Scan.Code.n != 0 {
		return name
	}
	return plain(r.Scan.Said, 200)
}

func threat(s *scanResults) string {
	for _, name := range slices.Sorted(maps.Keys(s.Details)) {
		if d := s.Details[name]; (d.Code.n == 1 || d.Code.n == 2 || d.Code.n == 22) && strings.TrimSpace(d.Threat) != "" {
			return plain(d.Threat, 200)
		}
	}
	return ""
}

// sensitive counts the hits of data loss prevention.
func (r *report) sensitive() int {
	n := 0
	if r.DLP != nil {
		var hits map[string]struct {
			Hits []json.RawMessage `json:"hits"`
		}
		if json.Unmarshal(r.DLP.Hits, &hits) == nil {
			for _, h := range hits {
				n += len(h.Hits)
			}
		}
		if r.DLP.Verdict.n == 1 || r.DLP.Verdict.n == 2 {
			n = max(n, 1)
		}
	}
	if r.Scan.Code.n == 20 {
		n = max(n, 1)
	}
	return n
}

func (r *report) vulnerabilities() int {
	n := 0
	if v := r.Vuln; v != nil {
		if v.Verdict.n == 1 {
			n = 1
		}
		if v.Result != nil {
			n = max(n, len(v.Result.List))
			if p := v.Result.Product; p != nil {
				if p.Has {
					n = max(n, 1)
				}
				n = max(n, len(p.List))
			}
		}
	}
	if r.Scan.Code.n == 18 {
		n = max(n, 1)
	}
	return n
}

// sanitized says what became of Deep CDR; nil if there is no copy.
func sanitized(p *postProcessing) *scan.Sanitized {
	if p == nil {
		return nil
	}
	file := p.File
	if file == nil && len(p.Details) > 0 && p.Details[0] == '{' {
		var d struct {
			File *sanitizedFile `json:"sanitized_file_info"`
		}
		if json.Unmarshal(p.Details, &d) == nil {
			file = d.File
		}
	}
	out := &scan.Sanitized{Name: baseName(p.Converted)}
	if file != nil {
		out.Size, out.SHA256 = max(file.Size.n, 0), hexOnly(file.SHA256)
	}
	for _, w := range p.Ran {
		if l := strings.ToLower(w); l == "sanitized" || strings.HasPrefix(l, "sanitized ") {
			out.Result = plain(w, 100)
			return out
		}
	}
	for _, w := range slices.Concat(p.Failed, p.Ran) {
		if strings.HasPrefix(strings.ToLower(w), "sanitiz") {
			return nil // failed, skipped, timed out
		}
	}
	if file == nil && p.Converted == "" {
		return nil
	}
	out.Result = "Sanitized"
	return out
}

// baseName keeps of a proposed name what can be no path.
func baseName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	if s = plain(s, maxName); s == "." || s == ".." {
		return ""
	}
	return s
}

// plainPath bounds a member's path; object.FormatKey makes it fit to show.
func plainPath(s string) string { return s[:min(len(s), 1024)] }

// hexOnly returns a SHA-256 in lower case, or "".
func hexOnly(s string) string {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		return ""
	}
	return strings.ToLower(s)
}

// when reads a time of definitions; zero if it is none.
func when(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1990 || t.Year() > 9000 {
		return time.Time{}
	}
	return t.UTC()
}
