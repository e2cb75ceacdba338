package clamd

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// way is how an object was given to clamd, which its reply repeats.
type way uint8

const (
	byFile   way = iota // "fd[12]: …"
	byStream            // "stream: …"
)

// cutID splits the number of a session's reply off.
func cutID(line []byte) (id uint32, text string, ok bool) {
	num, rest, ok := bytes.Cut(line, []byte(": "))
	if !ok || len(num) == 0 || len(num) > 10 || num[0] == '0' {
		return 0, "", false
	}
	var n uint64
	for _, c := range num {
		if c < '0' || c > '9' {
			return 0, "", false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), string(rest), n <= math.MaxUint32
}

// read turns clamd's words about an object into rep. Only the very words of a
// verdict are one; an error means that there is none.
func (e *Engine) read(rep *scan.Report, text string, w way) error {
	name, said, ok := strings.Cut(text, ": ")
	switch {
	case text == "INSTREAM size limit exceeded. ERROR" && w == byStream:
		rep.Verdict, rep.Reason = scan.NotScanned, scan.TooLarge
	case strings.HasSuffix(text, " ERROR"):
		return e.said(text)
	case !ok || !w.is(name):
		return e.violation("a reply about something else", []byte(text))
	case said == "OK":
		rep.Verdict = scan.Clean
	default:
		threat, ok := strings.CutSuffix(said, " FOUND")
		if !ok || !printable(threat) {
			return e.violation("a reply that is none", []byte(text))
		}
		rep.Verdict, rep.Reason, rep.Threat = judge(threat)
		rep.Detected = 1
		if rep.Verdict == scan.NotScanned {
			rep.Detected = 0
		}
	}
	rep.Code = scan.Code(rep.Verdict, rep.Reason)
	return nil
}

// is says whether name is how clamd calls an object that it got this way.
func (w way) is(name string) bool {
	if w == byStream {
		return name == "stream"
	}
	num, ok := strings.CutPrefix(name, "fd[")
	if !ok {
		return false
	}
	num, ok = strings.CutSuffix(num, "]")
	if !ok || len(num) > 10 {
		return false
	}
	_, err := strconv.ParseUint(num, 10, 31)
	return err == nil
}

// judge tells what clamd found from where it says that it could not look
// (AlertExceedsMax, AlertEncrypted in clamd.conf).
func judge(threat string) (scan.Verdict, scan.Reason, string) {
	if limit, ok := strings.CutPrefix(threat, "Heuristics.Limits.Exceeded"); ok {
		for _, l := range limits {
			if strings.HasPrefix(limit, l.name) {
				return scan.NotScanned, l.reason, threat
			}
		}
		return scan.NotScanned, scan.ArchiveSize, threat
	}
	if strings.HasPrefix(threat, "Heuristics.Encrypted.") {
		return scan.NotScanned, scan.Encrypted, threat
	}
	return scan.Infected, "", threat
}

var limits = []struct {
	name   string
	reason scan.Reason
}{
	{".MaxFileSize", scan.TooLarge},
	{".MaxScanSize", scan.ArchiveSize},
	{".MaxFiles", scan.ArchiveFiles},
	{".MaxRecursion", scan.ArchiveDepth},
	{".MaxScanTime", scan.Timeout},
}

// printable says whether s can be the name of a signature.
func printable(s string) bool {
	if s == "" || len(s) > 1<<10 {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// said is clamd's own complaint about an object.
func (e *Engine) said(text string) error {
	reason := scan.EngineError
	if strings.Contains(text, "ime limit") || strings.Contains(text, "imed out") {
		reason = scan.Timeout
	}
	return &fault.Error{Op: "clamd.Scan", On: e.o.Address, Reason: string(reason), Err: fmt.Errorf("clamd said %.200q", text)}
}

var errProtocol = errors.New("not the protocol of clamd")

// violation is anything else than a reply of clamd: no verdict.
func (e *Engine) violation(what string, got []byte) error {
	return &fault.Error{
		Op: "clamd.Scan", On: e.o.Address, Kind: fault.Unavailable, Reason: string(scan.EngineError),
		Err: fmt.Errorf("%w: %s: %.100q", errProtocol, what, got),
	}
}
