package store

import (
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// The numbers that stand for words in the database. They are stored: only ever
// append. Verdicts, states, lanes and scan types are stored as the numbers that
// they are.
var (
	outcomes  = [...]ledger.Outcome{"", ledger.OutcomeDone, ledger.OutcomeFailed, ledger.OutcomeSuperseded, ledger.OutcomeGone, ledger.OutcomeCanceled}
	decisions = [...]workflow.Decision{"", workflow.Allowed, workflow.Blocked, workflow.Held}
	reasons   = [...]scan.Reason{"", scan.TooLarge, scan.Encrypted, scan.ArchiveDepth, scan.ArchiveFiles, scan.ArchiveSize,
		scan.Timeout, scan.Unsupported, scan.EngineError, scan.EngineUnavailable, scan.StaleDefinitions, scan.AccessDenied,
		scan.KeyDenied, scan.ColdTier, scan.Locked, scan.NotRegular, scan.Filtered, scan.Superseded, scan.Gone, scan.Canceled,
		scan.EngineCrash, scan.FencedOff}
	quarantineStates = [...]QuarantineState{QuarantineHeld, QuarantineRestored, QuarantinePurged}
)

// Reasons beside those of package scan, in the inventory and its counts.
const (
	codeBaseline = 250 // older than the scan's start date
	codeOther    = 255 // a reason that this release has no number for
)

// other stands for a reason without a number.
const other scan.Reason = "other"

// codeOf is 0 for a word without a number.
func codeOf[T comparable](list []T, v T) int64 { return int64(max(0, slices.Index(list, v))) }

func wordOf[T any](list []T, code int64) (v T) {
	if code >= 0 && code < int64(len(list)) {
		return list[code]
	}
	return v
}

func reasonCode(r scan.Reason) int64 {
	if n := slices.Index(reasons[:], r); n >= 0 {
		return int64(n)
	}
	return codeOther
}

func reasonWord(code int64) scan.Reason {
	switch code {
	case codeOther:
		return other
	case codeBaseline:
		return ""
	}
	return wordOf(reasons[:], code)
}

// micros is how times are stored: UTC microseconds, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
