package clamd

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

func TestRead(t *testing.T) {
	e := &Engine{}
	for _, c := range []struct {
		text   string
		way    way
		want   scan.Verdict
		reason scan.Reason
		threat string
	}{
		{"fd[9]: OK", byFile, scan.Clean, "", ""},
		{"stream: OK", byStream, scan.Clean, "", ""},
		{"fd[9]: Win.Test.EICAR_HDB-1 FOUND", byFile, scan.Infected, "", "Win.Test.EICAR_HDB-1"},
		{"fd[9]: A: B FOUND FOUND", byFile, scan.Infected, "", "A: B FOUND"},
		{"stream: X.UNOFFICIAL(44d88612fea8a8f36de82e1278abb02f:68) FOUND", byStream, scan.Infected, "", "X.UNOFFICIAL(44d88612fea8a8f36de82e1278abb02f:68)"},
		{"fd[9]: Heuristics.Limits.Exceeded FOUND", byFile, scan.NotScanned, scan.ArchiveSize, "Heuristics.Limits.Exceeded"},
		{"fd[9]: Heuristics.Limits.Exceeded.MaxFileSize FOUND", byFile, scan.NotScanned, scan.TooLarge, "Heuristics.Limits.Exceeded.MaxFileSize"},
		{"fd[9]: Heuristics.Limits.Exceeded.MaxFiles FOUND", byFile, scan.NotScanned, scan.ArchiveFiles, "Heuristics.Limits.Exceeded.MaxFiles"},
		{"fd[9]: Heuristics.Limits.Exceeded.MaxRecursion FOUND", byFile, scan.NotScanned, scan.ArchiveDepth, "Heuristics.Limits.Exceeded.MaxRecursion"},
		{"fd[9]: Heuristics.Limits.Exceeded.MaxScanTime FOUND", byFile, scan.NotScanned, scan.Timeout, "Heuristics.Limits.Exceeded.MaxScanTime"},
		{"fd[9]: Heuristics.Encrypted.Zip FOUND", byFile, scan.NotScanned, scan.Encrypted, "Heuristics.Encrypted.Zip"},
		{"INSTREAM size limit exceeded. ERROR", byStream, scan.NotScanned, scan.TooLarge, ""},
		{"INSTREAM size limit exceeded. ERROR", byFile, scan.None, "", ""},
		{"stream: OK", byFile, scan.None, "", ""},
		{"fd[9]: OK", byStream, scan.None, "", ""},
		{"fd[9]: Can't open file or directory ERROR", byFile, scan.None, "", ""},
	} {
		var rep scan.Report
		err := e.read(&rep, c.text, c.way)
		if rep.Verdict != c.want || rep.Reason != c.reason || rep.Threat != c.threat || (err == nil) != (c.want != scan.None) {
			t.Errorf("%q: %s (%s) %q, %v", c.text, rep.Verdict, rep.Reason, rep.Threat, err)
		}
	}
	if err := e.read(new(scan.Report), "fd[9]: Time limit reached ERROR", byFile); fault.ReasonOf(err) != string(scan.Timeout) {
		t.Errorf("a time limit is %v", err)
	}
}

func TestVersion(t *testing.T) {
	date := time.Date(2026, 11, 21, 8, 26, 13, 0, time.Local).UTC()
	for _, c := range []struct {
		in, program, defs string
		at                time.Time
	}{
		{"ClamAV 1.4.6", "1.4.6", "", time.Time{}},
		{"ClamAV 1.4.6/27000/Sat Nov 21 08:26:13 2026", "1.4.6", "27000/Sat Nov 21 08:26:13 2026", date},
		{"ClamAV 1.4.6/27000", "1.4.6", "27000", time.Time{}},
		{"ClamAV 1.4.6/27000/yesterday", "1.4.6", "27000/yesterday", time.Time{}},
		{"ClamAV 1.4.6/x/y", "1.4.6", "", time.Time{}},
		{"PONG", "", "", time.Time{}},
		{"ClamAV \x1b[31m", "", "", time.Time{}},
		{"COMMAND UNAVAILABLE", "", "", time.Time{}},
	} {
		program, defs, at := version(c.in)
		if program != c.program || defs != c.defs || !at.Equal(c.at) {
			t.Errorf("%q: %q %q %v", c.in, program, defs, at)
		}
	}
}

