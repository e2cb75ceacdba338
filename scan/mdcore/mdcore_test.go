package mdcore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/mdcore"
	standin "github.com/landwaiter/landwaiter/test/servers/mdcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns an engine for the stand-in that polls fast.
func open(t testing.TB, s *standin.Server, set func(*mdcore.Options)) *mdcore.Engine {
	t.Helper()
	o := mdcore.Options{URL: s.EngineURL(), PollMin: time.Millisecond, PollMax: 10 * time.Millisecond, Timeout: 20 * time.Second}
	if set != nil {
		set(&o)
	}
	e, err := mdcore.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func sample(name string, b []byte) scan.Sample {
	return scan.Sample{Name: name, Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func text(s string) scan.Sample { return sample("file.txt", []byte(s)) }

func TestCleanAndInfected(t *testing.T) {
	s := standin.Start(t, standin.Options{APIKey: "k3y", Latency: 30 * time.Millisecond})
	e := open(t, s, func(o *mdcore.Options) { o.APIKey = "k3y" })
	rep, err := e.Scan(t.Context(), text("nothing here"))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Verdict != scan.Clean || rep.Code != 0 || rep.Engines != 2 || rep.Detected != 0 || rep.JobID == "" || rep.Blocked != "" {
		t.Errorf("clean: %+v", rep)
	}
	if rep.Definitions == "" || time.Since(rep.DefinedAt) < time.Hour || time.Since(rep.DefinedAt) > 4*time.Hour || rep.Took <= 0 {
		t.Errorf("definitions %q of %v, took %v", rep.Definitions, rep.DefinedAt, rep.Took)
	}
	if !strings.HasPrefix(rep.Engine, "mdcore@127.0.0.1:") {
		t.Errorf("engine %q", rep.Engine)
	}
	body := append(bytes.Repeat([]byte("x"), 1<<20), standin.EICAR()...)
	rep, err = e.Scan(t.Context(), sample("a.bin", body))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Verdict != scan.Infected || rep.Threat != "EICAR-Test-File" || rep.Detected != 2 || rep.Blocked != "Infected" || len(rep.Details) != 2 {
		t.Errorf("infected: %+v", rep)
	}
	up := s.Requests("POST", "/file")
	if len(up) != 2 || up[1].Size != int64(len(body)) || up[1].Length != int64(len(body)) || up[1].Chunked {
		t.Errorf("uploads: %+v", up)
	}
}

// Every code means what the table says; clean are only those listed here.
func TestCodes(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) { o.Timeout = 80 * time.Millisecond })
	codes := []int{253, 254, 255, 256, 257, 258, 300, 999, 1014, 9999, 123456}
	for c := range 67 {
		codes = append(codes, c)
	}
	clean := map[int]bool{0: true, 7: true, 33: true, 39: true, 41: true, 48: true, 61: true, 65: true} // 41 … 65 because engines looked
	cases, violations := 0, 0
	for _, c := range codes {
		cases++
		rep, err := e.Scan(t.Context(), text("LW-CODE:"+itoa(c)))
		if !scan.CodeFinal(c) {
			if err == nil || fault.ReasonOf(err) != string(scan.Timeout) {
				t.Errorf("code %d: %+v, %v; want a timeout", c, rep, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("code %d: %v", c, err)
			continue
		}
		want, reason := scan.FromCode(c)
		if clean[c] {
			want, reason = scan.Clean, ""
		}
		if rep.Verdict != want || rep.Reason != reason || rep.Code != c {
			t.Errorf("code %d: %v %q code %d, want %v %q", c, rep.Verdict, rep.Reason, rep.Code, want, reason)
		}
		if rep.Verdict == scan.Clean && !clean[c] {
			violations++
		}
		if (rep.Verdict == scan.Infected || rep.Verdict == scan.Suspicious) && rep.Threat == "" {
			t.Errorf("code %d: no threat named", c)
		}
	}
	t.Logf("cases=%d violations=%d", cases, violations)
}

func TestBlockedWithoutThreat(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) { o.Rule = "Strict" })
	rep, err := e.Scan(t.Context(), text("LW-BLOCK:File_Type_Blocked LW-DLP:3 LW-VULN:2 LW-CODE:0"))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Blocked != "File Type Blocked" || rep.BlockedBy != "Strict" || rep.Sensitive != 3 || rep.Vulnerabilities != 2 {
		t.Errorf("%+v", rep)
	}
	rep, err = e.Scan(t.Context(), text("LW-BLOCK:Policy"))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Verdict != scan.Clean || rep.Code != 0 || rep.Blocked != "Policy" {
		t.Errorf("%+v", rep)
	}
}

// Half the engines failing changes nothing; all of them, or fewer than the
// user wants, leave nothing that could be clean.
func TestEnginesThatFail(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	for _, tc := range []struct {
		content string
		min     int
		want    scan.Verdict
	}{
		{"LW-FAIL:1", 0, scan.Clean},
		{"LW-FAIL:1", 2, scan.NotScanned},
		{"LW-FAIL:2", 0, scan.NotScanned},
		{"fine", 2, scan.Clean},
		{"fine", 3, scan.NotScanned},
	} {
		e := open(t, s, func(o *mdcore.Options) { o.MinEngines = tc.min })
		rep, err := e.Scan(t.Context(), text(tc.content))
		if err != nil || rep.Verdict != tc.want {
			t.Errorf("%s, at least %d: %v %q, %v; want %v", tc.content, tc.min, rep.Verdict, rep.Reason, err, tc.want)
		}
		if rep.Verdict == scan.NotScanned && rep.Code == 0 {
			t.Errorf("%s: not scanned with code 0", tc.content)
		}
	}
}

func TestEmpty(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	rep, err := e.Scan(t.Context(), text(""))
	if err != nil || rep.Verdict != scan.Clean || rep.Engines != 0 || len(rep.Details) != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	if got := s.Requests("", "/"); len(got) != 0 {
		t.Errorf("it asked: %+v", got)
	}
	liar := text("not empty")
	liar.Size = 0
	if rep, err := e.Scan(t.Context(), liar); !fault.Is(err, fault.Changed) {
		t.Errorf("content behind size 0: %+v, %v", rep, err)
	}
}

// A reader that yields less or more than its size, or fails, is an error, and
// no job is made of it.
func TestSizeIsKept(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	boom := fault.New(fault.Denied, "s3.Open", "x", errors.New("key gone"))
	for _, size := range []int{1, 10, 5000, 300_000, 3_000_000} {
		b := bytes.Repeat([]byte("a"), size)
		for name, tc := range map[string]struct {
			r    func() io.Reader
			kind fault.Kind
		}{
			"short":  {func() io.Reader { return bytes.NewReader(b[:size-1]) }, fault.Changed},
			"none":   {func() io.Reader { return bytes.NewReader(nil) }, fault.Changed},
			"long":   {func() io.Reader { return io.MultiReader(bytes.NewReader(b), strings.NewReader("b")) }, fault.Changed},
			"fails":  {func() io.Reader { return io.MultiReader(bytes.NewReader(b[:size/2]), failing{boom}) }, fault.Denied},
			"at end": {func() io.Reader { return io.MultiReader(bytes.NewReader(b), failing{boom}) }, fault.Denied},
		} {
			closed := 0
			smp := scan.Sample{Name: "f", Size: int64(size), Open: func(context.Context) (io.ReadCloser, error) {
				return closer{tc.r(), &closed}, nil
			}}
			rep, err := e.Scan(t.Context(), smp)
			if err == nil || !fault.Is(err, tc.kind) || rep.Verdict != scan.None {
				t.Errorf("%s of %d: %+v, %v", name, size, rep, err)
			}
			if closed != 1 {
				t.Errorf("%s of %d: closed %d times", name, size, closed)
			}
		}
	}
	if n, _ := s.Jobs(); n != 0 {
		t.Errorf("%d jobs", n)
	}
	smp := text("x")
	smp.Open = func(context.Context) (io.ReadCloser, error) { return nil, boom }
	if _, err := e.Scan(t.Context(), smp); !fault.Is(err, fault.Denied) {
		t.Errorf("open fails: %v", err)
	}
	for _, bad := range []scan.Sample{{Size: 3}, {Size: -1, Open: smp.Open}} {
		if _, err := e.Scan(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type closer struct {
	io.Reader
	n *int
}

func (c closer) Close() error { *c.n++; return nil }

func TestNamesAreSafe(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, func(o *mdcore.Options) {
		o.Rule = "Multi scan / ünïcode"
		o.Metadata = map[string]string{"unit": "übung\r\n", "who": "\x7f😀"}
	})
	for name, want := range map[string]string{
		"plain.txt":                       "plain.txt",
		"a b+c%41.doc":                    "a%20b%2Bc%2541.doc",
		"x\r\napikey: evil\r\n\r\n.pdf":   "x__apikey%3A%20evil____.pdf",
		"../../etc/passwd":                ".._.._etc_passwd",
		`c:\windows\x.exe`:                "c%3A_windows_x.exe",
		"nul\x00.zip":                     "nul_.zip",
		"\xff\xfe.doc":                    "_.doc",
		"дом.txt":                         "%D0%B4%D0%BE%D0%BC.txt",
		"..":                              "_",
		"":                                "",
		"rtl\u202egpj.exe":                "rtl_gpj.exe",
		strings.Repeat("n", 10_000):       strings.Repeat("n", 240),
		strings.Repeat("я", 5000) + ".7z": strings.Repeat("%D1%8F", 118) + ".7z",
	} {
		smp := text("content")
		smp.Name = name
		smp.Passwords = []string{"p w\r\n", "zwölf"}
		smp.UserAgent = "Landwaiter/1"
		if _, err := e.Scan(t.Context(), smp); err != nil {
			t.Errorf("%.40q: %v", name, err)
			continue
		}
		r := s.Requests("POST", "/file")
		h := r[len(r)-1].Header
		if got := h.Get("filename"); got != want {
			t.Errorf("%.40q: sent as %.80q, want %.80q", name, got, want)
		}
		for k, want := range map[string]string{
			"rule": "Multi%20scan%20%2F%20%C3%BCn%C3%AFcode", "user_agent": "Landwaiter/1", "archivepwd": "p%20w%0D%0A",
			"archivepwd1": "zw%C3%B6lf", "Content-Type": "application/octet-stream", "Transfer-Encoding": "",
			"metadata": `{"unit":"\u00fcbung\r\n","who":"\u007f\ud83d\ude00"}`,
		} {
			if got := h.Get(k); got != want {
				t.Errorf("header %s: %q, want %q", k, got, want)
			}
		}
	}
	smp := text("x")
	smp.UserAgent = "a\r\nb: c"
	if _, err := e.Scan(t.Context(), smp); !fault.Is(err, fault.Invalid) {
		t.Errorf("hostile user agent: %v", err)
	}
}

func TestCancelReachesTheServer(t *testing.T) {
	s := standin.Start(t, standin.Options{Latency: time.Hour})
	e := open(t, s, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := e.Scan(ctx, text("slow"))
		done <- err
	}()
	until(t, func() bool { n, _ := s.Jobs(); return n == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, n := s.Jobs(); n != 1 {
		t.Errorf("%d cancelled", n)
	}
}

func TestTimeout(t *testing.T) {
	s := standin.Start(t, standin.Options{Latency: time.Hour})
	e := open(t, s, func(o *mdcore.Options) { o.Timeout = 100 * time.Millisecond })
	_, err := e.Scan(t.Context(), text("slow"))
	if !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != string(scan.Timeout) {
		t.Errorf("got %v", err)
	}
	if _, n := s.Jobs(); n != 1 {
		t.Errorf("%d cancelled", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.Scan(ctx, text("slow")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's deadline: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := standin.Start(t, standin.Options{Latency: 20 * time.Millisecond})
	e := open(t, s, nil)
	type result struct {
		i   int
		rep scan.Report
		err error
	}
	results := make(chan result)
	for i := range 64 {
		go func() {
			b := bytes.Repeat([]byte{byte(i)}, 10_000+i*1000)
			if i%2 == 1 {
				b = append(b, standin.EICAR()...)
			}
			rep, err := e.Scan(t.Context(), sample("f"+itoa(i), b))
			results <- result{i, rep, err}
		}()
	}
	for range 64 {
		r := <-results
		want := scan.Clean
		if r.i%2 == 1 {
			want = scan.Infected
		}
		if r.err != nil || r.rep.Verdict != want {
			t.Errorf("%d: %v, %v", r.i, r.rep.Verdict, r.err)
		}
	}
	if n := len(s.Requests("GET", "/stat/engines")); n != 1 {
		t.Errorf("asked %d times for the definitions", n)
	}
}

// A reply about other content than was sent is not believed.
func TestReportOfOtherContent(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	e := open(t, s, nil)
	sum := sha256.Sum256([]byte("other"))
	for _, info := range []string{
		`{"display_name":"f","file_size":6}`, `{"display_name":"f","file_size":"7"}`, `{"sha256":"` + hexOf(sum[:]) + `"}`, `{"sha256":"zz"}`, `{"sha256":"00"}`,
	} {
		s.SetFault(standin.On("GET", "/file/", func(w http.ResponseWriter, r *http.Request) bool {
			id := strings.TrimPrefix(r.URL.Path, "/file/")
			return standin.Raw(200, `{"data_id":"`+id+`","file_info":`+info+`,"process_info":{"progress_percentage":100,"result":"Allowed"},
				"scan_results":{"scan_all_result_i":0,"total_avs":3}}`)(w, r)
		}))
		rep, err := e.Scan(t.Context(), text("mine5"))
		if err == nil || fault.ReasonOf(err) != string(scan.EngineError) {
			t.Errorf("%s: %+v, %v", info, rep, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, o := range []mdcore.Options{
		{}, {URL: "http://h"}, {URL: "mdcore://"}, {URL: "mdcore://:8008"}, {URL: "mdcore:h"}, {URL: "mdcore://h:0"}, {URL: "mdcore://h:70000"},
		{URL: "mdcore://user:SECRET@h"}, {URL: "mdcore://h?apikey=SECRET"}, {URL: "mdcore://h\x01SECRET"}, {URL: "mdcore://h", APIKey: "SECRET\r\n"},
		{URL: "mdcore://h", APIKey: "SECRET", User: "u"}, {URL: "mdcore://h", UserAgent: "a\nb"}, {URL: "mdcores://h", CAFile: "/nowhere"},
		{URL: "mdcore://h", Timeout: -1}, {URL: "mdcore://h", Metadata: map[string]string{"a": strings.Repeat("x", 3000)}},
	} {
		e, err := mdcore.Open(t.Context(), o)
		if err == nil {
			t.Errorf("%v opened", o.URL)
			_ = e.Close()
			continue
		}
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v", o.URL, err)
		}
	}
	e, err := mdcore.Open(t.Context(), mdcore.Options{URL: "mdcore://core.example?rule=My%20rule"})
	if err != nil || e.String() != "mdcore@core.example:8008" {
		t.Errorf("%v, %v", e, err)
	}
	_ = e.Close()
	if _, err := e.Scan(t.Context(), text("x")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after Close: %v", err)
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that in 10 s")
		}
	}
}

// TestDescribe: what an instance tells of itself, and that credentials which it
// does not take show.
func TestDescribe(t *testing.T) {
	now := time.Now().UTC()
	s := standin.Start(t, standin.Options{APIKey: "k3y", Rules: []standin.Rule{{Name: "A"}, {Name: "B"}}, Engines: []standin.Engine{
		{ID: "clamav_1_linux", Name: "ClamAV", Kind: "av", Defined: now, Active: true}, {ID: "ds_1_linux", Name: "Deep CDR", Defined: now, Active: true},
		{ID: "x_1_linux", Name: "Unheard of", Kind: "new", Defined: now, Active: true}, {ID: "dlp_1_linux", Name: "DLP", Kind: "dlp", Defined: now}}})
	e := open(t, s, func(o *mdcore.Options) { o.APIKey = "k3y" })
	got, err := e.Describe(t.Context(), "")
	want := scan.Description{Version: "5.14.0", Rules: []string{"A", "B"}, Engines: []string{"ClamAV", "Deep CDR", "Unheard of"}, Technologies: []string{scan.DeepCDR, scan.Multiscanning}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := open(t, s, func(o *mdcore.Options) { o.APIKey = "other" }).Describe(t.Context(), ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a wrong key: %v", err)
	}
	// Rights to look at the engines are not what scanning needs.
	s.SetFault(standin.On("GET", "/stat/engines", standin.Status(http.StatusForbidden, "Access denied", "")))
	if got, err := e.Describe(t.Context(), ""); err != nil || len(got.Rules) != 2 || got.Technologies != nil {
		t.Errorf("few rights: %+v, %v", got, err)
	}
}
