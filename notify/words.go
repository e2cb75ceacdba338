package notify

import (
	"github.com/landwaiter/landwaiter/ledger"
)

// The words of MetaDefender Storage Security for what became of a file or scan.

// FileStatus is Allowed or Blocked. What is held is not let through.
func FileStatus(f ledger.FileNotice) string {
	if f.Decision == "allowed" {
		return "Allowed"
	}
	return "Blocked"
}

// FileState is how far the product came with the file.
func FileState(f ledger.FileNotice) string {
	switch f.Outcome {
	case ledger.OutcomeFailed:
		return "Failed"
	case ledger.OutcomeCanceled:
		return "Canceled"
	}
	for _, a := range f.Actions {
		if NotDone(a) {
			return "FailedRemediation"
		}
	}
	return "Available"
}

// NotDone reports whether a step of remediation was not done.
func NotDone(a ledger.ActionRecord) bool { return a.State == "failed" || a.State == "refused" }

// Remediation names a step: BlockedMoved, AllowedCopied, FileTagging.
func Remediation(f ledger.FileNotice, a ledger.ActionRecord) string {
	status := FileStatus(f)
	switch a.Type {
	case "tag":
		return "FileTagging"
	case "copy":
		return status + "Copied"
	case "sanitized":
		return "SanitizedMoved"
	case "remove":
		return status + "Deleted"
	case "quarantine":
		return status + "Quarantined"
	case "prune":
		return "DeleteEmptyFolders"
	}
	return status + "Kept"
}

// ScanStatus is the product's word for how a scan ended.
func ScanStatus(state string) string {
	switch state {
	case "completed":
		return "Completed"
	case "stopped":
		return "Cancelled"
	}
	return "Failed"
}
