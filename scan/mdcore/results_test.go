package mdcore_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/mdcore"
	standin "github.com/landwaiter/landwaiter/test/servers/mdcore"
)

func zipOf(t testing.TB, names []string, content func(i int) []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, n := range names {
		w, err := z.Create(n)
		if err == nil {
			_, err = w.Write(content(i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchives(t *testing.T) {
	for _, nested := range []bool{false, true} {
		s := standin.Start(t, standin.Options{NestedForm: nested, PageSize: 3})
		e := open(t, s, nil)
		names := make([]string, 620)
		for i := range names {
			names[i] = "dir/f" + itoa(i)
		}
		many := zipOf(t, names, func(i int) []byte {
			switch i {
			case 610:
				return standin.EICAR()
			case 2, 300:
				return []byte("LW-CODE:23")
			}
			return []byte("fine " + itoa(i))
		})
		rep, err := e.Scan(t.Context(), sample("a.zip", many))
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verdict != scan.Infected || len(rep.Members) != 3 || rep.Threat == "" {
			t.Errorf("nested %v: %v %q, members %+v", nested, rep.Verdict, rep.Threat, rep.Members)
			continue
		}
		m := rep.Members[2]
		if m.Path != "a.zip/[Content]/dir/f610" || m.Verdict != scan.Infected || m.Size != int64(len(standin.EICAR())) {
			t.Errorf("nested %v: %+v", nested, m)
		}
		if m = rep.Members[0]; m.Verdict != scan.NotScanned || m.Reason != scan.Unsupported || m.Threat != "" {
			t.Errorf("nested %v: %+v", nested, m)
		}
		if !nested {
			if pages := len(s.Requests("GET", "/file/")); pages != 1+2 {
				t.Errorf("%d pages", pages)
			}
		}
		deep := zipOf(t, []string{"in.zip"}, func(int) []byte {
			return zipOf(t, []string{"x"}, func(int) []byte { return standin.EICAR() })
		})
		if rep, err = e.Scan(t.Context(), sample("b.zip", deep)); err != nil || rep.Verdict != scan.Infected {
			t.Errorf("nested %v: in an archive in one: %v, %v", nested, rep.Verdict, err)
		}
		all := zipOf(t, names, func(int) []byte { return standin.EICAR() })
		if rep, err = e.Scan(t.Context(), sample("c.zip", all)); err != nil || len(rep.Members) != scan.MaxDetails {
			t.Errorf("nested %v: %d members, %v", nested, len(rep.Members), err)
		}
		fine := zipOf(t, names[:9], func(int) []byte { return []byte("fine") })
		if rep, err = e.Scan(t.Context(), sample("d.zip", fine)); err != nil || rep.Verdict != scan.Clean || len(rep.Members) != 0 {
			t.Errorf("nested %v: clean: %v, %+v, %v", nested, rep.Verdict, rep.Members, err)
		}
	}
}

// A bad member is not washed clean by what the archive's own result says; one
// that was merely not scanned is listed.
func TestMembersAgainstTheWhole(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	clean := strings.ReplaceAll(whole, "CODE", "0")
	for code, want := range map[string]scan.Verdict{"1": scan.Infected, "2": scan.Suspicious, "17": scan.Suspicious, "12": scan.Clean, "0": scan.Clean, "7": scan.Clean} {
		for _, form := range []string{`{"data_id":"c","display_name":"m","scan_all_result_i":` + code + `}`, `{"data_id":"c","file_info":{"display_name":"m","sha256":"` + strings.Repeat("aB", 32) + `"},"scan_results":{"scan_all_result_i":` + code + `}}`} {
			answers(s, 200, strings.Replace(clean, `"files_in_archive":[]`, `"files_in_archive":[`+form+`]`, 1))
			rep, err := e.Scan(t.Context(), text("content"))
			if err != nil || rep.Verdict != want || (code != "0" && code != "7") != (len(rep.Members) == 1) {
				t.Errorf("member of code %s: %+v, %v", code, rep, err)
			}
			if want != scan.Clean && (rep.Code == 0 || rep.Threat == "") {
				t.Errorf("member of code %s: %+v", code, rep)
			}
		}
	}
	// Without engines of its own, an archive is as clean as its members are.
	bare := strings.Replace(clean, `"total_avs":1`, `"total_avs":0`, 1)
	bare = strings.Replace(bare, `"scan_result_i":0`, `"scan_result_i":10`, 1)
	for with, want := range map[string]scan.Verdict{"0": scan.NotScanned, "4": scan.Clean} {
		answers(s, 200, strings.Replace(bare, `"files_in_archive":[]`, `"files_in_archive":[{"scan_all_result_i":0,"scanned_with":`+with+`}]`, 1))
		if rep, err := e.Scan(t.Context(), text("content")); err != nil || rep.Verdict != want {
			t.Errorf("members scanned with %s: %v, %v", with, rep.Verdict, err)
		}
	}
}

func TestHashLookup(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) { o.HashLookup, o.Rule = true, "Multi" })
	ask := func(content, name, rule string) scan.Report {
		t.Helper()
		smp := sample(name, []byte(content))
		sum := sha256.Sum256([]byte(content))
		smp.SHA256, smp.Rule = sum[:], rule
		rep, err := e.Scan(t.Context(), smp)
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	bad := string(standin.EICAR())
	for i, tc := range []struct {
		content, name, rule string
		cached              bool
		want                scan.Verdict
	}{
		{"a", "a.txt", "", false, scan.Clean}, {"a", "a.txt", "", true, scan.Clean}, {"a", "b.TXT", "", true, scan.Clean},
		{"a", "a.pdf", "", false, scan.Clean}, {"a", "a.pdf", "Other", false, scan.Clean}, {"a", "a.pdf", "Other", true, scan.Clean},
		{bad, "x", "", false, scan.Infected}, {bad, "x", "", true, scan.Infected},
		{"LW-CODE:12", "z", "", false, scan.NotScanned}, {"LW-CODE:12", "z", "", false, scan.NotScanned},
	} {
		if rep := ask(tc.content, tc.name, tc.rule); rep.Cached != tc.cached || rep.Verdict != tc.want || rep.JobID == "" {
			t.Errorf("%d: cached %v, %v", i, rep.Cached, rep.Verdict)
		}
	}
	// A hash that is not that of the content is no way around the scan.
	liar := sample("x", standin.EICAR())
	sum := sha256.Sum256([]byte("a"))
	liar.SHA256, liar.Rule = sum[:], "Multi"
	liar.Name, liar.Size = "a.txt", 1
	if rep, err := e.Scan(t.Context(), liar); err == nil {
		t.Errorf("a false hash and size: %+v", rep)
	}
	liar = sample("a.txt", []byte("b"))
	liar.SHA256 = sum[:]
	if rep, err := e.Scan(t.Context(), liar); err != nil || rep.Cached {
		t.Errorf("a false hash: %+v, %v", rep, err)
	}
	r := s.Requests("GET", "/hash/")[0].Header
	if r.Get("rule") != "Multi" || r.Get("selfonly") != "true" {
		t.Errorf("headers %v", r)
	}
	s.SetEngines([]standin.Engine{{ID: "new", Name: "New", Kind: "av", Active: true, Defined: time.Now()}})
	if rep := ask(bad, "x", ""); rep.Cached {
		t.Error("an outdated result was taken")
	}
	for _, f := range []standin.Fault{standin.Status(500, "x", ""), standin.Reset, standin.Raw(200, `{}`), standin.Raw(200, strings.ReplaceAll(strings.ReplaceAll(whole, "ID", "abc"), "CODE", "0"))} {
		s.SetFault(standin.On("GET", "/hash/", f))
		if rep := ask(bad, "x", ""); rep.Cached || rep.Verdict != scan.Infected {
			t.Errorf("%+v", rep)
		}
	}
}

func TestSanitized(t *testing.T) {
	s := standin.Start(t, standin.Options{APIKey: "k"})
	e := open(t, s, func(o *mdcore.Options) { o.APIKey = "k" })
	for content, result := range map[string]string{"LW-SANITIZE": "Sanitized", "LW-SANITIZE-PARTIAL": "Sanitized Partially"} {
		rep, err := e.Scan(t.Context(), sample("doc.docx", []byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		if rep.Sanitized == nil || rep.Sanitized.Result != result || rep.Sanitized.Size == 0 || rep.Sanitized.SHA256 == "" ||
			rep.Sanitized.Name != "doc_sanitized_by_OPSWAT_MetaDefender_"+rep.JobID+".docx" {
			t.Fatalf("%+v", rep.Sanitized)
		}
		r, err := e.OpenSanitized(t.Context(), rep)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || !bytes.HasPrefix(b, []byte("sanitised: ")) {
			t.Errorf("%q, %v", b, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for name, f := range map[string]standin.Fault{
			"other": standin.Raw(200, strings.Repeat("y", len(b))), "short": standin.Raw(200, string(b[:5])), "long": standin.Raw(200, string(b)+"!"),
			"cut": standin.Cut(string(b), 5), "empty": standin.Raw(200, ""),
		} {
			s.SetFault(standin.On("GET", "/file/converted/", f))
			r, err := e.OpenSanitized(t.Context(), rep)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if _, err := io.ReadAll(r); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s was read to its end: %v", name, err)
			}
			_ = r.Close()
		}
		for name, f := range map[string]standin.Fault{
			"404": standin.Status(404, "gone", ""), "404 in the other form": standin.Raw(404, `{"`+rep.JobID+`":"Not Found"}`), "200": standin.Raw(200, `{"`+rep.JobID+`":"Not Found"}`),
		} {
			s.SetFault(standin.On("GET", "/file/converted/", f))
			if _, err := e.OpenSanitized(t.Context(), rep); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for status, kind := range map[int]fault.Kind{403: fault.Denied, 405: fault.Denied, 500: fault.Unavailable, 429: fault.Throttled, 302: fault.Unavailable} {
			s.SetFault(standin.On("GET", "/file/converted/", standin.Status(status, "x", "")))
			if _, err := e.OpenSanitized(t.Context(), rep); !fault.Is(err, kind) {
				t.Errorf("%d: %v", status, err)
			}
		}
		s.SetFault(nil)
	}
	rep, err := e.Scan(t.Context(), text("plain"))
	if err != nil || rep.Sanitized != nil {
		t.Errorf("%+v, %v", rep.Sanitized, err)
	}
	for _, rep := range []scan.Report{rep, {}, {JobID: "../login", Sanitized: &scan.Sanitized{}}} {
		if _, err := e.OpenSanitized(t.Context(), rep); !fault.Is(err, fault.NotFound) {
			t.Errorf("no copy: %v", err)
		}
	}
}

func TestSanitizedWords(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	clean := strings.ReplaceAll(whole, "CODE", "0")
	for post, want := range map[string]string{
		`"actions_ran":"Sanitized | PAscript","converted_destination":"..\\..\\x.pdf"`:  "Sanitized x.pdf",
		`"actions_ran":"Sanitized Partially","converted_destination":"/etc/passwd"`:     "Sanitized Partially passwd",
		`"actions_ran":"","converted_destination":"x.pdf"`:                              "Sanitized x.pdf",
		`"actions_ran":"","converted_destination":".."`:                                 "Sanitized ",
		`"actions_ran":"","actions_failed":"Sanitization Failed | PAscript failed"`:     "",
		`"actions_ran":"Sanitization Skipped","converted_destination":"x"`:              "",
		`"actions_ran":"Sanitization Timeout"`:                                          "",
		`"actions_ran":"PAscript","sanitized_file_info":{"file_size":3,"sha256":"zz"}`:  "Sanitized ",
		`"actions_ran":"PAscript"`:                                                      "",
		`"actions_failed":"Sanitization Failed","converted_destination":"was_here.pdf"`: "",
	} {
		answers(s, 200, strings.Replace(clean, `"actions_ran":"","actions_failed":""`, post, 1))
		rep, err := e.Scan(t.Context(), text("content"))
		if err != nil {
			t.Errorf("%s: %v", post, err)
			continue
		}
		got := ""
		if rep.Sanitized != nil {
			got = rep.Sanitized.Result + " " + rep.Sanitized.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", post, got, want)
		}
	}
}

func TestProbe(t *testing.T) {
	s := standin.Start(t, standin.Options{APIKey: "k", MaxQueue: 4, Version: "5.22.1", Latency: time.Hour, Rules: []standin.Rule{{Name: "R", MaxSize: 1000}}})
	e := open(t, s, func(o *mdcore.Options) { o.APIKey, o.Rule = "k", "R" })
	probe := func() scan.Health {
		t.Helper()
		h, err := e.Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := probe()
	if !h.Ready || h.Version != "5.22.1" || h.Definitions == "" || h.Load != 0 || h.Limits.Size != 1000 || h.Detail != "" {
		t.Errorf("%+v", h)
	}
	if age := time.Since(h.DefinedAt); age < 2*time.Hour || age > 4*time.Hour { // the older of the two that look for malware
		t.Errorf("defined at %v", h.DefinedAt)
	}
	ids := map[string]bool{h.Definitions: true}
	now := time.Now()
	for _, engines := range [][]standin.Engine{
		{{ID: "a", Kind: "av", Active: true, Defined: now}},
		{{ID: "a", Kind: "av", Active: true, Defined: now.Add(time.Hour)}},
		{{ID: "a", Kind: "av", Active: true, Defined: now, Version: "2"}},
		{{ID: "a", Kind: "av", Active: true, Defined: now}, {ID: "b", Kind: "archive", Active: true, Defined: now}},
	} {
		s.SetEngines(engines)
		ids[probe().Definitions] = true
	}
	if len(ids) != 5 {
		t.Errorf("five states of the engines have %d names", len(ids))
	}
	s.SetEngines([]standin.Engine{{ID: "a", Kind: "av", Active: false}, {ID: "b", Kind: "archive", Active: true}})
	if h = probe(); h.Ready || !strings.Contains(h.Detail, "active engines") {
		t.Errorf("no engine: %+v", h)
	}
	s.SetEngines([]standin.Engine{{ID: "a", Kind: "av", Active: true}})
	s.SetFull(true)
	if h = probe(); h.Ready || h.Load != 1 || h.Detail != "scan queue: 4 of 4" {
		t.Errorf("full: %+v", h)
	}
	s.SetFull(false)
	s.SetLicense("expired")
	if h = probe(); h.Ready || !strings.Contains(h.Detail, "license: expired") {
		t.Errorf("license: %+v", h)
	}
	s.SetLicense("ok")
	other := open(t, s, func(o *mdcore.Options) { o.APIKey, o.Rule = "k", "Unknown" })
	if h, err := other.Probe(t.Context()); err != nil || h.Ready || !strings.Contains(h.Detail, `"Unknown"`) {
		t.Errorf("no such rule: %+v, %v", h, err)
	}
}

func TestProbeOfOtherVersions(t *testing.T) {
	s := standin.Start(t, standin.Options{NoReadyz: true})
	e := open(t, s, nil)
	if h, err := e.Probe(t.Context()); err != nil || !h.Ready || h.Version == "" || h.Definitions == "" {
		t.Errorf("without a health check: %+v, %v", h, err)
	}
	s.SetEngines([]standin.Engine{{ID: "a", Kind: "av"}})
	if h, err := e.Probe(t.Context()); err != nil || h.Ready || h.Detail == "" {
		t.Errorf("without engines: %+v, %v", h, err)
	}
	s.SetFault(standin.On("GET", "/stat/engines", standin.Status(405, "no rights", "")))
	if h, err := e.Probe(t.Context()); err != nil || !h.Ready || h.Definitions != "" || !h.DefinedAt.IsZero() {
		t.Errorf("without the right to see engines: %+v, %v", h, err)
	}
	for name, f := range map[string]standin.Fault{"500": standin.Status(500, "x", ""), "html": standin.Raw(200, "<html>"), "reset": standin.Reset, "404": standin.Status(404, "", ""), "huge": standin.Huge(9 << 20)} {
		s.SetFault(f)
		if h, err := e.Probe(t.Context()); err == nil || h.Ready {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for body, ready := range map[string]bool{`{}`: true, `{"license":{"status":true}}`: true, `{"license":{"status":"true"}}`: true, `{"license":{"status":"invalid"}}`: false,
		`{"scan_queue":{"status":true,"number_in_queue":-5,"max_number_in_queue":2}}`: true} {
		s.SetFault(standin.Any(standin.On("GET", "/readyz", standin.Raw(200, body)), standin.On("GET", "/stat/engines", standin.Status(405, "", ""))))
		if h, err := e.Probe(t.Context()); err != nil || h.Ready != ready || h.Load < 0 || h.Load > 1 {
			t.Errorf("%s: %+v, %v", body, h, err)
		}
	}
	for _, body := range []string{``, `[]`, `{"license":5}`, `{"scan_queue":{"number_in_queue":"x"}}`, `{"engines":{}}`, `{"license":{"status":{}}}`} {
		s.SetFault(standin.On("GET", "/readyz", standin.Raw(200, body)))
		if h, err := e.Probe(t.Context()); err == nil || h.Ready {
			t.Errorf("%s: %+v, %v", body, h, err)
		}
	}
	hung := open(t, s, func(o *mdcore.Options) { o.Stall = 50 * time.Millisecond })
	s.SetFault(standin.Hang)
	if _, err := hung.Probe(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("hang: %v", err)
	}
}

// A scan whose instance hides its engines says so by leaving definitions out.
func TestDefinitionsWithheld(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	s.SetFault(standin.On("GET", "/stat/engines", standin.Status(http.StatusMethodNotAllowed, "no rights", "")))
	e := open(t, s, nil)
	for range 3 {
		rep, err := e.Scan(t.Context(), text("x"))
		if err != nil || rep.Verdict != scan.Clean || rep.Definitions != "" || rep.DefinedAt.IsZero() {
			t.Errorf("%q of %v, %v", rep.Definitions, rep.DefinedAt, err)
		}
	}
	if n := len(s.Requests("GET", "/stat/engines")); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
