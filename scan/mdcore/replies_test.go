package mdcore_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/mdcore"
	standin "github.com/landwaiter/landwaiter/test/servers/mdcore"
)

// whole is a complete report of the job ID; CODE is its result.
const whole = `{"data_id":"ID","file_info":{"display_name":"file.txt","file_size":7},
"process_info":{"progress_percentage":100,"result":"Allowed","blocked_reason":"","profile":"File process","post_processing":{"actions_ran":"","actions_failed":"","sanitization_details":"none"}},
"scan_results":{"data_id":"ID","progress_percentage":100,"scan_all_result_i":CODE,"scan_all_result_a":"x","total_avs":1,
"scan_details":{"ClamAV":{"scan_result_i":CODE,"threat_found":"T","def_time":"2026-01-02T03:04:05.000Z"}}},
"extracted_files":{"files_extracted_count":0,"first_index":0,"page_size":50,"files_in_archive":[]},"dlp_info":{},"vulnerability_info":{},"yara":{}}`

// answers makes the server answer body for every report, with ID filled in.
func answers(s *standin.Server, status int, body string) {
	s.SetFault(standin.On("GET", "/file/", func(w http.ResponseWriter, r *http.Request) bool {
		id := strings.TrimPrefix(r.URL.Path, "/file/")
		return standin.Raw(status, strings.ReplaceAll(body, "ID", id))(w, r)
	}))
}

