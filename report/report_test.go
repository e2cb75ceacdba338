package report

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var day = time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)

// sample is a report with every field.
func sample() Report {
	return Report{Product: "Landwaiter 1.2", Time: day.Add(30 * time.Hour), Scan: "0198f02f-0000-7000-8000-000000000001", Name: "Friday evening", Storage: "finance-archive",
		Folder: "incoming/2026", Type: "instant", Workflow: "quarantine", By: "Ada Example", State: "completed", Started: day, Ended: day.Add(26 * time.Hour),
		Filters: []string{"result allowed or blocked", "found from 2026-11-27 00:00:00"}}
}

var hostile = []string{"\u202egnp.exe", "a\x00b\x1b[31m", "\xff\xfe\xfd.bin", "線上文件/報告書.pdf", "\U0001f4a9.txt", "Z\u0301\u0302\u0303\u0304\u0305\u0306algo", "=cmd|' /C calc'!A0", "(\\) Tj ET (", "",
	"/", "//x//", strings.Repeat("long-name-without-end-", 200) + ".docx", strings.Repeat("W", 5000), strings.Repeat("\xff", 3000), "Отчёт/Καλημέρα.txt", "שלום/مرحبا.pdf", "%%EOF", "a b\u00a0c\u200bd"}

// many makes n files of all sorts.
func many(n int) iter.Seq2[File, error] {
	reasons := []File{{Reason: "too_large"}, {Reason: "encrypted"}, {Reason: "timeout"}, {Reason: "engine_unavailable"}, {Reason: "archive_depth"}}
	threats := []string{"Win.Test.EICAR_HDB-1", "Trojan.GenericKD.4711", "Doc.Downloader.Emotet", "PUA.Adware"}
	return func(yield func(File, error) bool) {
		for i := range n {
			f := File{Unit: "finance-archive", State: "finished", Outcome: ledger.OutcomeDone, Size: int64(i*i) % 90_000_000, Time: day.Add(time.Duration(i*7919%93600) * time.Second),
				Key: fmt.Sprintf("incoming/2026/%s/invoice %05d from supplier.pdf", []string{"acme", "globex corporation", "initech"}[i%3], i), Verdict: "clean", Decision: "allowed"}
			switch {
			case i%11 == 3:
				f.Verdict, f.Threat, f.Decision = "infected", threats[i/11%4], "blocked"
				f.Actions = []ledger.ActionRecord{{Type: "tag", State: "done", Target: "x:y"}, {Type: "quarantine", State: "refused", Target: "q:z"}}
			case i%17 == 5:
				f.Verdict, f.Reason, f.Decision = "not_scanned", reasons[i/17%5].Reason, "held"
			case i%41 == 7:
				f.Verdict, f.Outcome, f.Decision, f.Error = "", ledger.OutcomeFailed, "", "the storage did not answer: connection refused"
			case i%29 == 9:
				f.Key = object.FormatKey(hostile[i/29%len(hostile)])
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

// of makes files of keys.
func of(keys ...string) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for _, key := range keys {
			if !yield(File{Key: object.FormatKey(key), Threat: key, Verdict: "infected", State: "finished"}, nil) {
				return
			}
		}
	}
}

func pdf(t *testing.T, r Report, files iter.Seq2[File, error]) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := PDF(&b, r, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	streams = regexp.MustCompile(`(?s)<</Filter /FlateDecode /Length \d+>>\nstream\n(.*?)\nendstream`)
	strs    = regexp.MustCompile(`(?s)Td \(((?:\\.|[^\\)])*)\) Tj`)
)

// pages reads the text of a document back, a line for each piece, page by page.
func pages(t *testing.T, doc []byte) (list []string) {
	t.Helper()
	unescape := strings.NewReplacer(`\\`, `\`, `\(`, `(`, `\)`, `)`, `\r`, "\r")
	for _, m := range streams.FindAllSubmatch(doc, -1) {
		z, err := zlib.NewReader(bytes.NewReader(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, s := range strs.FindAllSubmatch(content, -1) {
			raw := unescape.Replace(string(s[1]))
			units := make([]uint16, len(raw)/2)
			for i := range units {
				units[i] = binary.BigEndian.Uint16([]byte(raw[2*i:]))
			}
			b.WriteString(string(utf16.Decode(units)) + "\n")
		}
		list = append(list, b.String())
	}
	return list
}
