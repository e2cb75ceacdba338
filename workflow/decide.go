package workflow

import (
	"fmt"

	"github.com/landwaiter/landwaiter/scan"
)

// An Outcome is a decision and, in words for an operator, why.
type Outcome struct {
	Decision Decision
	Because  string
}

// Decide says what a report means. In this order: what is infected or
// suspicious is blocked; strict: what an engine blocks is blocked, even if the
// reason it was not scanned for is allowed below; configurable: sensitive data
// and vulnerabilities are blocked as asked; what was not scanned goes by its
// reason, held by default; what is clean is allowed. A report without a verdict
// is held.
func (w Workflow) Decide(rep scan.Report) Outcome {
	d := w.Definition
	switch {
	case rep.Verdict == scan.Infected, rep.Verdict == scan.Suspicious:
		because := rep.Verdict.String()
		if rep.Threat != "" {
			because += ": " + rep.Threat
		}
		return Outcome{Blocked, because}
	case !d.Configurable && rep.Blocked != "":
		because := "the engine blocks it: " + rep.Blocked
		if rep.BlockedBy != "" {
			because += " (" + rep.BlockedBy + ")"
		}
		return Outcome{Blocked, because}
	case d.Configurable && d.Sensitive && rep.Sensitive > 0:
		return Outcome{Blocked, fmt.Sprintf("sensitive data: %d found", rep.Sensitive)}
	case d.Configurable && d.Vulnerabilities && rep.Vulnerabilities > 0:
		return Outcome{Blocked, fmt.Sprintf("vulnerabilities: %d found", rep.Vulnerabilities)}
	case rep.Verdict == scan.Clean:
		return Outcome{Allowed, "clean"}
	case rep.Verdict == scan.NotScanned:
		because := "not_scanned(" + string(rep.Reason) + ")"
		// A reason we do not know (a newer node, a damaged row) is never allowed.
		switch decision := w.NotScanned[rep.Reason]; {
		case decision == Blocked, decision == Allowed && known(rep.Reason):
			return Outcome{decision, because + " is " + string(decision) + " by the workflow"}
		}
		return Outcome{Held, because}
	}
	return Outcome{Held, "there is no verdict"}
}

func known(r scan.Reason) bool {
	for _, k := range scan.Reasons {
		if r == k {
			return true
		}
	}
	return false
}