// No reply but a whole and honest one may become a verdict, let alone clean.
func TestHostileReplies(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) {
		o.Timeout = 30 * time.Millisecond
		o.PollMin, o.PollMax = 100*time.Microsecond, time.Millisecond
		o.MaxReply = 64 << 10
	})
	clean := strings.ReplaceAll(whole, "CODE", "0")
	infected := strings.ReplaceAll(whole, "CODE", "1")
	for code, body := range map[scan.Verdict]string{scan.Clean: clean, scan.Infected: infected} {
		answers(s, 200, body)
		if rep, err := e.Scan(t.Context(), text("content")); err != nil || rep.Verdict != code {
			t.Fatalf("the whole report: %v, %v", rep.Verdict, err)
		}
	}
	cases, violations := 0, 0
	try := func(what string, status int, body string) {
		t.Helper()
		cases++
		answers(s, status, body)
		rep, err := e.Scan(t.Context(), text("content"))
		if err == nil && rep.Verdict == scan.Clean {
			violations++
			t.Errorf("%s: clean: %+v", what, rep)
		}
		if err != nil && !fault.Is(err, fault.Unavailable, fault.Throttled, fault.Denied, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range len(clean) {
		try(fmt.Sprint("cut at ", i), 200, clean[:i])
	}
	for i := range 60 {
		try(fmt.Sprint("noise after ", i), 200, clean+string(rune('!'+i)))
	}
	for _, status := range []int{201, 202, 204, 206, 301, 302, 307, 400, 401, 403, 404, 405, 408, 411, 413, 422, 429, 500, 501, 502, 503, 504, 599} {
		try(fmt.Sprint("status ", status), status, clean)
	}
	for _, path := range [][2]string{
		{`"data_id":"ID","file_info"`, `"file_info"`}, {`"data_id":"ID","file_info"`, `"data_id":"other","file_info"`},
		{`"data_id":"ID","file_info"`, `"data_id":null,"file_info"`}, {`"data_id":"ID","file_info"`, `"data_id":["ID"],"file_info"`},
		{`"data_id":"ID","progress`, `"data_id":"other","progress`},
		{`"progress_percentage":100,"result"`, `"result"`}, {`"progress_percentage":100,"result"`, `"progress_percentage":99,"result"`},
		{`"progress_percentage":100,"result"`, `"progress_percentage":null,"result"`}, {`"progress_percentage":100,"result"`, `"progress_percentage":101,"result"`},
		{`"progress_percentage":100,"result"`, `"progress_percentage":-1,"result"`}, {`"progress_percentage":100,"result"`, `"progress_percentage":1e2,"result"`},
		{`"progress_percentage":100,"result"`, `"progress_percentage":100.0,"result"`}, {`"progress_percentage":100,"result"`, `"progress_percentage":true,"result"`},
		{`"progress_percentage":100,"scan_all`, `"progress_percentage":50,"scan_all`},
		{`"result":"Allowed"`, `"result":"Processing"`}, {`"result":"Allowed"`, `"result":""`}, {`"result":"Allowed"`, `"result":null`},
		{`"result":"Allowed"`, `"result":1`}, {`"result":"Allowed"`, `"result":"Unknown"`}, {`"result":"Allowed"`, `"result":"allowed!"`},
		{`"scan_all_result_i":0,`, ``}, {`"scan_all_result_i":0`, `"scan_all_result_i":null`}, {`"scan_all_result_i":0`, `"scan_all_result_i":""`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":false`}, {`"scan_all_result_i":0`, `"scan_all_result_i":[0]`}, {`"scan_all_result_i":0`, `"scan_all_result_i":{}`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":0.5`}, {`"scan_all_result_i":0`, `"scan_all_result_i":-0`}, {`"scan_all_result_i":0`, `"scan_all_result_i":"+0"`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":" 0"`}, {`"scan_all_result_i":0`, `"scan_all_result_i":-1`}, {`"scan_all_result_i":0`, `"scan_all_result_i":99999999999999999999`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":4294967296`}, {`"scan_all_result_i":0`, `"scan_all_result_i":18446744073709551616`}, {`"scan_all_result_i":0`, `"scan_all_result_i":"No Threat Detected"`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":1,"scan_all_result_i":0`}, {`"scan_all_result_i":0`, `"scan_all_result_i":1,"SCAN_ALL_RESULT_I":0`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":1,"\u017fcan_all_result_i":0`}, {`"scan_all_result_i":0`, `"scan_all_result_i":254`}, {`"scan_all_result_i":0`, `"scan_all_result_i":255`},
		{`"scan_all_result_i":0`, `"scan_all_result_i":256`}, {`"scan_all_result_i":0`, `"scan_all_result_i":257`}, {`"scan_all_result_i":0`, `"scan_all_result_i":253`},
		{`"total_avs":1`, `"total_avs":"many"`}, {`"scan_result_i":0`, `"scan_result_i":3`}, {`"scan_result_i":0`, `"scan_result_i":10`}, {`"scan_result_i":0`, `"scan_result_i":null`},
		{`"scan_result_i":0,`, ``}, {`{"ClamAV":{`, `{"ClamAV":[{`}, {`"scan_details":{`, `"scan_details":[{`}, {`"threat_found":"T"`, `"threat_found":{}`},
		{`"file_size":7`, `"file_size":8`}, {`"file_size":7`, `"file_size":"x"`}, {`"file_size":7`, `"sha256":"00"`},
		{`"extracted_files":{`, `"extracted_files":"`}, {`"files_in_archive":[]`, `"files_in_archive":{}`},
		{`"files_in_archive":[]`, `"files_in_archive":[{"scan_all_result_i":0,"progress_percentage":40}]`},
		{`"files_in_archive":[]`, `"files_in_archive":[{"scan_all_result_i":255}]`}, {`"files_in_archive":[]`, `"files_in_archive":[{"scan_all_result_i":1}]`},
		{`"files_in_archive":[]`, `"files_in_archive":[{"extracted_files":[{"scan_results":{"scan_all_result_i":2}}]}]`},
		{`"files_in_archive":[]`, `"files_in_archive":[{"process_info":{"progress_percentage":3}}]`},
		{`"dlp_info":{}`, `"dlp_info":[]`}, {`"vulnerability_info":{}`, `"vulnerability_info":"x"`},
		{`"yara":{}}`, `"yara":{}`}, {`"yara":{}}`, `"yara":{}},`}, {`"yara":{}}`, `"yara":{}}{}`}, {`"yara":{}}`, `"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`},
		{`"yara":{}}`, `"x":"` + strings.Repeat("a", 70<<10) + `"}`},
	} {
		broken := strings.Replace(clean, path[0], path[1], 1)
		if broken == clean {
			t.Fatalf("no %s in the report", path[0])
		}
		try(path[0]+" → "+path[1][:min(len(path[1]), 60)], 200, broken)
	}
	for _, body := range []string{``, ` `, `{}`, `[]`, `null`, `0`, `"0"`, `true`, `{"data_id":"ID"}`, `{"scan_results":{"scan_all_result_i":0}}`, `[` + clean + `]`,
		`{"ID":"Not Found"}`, `{"id":"Not Found"}`, `{"err":"x"}`, `<html>No Threat Detected</html>`, "\x00", "\xff\xfe", `{"data_id":"ID","process_info":{"progress_percentage":100,"result":"Allowed"}}`,
		`{"data_id":"ID","process_info":{},"scan_results":{}}`, `{"data_id":"ID","process_info":null,"scan_results":null}`, `{"ID":` + clean + `}`,
		"OK", "200", "No Threat Detected", `{"data_id":"ID","scan_results":{"progress_percentage":100,"scan_all_result_i":0}}`} {
		try("body "+body[:min(len(body), 30)], 200, body)
		try("404 with "+body[:min(len(body), 30)], 404, body)
	}
	// Whatever is lost from, or done to, an infected report: it is not clean.
	var tree any
	if err := json.Unmarshal([]byte(infected), &tree); err != nil {
		t.Fatal(err)
	}
	mutate(tree, func(what string) {
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		try("infected: "+what, 200, string(b))
	})
	t.Logf("cases=%d violations=%d", cases, violations)
	if cases < 1000 {
		t.Errorf("only %d cases", cases)
	}
}

// mutate changes each value inside v in turn, calls f, and puts it back.
func mutate(v any, f func(what string)) {
	values := []any{nil, true, "", "x", -1, 1.5, 1e300, 255, []any{}, map[string]any{}, []any{nil}, "9999999999999999999999"}
	change := func(at string, get func() any, set func(any), drop func()) {
		old := get()
		for _, n := range values {
			set(n)
			f(fmt.Sprintf("%s = %#v", at, n))
		}
		drop()
		f("without " + at)
		set(old)
		mutate(old, func(what string) { f(at + "." + what) })
	}
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			change(k, func() any { return v[k] }, func(x any) { v[k] = x }, func() { delete(v, k) })
		}
	case []any:
		for i := range v {
			change("["+itoa(i)+"]", func() any { return v[i] }, func(x any) { v[i] = x }, func() { v[i] = nil })
		}
	}
}

