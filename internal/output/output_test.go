package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

type thing struct {
	Key  string   `json:"key"`
	Size int64    `json:"size"`
	Tags []string `json:"tags"`
}

var columns = []Column[thing]{
	{Name: "KEY", Value: func(t thing) string { return t.Key }, Color: func(t thing) Color {
		if t.Size > 1 {
			return Bad
		}
		return Plain
	}},
	{Name: "TAGS", Value: func(t thing) string { return strings.Join(t.Tags, ",") }},
}

func write(t *testing.T, p Printer, rows iter.Seq2[thing, error]) string {
	t.Helper()
	var b bytes.Buffer
	p.W = &b
	if err := List(p, columns, rows); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormats(t *testing.T) {
	rows := []thing{{"a", 1, []string{"x", "y"}}, {"long/key", 2, nil}}
	for _, c := range []struct {
		p    Printer
		want string
	}{
		{Printer{Format: Table}, "KEY       TAGS\na         x,y\nlong/key  -\n"},
		{Printer{Format: Table, Color: true}, "KEY       TAGS\na         x,y\n\x1b[31mlong/key\x1b[0m  -\n"},
		{Printer{Format: CSV}, "key,tags\na,\"x,y\"\nlong/key,\n"},
		{Printer{Format: Lines}, `{"key":"a","size":1,"tags":["x","y"]}` + "\n" + `{"key":"long/key","size":2,"tags":null}` + "\n"},
		{Printer{Format: JSON}, "[\n  {\n    \"key\": \"a\",\n    \"size\": 1,\n    \"tags\": [\n      \"x\",\n      \"y\"\n    ]\n  },\n  {\n    \"key\": \"long/key\",\n    \"size\": 2,\n    \"tags\": null\n  }\n]\n"},
		{Printer{Format: YAML}, "- key: a\n  size: 1\n  tags:\n    - x\n    - \"y\"\n- key: long/key\n  size: 2\n  tags: null\n"},
	} {
		if diff := cmp.Diff(c.want, write(t, c.p, Of(rows))); diff != "" {
			t.Errorf("%s: %s", c.p.Format, diff)
		}
	}
	for f, want := range map[Format]string{Table: "KEY  TAGS\n", JSON: "[]\n", YAML: "[]\n", CSV: "key,tags\n", Lines: ""} {
		if got := write(t, Printer{Format: f}, Of[thing](nil)); got != want {
			t.Errorf("%s of nothing: %q", f, got)
		}
	}
}

func TestWhatCameBeforeAnErrorIsWritten(t *testing.T) {
	broken := errors.New("broken")
	rows := func(yield func(thing, error) bool) {
		_ = yield(thing{Key: "a"}, nil) && yield(thing{}, broken)
	}
	for _, f := range []Format{Table, JSON, YAML, CSV, Lines} {
		var b bytes.Buffer
		if err := List(Printer{W: &b, Format: f}, columns, rows); !errors.Is(err, broken) || !strings.Contains(b.String(), "a") {
			t.Errorf("%s: %v, %q", f, err, b.String())
		}
		if f == JSON && !json.Valid(b.Bytes()) {
			t.Errorf("not JSON: %s", b.String())
		}
	}
}

var hostile = []string{"=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", "a\nb", "a\r\nb", "\x1b[31mred\x1b[0m", "\x00", "\x7f",
	"\u0085next", "\u009b31m", "\u202etxt.exe", "\u2028", "\u200bzero", "\U000e0041tag", "\xff\xfe", "a,b\"c", "true", "1e5", "- x", "# c", "key: v", "'", "", " lead", "trail ", "0x1f", "~", "---", "日本", "e\u0301", "!tag", "&a", "*a", "%d", "null", "...", "2026-01-01", "<b>&</b>"}

func TestHostileNamesStayText(t *testing.T) {
	raw := 0
	for _, s := range hostile {
		for _, f := range []Format{Table, JSON, Lines, YAML, CSV} {
			got := write(t, Printer{Format: f}, Of([]thing{{Key: s, Tags: []string{s}}}))
			if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
				raw++
				t.Errorf("%s: raw control bytes for %q: %q", f, s, got)
			}
			valid := strings.ToValidUTF8(s, "\ufffd")
			switch f {
			case Table:
				if n := strings.Count(got, "\n"); n != 2 {
					t.Errorf("%q makes %d lines of table", s, n)
				}
			case JSON:
				var back []thing
				if err := json.Unmarshal([]byte(got), &back); err != nil || back[0].Key != valid && s != "\xff\xfe" {
					t.Errorf("JSON of %q reads as %+v, %v", s, back, err)
				}
			case YAML:
				var back []map[string]any
				if err := yaml.Unmarshal([]byte(got), &back); err != nil {
					t.Errorf("YAML of %q: %v\n%s", s, err, got)
				} else if back[0]["key"] != valid && s != "\xff\xfe" {
					t.Errorf("YAML of %q reads as %q\n%s", s, back[0]["key"], got)
				}
			case CSV:
				back, err := csv.NewReader(strings.NewReader(got)).ReadAll()
				if err != nil {
					t.Errorf("CSV of %q: %v", s, err)
				} else if cell := back[1][0]; cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
					t.Errorf("CSV of %q begins a formula: %q", s, cell)
				}
			}
		}
	}
	t.Logf("cases=%d violations=%d", len(hostile), raw)
	if got := neutral("-12.5"); got != "-12.5" {
		t.Errorf("a number became %q", got)
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "日本": 4, "e\u0301": 1, "한국": 4} {
		if got := Width(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestLongListsFlushInBlocks(t *testing.T) {
	rows := make([]thing, 3*block+1)
	for i := range rows {
		rows[i].Key = strings.Repeat("k", i%7)
	}
	got := write(t, Printer{Format: Table}, Of(rows))
	if n := strings.Count(got, "\n"); n != len(rows)+1 {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(got, "KEY"); n != 1 {
		t.Errorf("%d heads", n)
	}
}
