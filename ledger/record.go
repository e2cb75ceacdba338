package ledger

import (
	"encoding/hex"
	"hash/fnv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/workflow"
)

// A Record is a finished entry as its readers see it: a line of JSON of watch,
// a row of the CLI.
type Record struct {
	Time      time.Time         `json:"time"`
	ID        string            `json:"id"`
	Unit      string            `json:"unit"`
	Key       string            `json:"key"`
	Version   string            `json:"version"`
	Size      int64             `json:"size"`
	SHA256    string            `json:"sha256"`
	Verdict   string            `json:"verdict"`
	Reason    scan.Reason       `json:"reason"`
	Threat    string            `json:"threat"`
	Engine    string            `json:"engine"`
	Decision  workflow.Decision `json:"decision"`
	By        string            `json:"by,omitempty"`
	Actions   []ActionRecord    `json:"actions"`
	Cause     string            `json:"cause"`
	Attempts  int               `json:"attempts"`
	LatencyMS float64           `json:"latency_ms"`
	Outcome   Outcome           `json:"outcome"`
	State     string            `json:"state"`
	Error     string            `json:"error,omitempty"`
}

// An ActionRecord is a step of remediation as readers see it.
type ActionRecord struct {
	Type     string `json:"type"`
	Target   string `json:"target"`
	State    string `json:"state"`
	Detail   string `json:"detail,omitempty"`
	Unfenced bool   `json:"unfenced,omitempty"`
}

// Record shows e for readers: the key as UTF-8, hashes in hex, times in UTC.
func (e *Entry) Record() Record {
	r := Record{Time: e.Finished.UTC(), ID: e.ID.String(), Unit: e.UnitName, Key: object.FormatKey(e.Key), Version: e.Version,
		Size: e.Size, SHA256: hex.EncodeToString(e.SHA256), Verdict: e.Verdict.String(), Reason: e.Reason,
		Threat: printable(e.Threat), Engine: printable(e.Engine), Decision: e.Decision, By: e.By, Actions: []ActionRecord{},
		Cause: e.Cause, Attempts: e.Attempts, Outcome: e.Outcome, State: e.State.String(), Error: printable(e.Error)}
	if e.State == Finished {
		r.LatencyMS = float64(e.Finished.Sub(e.Discovered).Microseconds()) / 1000
	} else {
		r.Time = e.Discovered.UTC()
	}
	for _, s := range e.Plan {
		target := s.Unit + ":" + object.FormatKey(string(s.Key))
		r.Actions = append(r.Actions, ActionRecord{Type: string(s.Action), Target: target, State: string(s.State),
			Detail: printable(s.Detail), Unfenced: s.Unfenced})
	}
	return r
}

// printable keeps strangers' words from steering a terminal or a log.
func printable(s string) string {
	return strings.ReplaceAll(object.FormatKey(s), `\\`, `\`)
}

// SlotOf returns the slot of a key: FNV-1a of the unit's number and the key,
// modulo 256.
func SlotOf(unit int64, key string) uint8 {
	h := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(unit >> (8 * i))
	}
	h.Write(b[:])
	h.Write([]byte(key))
	s := h.Sum64()
	return uint8(s ^ s>>32)
}