// Where versions differ in form, the meaning is the same.
func TestFormsOfVersions(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	clean := strings.ReplaceAll(whole, "CODE", "0")
	for _, change := range [][2]string{
		{`"scan_all_result_i":0`, `"scan_all_result_i":"0"`}, {`"progress_percentage":100,"result"`, `"progress_percentage":"100","result"`},
		{`"file_size":7`, `"file_size":"7"`}, {`"file_info":{"display_name":"file.txt","file_size":7},`, ``},
		{`"extracted_files":{"files_extracted_count":0,"first_index":0,"page_size":50,"files_in_archive":[]}`, `"extracted_files":{}`},
		{`"extracted_files":{"files_extracted_count":0,"first_index":0,"page_size":50,"files_in_archive":[]}`, `"extracted_files":null`},
		{`"extracted_files":{"files_extracted_count":0,"first_index":0,"page_size":50,"files_in_archive":[]}`, `"extracted_files":[]`},
		{`"dlp_info":{}`, `"dlp_info":{"verdict":0,"hits":[]}`}, {`"dlp_info":{}`, `"dlp_info":null`}, {`"actions_ran":""`, `"actions_ran":[]`},
		{`"sanitization_details":"none"`, `"sanitization_details":{"description":"x","details":"y"}`}, {`"yara":{}`, `"yara":{"verdict":0,"hits":[]}`},
		{`"data_id":"ID","progress_percentage"`, `"progress_percentage"`}, {`"scan_details":{`, `"later":{}, "scan_details":{`},
		{`,"total_avs":1,
"scan_details":{"ClamAV":{"scan_result_i":0,"threat_found":"T","def_time":"2026-01-02T03:04:05.000Z"}}`, ``}, // "overall result only"
	} {
		body := strings.Replace(clean, change[0], change[1], 1)
		if body == clean {
			t.Fatalf("no %s in the report", change[0])
		}
		answers(s, 200, body)
		if rep, err := e.Scan(t.Context(), text("content")); err != nil || rep.Verdict != scan.Clean {
			t.Errorf("%s: %v %v, %v", change[1], rep.Verdict, rep.Reason, err)
		}
	}
}

// Foreign words reach nobody with control characters or our secrets in them.
func TestForeignWords(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) { o.APIKey = "T0PSECRET" })
	body := strings.ReplaceAll(whole, "CODE", "1")
	body = strings.Replace(body, `"threat_found":"T"`, `"threat_found":"<script>\u001b[31m\r\n\u202eevil`+strings.Repeat("A", 5000)+`"`, 1)
	body = strings.Replace(body, `"result":"Allowed","blocked_reason":""`, `"result":"Blocked","blocked_reason":"a\u0000b\nc"`, 1)
	body = strings.Replace(body, `"files_in_archive":[]`, `"files_in_archive":[{"display_name":"../../x\n\u202e\\y","scan_all_result_i":1,"file_size":-5}]`, 1)
	answers(s, 200, body)
	rep, err := e.Scan(t.Context(), text("content"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`\n`, `\r`, `\u001b`, `\u202e`, `\u0000`, "\u202e"} {
		if strings.Contains(string(b), bad) && bad != `\n` || len(rep.Threat) > 200 || strings.ContainsAny(rep.Blocked+rep.Threat+rep.Members[0].Path, "\n\r\x00\x1b") {
			t.Errorf("%q is in %s", bad, b)
		}
	}
	if rep.Members[0].Path != `../../x\x0a\xe2\x80\xae\\y` || rep.Members[0].Size != 0 {
		t.Errorf("member %+v", rep.Members[0])
	}
	for _, f := range []standin.Fault{
		standin.Status(500, "you sent T0PSECRET\x1b[1m", ""), standin.Status(403, "T0PSECRET T0PSECRET", ""), standin.Raw(200, `{"data_id":T0PSECRET}`),
		standin.Raw(200, `{"data_id":"../T0PSECRET"}`), echo,
	} {
		s.SetFault(standin.On("POST", "/file", f))
		_, err := e.Scan(t.Context(), text("content"))
		if err == nil || strings.Contains(err.Error(), "T0PSECRET") || strings.ContainsAny(err.Error(), "\x1b\r\n") {
			t.Errorf("got %q", err)
		}
	}
}

// echo answers what is no HTTP, with the key in it.
func echo(w http.ResponseWriter, r *http.Request) bool {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = buf.WriteString("HTTP/1.1 200 " + r.Header.Get("apikey") + "\r\n" + r.Header.Get("apikey") + "\r\n\r\n")
	_ = buf.Flush()
	return true
}
