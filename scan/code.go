package scan

// A code is a row of the table of MetaDefender's scan_all_result_i.
type code struct {
	name    string
	verdict Verdict
	reason  Reason
}

// codes are the values that MetaDefender Core, Cloud and MDSS document, with
// what we make of each. The rule: a code is clean only where it says that the
// content was looked at, or is known, and nothing was found. A code that says
// no more than that something else was fine (its country of origin, that no
// text of a language model is in it) leaves open whether the content was
// scanned, so it is not_scanned; so is Sanitized, which speaks of the copy.
// A report's own details may know better, and its reader may then say so.
var codes = map[int]code{
	0:  {"No Threat Detected", Clean, ""},
	1:  {"Infected", Infected, ""},
	2:  {"Suspicious", Suspicious, ""},
	3:  {"Failed", NotScanned, EngineError},
	4:  {"Cleaned/Deleted", Infected, ""}, // of old: there was a threat
	5:  {"Unknown", NotScanned, EngineError},
	6:  {"Quarantined", Infected, ""}, // of old: there was a threat
	7:  {"Allowlisted", Clean, ""},    // an operator's decision, by hash
	8:  {"Blocklisted", Infected, ""},
	9:  {"Exceeded Archive Depth", NotScanned, ArchiveDepth},
	10: {"Not Scanned", NotScanned, EngineError},
	11: {"Aborted", NotScanned, Canceled},
	12: {"Encrypted Archive", NotScanned, Encrypted},
	13: {"Exceeded Archive Size", NotScanned, ArchiveSize},
	14: {"Exceeded Archive File Number", NotScanned, ArchiveFiles},
	15: {"Password Protected Document", NotScanned, Encrypted},
	16: {"Exceeded Archive Timeout", NotScanned, Timeout},
	17: {"Mismatch", Suspicious, ""}, // content is not what its name claims
	18: {"Potentially Vulnerable File", Suspicious, ""},
	19: {"Cancelled", NotScanned, Canceled},
	20: {"Sensitive Data Found", Suspicious, ""},
	21: {"Yara Rule Matched", Suspicious, ""},
	22: {"Potentially Unwanted", Suspicious, ""},
	23: {"Unsupported File Type", NotScanned, Unsupported},
	24: {"Extraction Failed", NotScanned, Unsupported},
	26: {"Suspicious Verdict by Sandbox", Suspicious, ""},
	27: {"Likely Malicious Verdict by Sandbox", Infected, ""},
	28: {"Malicious Verdict by Sandbox", Infected, ""},
	29: {"Blocked Verdict by Sandbox", Suspicious, ""},
	30: {"Blocked Verdict by Deep CDR", Suspicious, ""},
	31: {"Global Timeout Exceeded", NotScanned, Timeout},
	32: {"Vulnerable Verdict by SBOM", Suspicious, ""},
	33: {"Non-vulnerable Verdict by SBOM", Clean, ""}, // the last step but one: scanned before
	34: {"Blocked Verdict by SBOM", Suspicious, ""},
	38: {"Known Bad", Infected, ""},
	39: {"Known Good", Clean, ""}, // by hash
	40: {"Unknown", NotScanned, EngineError},
	41: {"Allowed Verdict by COO", NotScanned, Filtered}, // ends the scan before any engine looked
	42: {"Blocked Verdict by COO", NotScanned, Filtered},
	45: {"License Risk Verdict by SBOM", Suspicious, ""},
	46: {"Blocked Verdict by File Type", NotScanned, Filtered},
	47: {"Multipart Upload Timed Out", NotScanned, Timeout},
	48: {"Sanitized", NotScanned, Unsupported},
	51: {"Exceeded Limited Sandbox File Size", NotScanned, TooLarge},
	52: {"Blocked by Archive Extraction", NotScanned, Unsupported},
	53: {"Blocked by Archive Compression", NotScanned, Unsupported},
	54: {"Sandbox Execution Limit Reached", NotScanned, EngineError},
	55: {"Rejected", NotScanned, Filtered},
	56: {"Split Archive Is Empty", NotScanned, Unsupported},
	57: {"Split Archive Upload Timed Out", NotScanned, Timeout},
	58: {"Split Archive of Unsupported Type", NotScanned, Unsupported},
	59: {"Split Archive Not Supported", NotScanned, Unsupported},
	60: {"Exceeded Archive Expansion Factor", NotScanned, ArchiveSize},
	61: {"Allowed by Threat Intelligence", NotScanned, Filtered}, // as 41
	62: {"Blocked by Threat Intelligence", Infected, ""},
	63: {"AI Content Detected", Suspicious, ""},
	64: {"AI Content Uncertain", Suspicious, ""},
	65: {"AI Content Not Detected", NotScanned, EngineError},
	66: {"RMS Protected Document", NotScanned, Encrypted},

	253: {"Not Scanned, Rate Limit", NotScanned, EngineUnavailable},
	254: {"In Queue", NotScanned, EngineUnavailable},
	255: {"In Progress", NotScanned, EngineUnavailable},
	256: {"Multipart Uploading", NotScanned, EngineUnavailable},
	257: {"Split Archive Uploading", NotScanned, EngineUnavailable},
}

// codeOf are the codes of the reasons; those that MetaDefender has no word for
// are its Not Scanned.
var codeOf = map[Reason]int{
	TooLarge:          10,
	Encrypted:         12,
	ArchiveDepth:      9,
	ArchiveFiles:      14,
	ArchiveSize:       13,
	Timeout:           31,
	Unsupported:       23,
	EngineError:       3,
	EngineUnavailable: 10,
	StaleDefinitions:  10,
	AccessDenied:      10,
	KeyDenied:         10,
	ColdTier:          10,
	Locked:            10,
	NotRegular:        10,
	Filtered:          10,
	Superseded:        10,
	Gone:              10,
	Canceled:          19,
	EngineCrash:       3,
	FencedOff:         10,
}

// Code returns the MetaDefender code (scan_all_result_i) of a verdict and, for
// NotScanned, its reason. What it does not know is 10, Not Scanned.
func Code(v Verdict, r Reason) int {
	switch v {
	case Clean:
		return 0
	case Infected:
		return 1
	case Suspicious:
		return 2
	}
	if c, ok := codeOf[r]; ok {
		return c
	}
	return 10
}

// FromCode returns what we make of a MetaDefender code. A code that nobody
// documents is not_scanned(engine_error), never clean. The codes of a scan that
// still runs (254 to 257) are no result at all: ask CodeFinal first.
func FromCode(n int) (Verdict, Reason) {
	if c, ok := codes[n]; ok {
		return c.verdict, c.reason
	}
	return NotScanned, EngineError
}

// CodeFinal reports whether the code is one of a scan that has ended.
func CodeFinal(n int) bool { return n < 254 || n > 257 }

// CodeName returns the words that MetaDefender uses for a code, or "Unknown".
func CodeName(n int) string {
	if c, ok := codes[n]; ok {
		return c.name
	}
	return "Unknown"
}
