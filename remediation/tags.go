package remediation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// The default keys of our tags; the first three are MetaDefender's.
const (
	ResultKey    = "MetaDefenderResult"
	FileIDKey    = "MetaDefenderFileId"
	TimestampKey = "MetaDefenderAnalysisTimestamp"
	VersionKey   = "MetaDefenderVersion"
)

// The names of the metadata on what a plan wrote.
const (
	MetaEntry  = "landwaiter-entry"
	MetaSHA256 = "landwaiter-sha256"
)

// tag plans the tags of the source.
func (b *builder) tag() {
	in, t := b.in, b.in.Workflow.Tagging
	s := Step{Action: Tag, Unit: in.Unit, Key: []byte(in.Key), State: Planned, Tags: map[string]string{}}
	for _, k := range []struct {
		name, fallback, value string
		loose                 bool // differs with each scan of the same version
	}{
		{t.ResultKey, ResultKey, result(t, in.Verdict, in.Report), false},
		{t.FileIDKey, FileIDKey, in.Entry, true},
		{t.TimestampKey, TimestampKey, in.At.UTC().Format(time.RFC3339), true},
		{t.VersionKey, VersionKey, tagValue(in.Version), false},
	} {
		name := k.name
		if name == "" {
			name = k.fallback
		}
		if name == workflow.Off || k.value == "" {
			continue
		}
		s.Tags[name] = k.value
		if k.loose {
			s.Loose = append(s.Loose, name)
		}
		if k.fallback == VersionKey {
			s.VersionTag = name
		}
	}
	if !b.src.Caps.Tag {
		s.State, s.Detail = Refused, fmt.Sprintf("unit %q keeps no tags, or does not let us write them", in.Unit)
	}
	b.add(s)
}

// result returns the words for a verdict: the workflow's, else MetaDefender's.
func result(t workflow.Tagging, v scan.Verdict, rep scan.Report) string {
	if s := t.Values[v.String()]; s != "" {
		return s
	}
	code := rep.Code
	if known, _ := scan.FromCode(code); known != v {
		code = scan.Code(v, rep.Reason)
	}
	return tagValue(scan.CodeName(code))
}

// tagValue returns s in what every vendor takes as a tag's value: at most 256
// letters, digits, spaces and + - = . _ : / @. A version that is longer goes by
// its hash.
func tagValue(s string) string {
	if len(s) > 256 {
		sum := sha256.Sum256([]byte(s))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" +-=._:/@", r)) {
			return r
		}
		return '_'
	}, s)
}