func TestLoad(t *testing.T) {
	for in, want := range map[string]float64{
		"POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 2  idle 1 max 10 idle-timeout 30\nQUEUE: 0 items\nEND": 0.1,
		"STATE: VALID PRIMARY\nTHREADS: live 10  idle 0 max 10 idle-timeout 30\nQUEUE: 90 items\n":              1,
		"THREADS: live -5 idle 3 max 10\nQUEUE: 0 items":                                                        0,
		"THREADS: some": 0, "": 0, "QUEUE: 5 items": 0,
	} {
		if got, err := load(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	if _, err := load("POOLS: 1\nSTATE: EXIT\n"); err == nil {
		t.Error("a clamd that ends is ready")
	}
}

func TestConf(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		text, version string
		want          scan.Limits
	}{
		{"", "1.4.6", scan.Limits{Size: 100 << 20, Expanded: 400 << 20, Depth: 17, Entries: 10_000, Timeout: 2 * time.Minute}},
		{"", "0.103.8", scan.Limits{Size: 25 << 20, Expanded: 100 << 20, Depth: 16, Entries: 10_000, Timeout: 2 * time.Minute}},
		{"# MaxFileSize 1M\n  MaxFileSize   5M  \nMAXSCANSIZE 7m\nMaxFiles 0\nMaxRecursion 0\nMaxScanTime 0\nAlertExceedsMax true\nAlertEncrypted 1\n", "1.4.6",
			scan.Limits{Size: 5 << 20, Expanded: 7 << 20, Depth: 100, Entries: 1 << 30, Exceeded: true, Encrypted: true}},
		{"MaxFileSize 0\nMaxScanSize 0\nAlertEncryptedArchive yes\n", "1.4.6", scan.Limits{Size: 2<<30 - 1, Expanded: 1 << 62, Depth: 17, Entries: 10_000, Timeout: 2 * time.Minute}},
		{"MaxFileSize 100M\nMaxScanSize 10M\n", "1.4.6", scan.Limits{Size: 10 << 20, Expanded: 10 << 20, Depth: 17, Entries: 10_000, Timeout: 2 * time.Minute}},
		{"MaxFileSize many\nMaxFiles -3\nMaxScanSize 99999999999999999999G\n\xff\xfe\n", "1.4.6", scan.Limits{Size: 100 << 20, Expanded: 400 << 20, Depth: 17, Entries: 10_000, Timeout: 2 * time.Minute}},
	} {
		path := filepath.Join(dir, "clamd.conf")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&Engine{o: Options{Conf: path}}).limits(c.version)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%d: %v %s", i, err, diff)
		}
	}
	if _, err := (&Engine{o: Options{Conf: dir}}).limits(""); err == nil {
		t.Error("a directory is no clamd.conf")
	}
	c := conf{"localsocket": "/run/s", "tcpsocket": "3310"}
	for address, want := range map[string]bool{"127.0.0.1:3310": true, "[::1]:3310": true, "localhost:3310": true, "10.0.0.1:3310": false, "127.0.0.1:1": false, "x": false} {
		if c.serves("tcp", address) != want {
			t.Errorf("serves %s: %v", address, !want)
		}
	}
	if !c.serves("unix", "/run/s") || c.serves("unix", "/run/other") {
		t.Error("the socket does not decide")
	}
}

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]Options{
		"clamd:///run/clamd.sock": {Network: "unix", Address: "/run/clamd.sock"},
		"clamd://host":            {Network: "tcp", Address: "host:3310"},
		"clamd://[::1]:1/":        {Network: "tcp", Address: "[::1]:1"},
		"clamd:///s?conf=/etc/c&in_flight=8&small=64K&timeout=1m&stall=2s&idle=3s": {Network: "unix", Address: "/s", Conf: "/etc/c", InFlight: 8, Small: 64 << 10,
			Timeout: time.Minute, Stall: 2 * time.Second, Idle: 3 * time.Second},
		"clamd://h?max_file_size=25M&max_scan_size=100M&max_recursion=16&max_files=10": {Network: "tcp", Address: "h:3310", Limits: scan.Limits{Size: 25 << 20, Expanded: 100 << 20, Depth: 16, Entries: 10}},
	} {
		got, err := ParseURL(raw, Options{})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", raw, err, diff)
		}
	}
	for _, raw := range []string{"clamd:", "clamd:///", "clamd:x", "clamd:///s#f", "http:///s", "clamd:///s?small=-1", "clamd:///s?small=0", "clamd:///s?stall=0s", "clamd:///s?max_files=x"} {
		if got, err := ParseURL(raw, Options{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("1: fd[1]: OK"), true)
	f.Add([]byte("1: stream: X FOUND"), false)
	f.Fuzz(func(t *testing.T, line []byte, file bool) {
		id, text, ok := cutID(line)
		if !ok {
			return
		}
		w, want := byStream, "stream: OK"
		if file {
			w, want = byFile, "OK"
		}
		var rep scan.Report
		if err := (&Engine{}).read(&rep, text, w); (err == nil) == (rep.Verdict == scan.None) {
			t.Errorf("%d %q: %s, %v", id, text, rep.Verdict, err)
		}
		if rep.Verdict == scan.Clean && text != want && !(file && len(text) > 8 && text[:3] == "fd[" && text[len(text)-5:] == "]: OK") {
			t.Errorf("%q is clean", text)
		}
	})
}
