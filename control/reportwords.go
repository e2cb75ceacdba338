package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
)

var (
	processingWords = map[ledger.Processing]string{ledger.InProgress: "in progress", ledger.ProcessingFailed: "failed", ledger.ProcessingCanceled: "canceled", ledger.Available: "available"}
	resultWords     = map[ledger.Result]string{ledger.ResultAllowed: "allowed", ledger.ResultBlocked: "blocked", ledger.ResultProcessing: "processing"}
)

// filterWords says in words what a list of files is restricted to, beside its
// scan.
func filterWords(f ledger.FileFilter) (words []string) {
	add := func(is bool, form string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(form, args...))
		}
	}
	add(f.Search != "", "path contains %s", object.FormatKey(f.Search))
	add(!f.From.IsZero(), "found from %s UTC", f.From.UTC().Format(time.DateTime))
	add(!f.To.IsZero(), "found before %s UTC", f.To.UTC().Format(time.DateTime))
	add(f.Types != nil, "type %s", either(f.Types, func(t ledger.ScanType) string { return scanTypeWords[t] }))
	for _, h := range f.Workflows {
		words = append(words, "workflow snapshot "+h.String()[:12])
	}
	add(f.Processing != nil, "state %s", either(f.Processing, func(p ledger.Processing) string { return processingWords[p] }))
	add(f.Results != nil, "result %s", either(f.Results, func(r ledger.Result) string { return resultWords[r] }))
	add(f.Codes != nil, "verdict %s", either(f.Codes, func(n int) string { return strings.ToLower(scan.CodeName(n)) }))
	add(f.Detected != nil, "engines that found something: %s", either(f.Detected, nil))
	add(f.Vulns != nil, "vulnerabilities: %s", either(f.Vulns, nil))
	if f.HasVulns != nil {
		words = append(words, with(*f.HasVulns)+" vulnerabilities")
	}
	if f.Sensitive != nil {
		words = append(words, with(*f.Sensitive)+" sensitive data")
	}
	add(f.Remedies != nil, "remediation %s", either(f.Remedies, ledger.Remedy.String))
	return words
}

func with(is bool) string {
	if is {
		return "with"
	}
	return "without"
}

// either names some of several values; one that has no name stays a number.
func either[T ~int | ~uint8](values []T, name func(T) string) string {
	list := make([]string, len(values))
	for i, v := range values {
		if name != nil {
			list[i] = name(v)
		}
		if list[i] == "" {
			list[i] = fmt.Sprint(int(v))
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " or ")
}
