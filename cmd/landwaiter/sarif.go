package main

import (
	"encoding/json"
	"io"
	"iter"
	"net/url"
	"strings"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// The part of SARIF 2.1.0 that we write
// (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string    `json:"id"`
		Text sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful bool `json:"executionSuccessful"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		Level        string            `json:"level"` // error, warning, note
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"fingerprints,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
)

// sarifRules are our verdicts; clean objects are not results.
var sarifRules = []sarifRule{
	{"infected", sarifText{"An engine found malware."}},
	{"suspicious", sarifText{"An engine found something that may be malware."}},
	{"not_scanned", sarifText{"The object could not be inspected: it is not known to be clean."}},
}

// writeSarif writes what was found as one SARIF log, also where an error ended
// the scan: then the log says that it is not complete.
func writeSarif(w io.Writer, version string, rows iter.Seq2[ledger.Record, error]) error {
	results := []sarifResult{}
	var failed error
	for r, err := range rows {
		if err != nil {
			failed = err
			break
		}
		if r.Verdict == "clean" {
			continue
		}
		results = append(results, sarifOf(r))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	err := enc.Encode(sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0",
		Runs: []sarifRun{{
			Tool:        sarifTool{sarifDriver{"landwaiter", version, sarifRules}},
			Invocations: []sarifInvocation{{failed == nil}}, Results: results,
		}},
	})
	if failed != nil {
		return failed
	}
	return err
}

func sarifOf(r ledger.Record) sarifResult {
	out := sarifResult{RuleID: r.Verdict, Level: "error", Locations: []sarifLocation{{sarifPhysical{sarifArtifact{location(r)}}}}}
	message := []string{verdict(r)}
	for _, s := range []string{r.Threat, r.Error} {
		if s != "" {
			message = append(message, s)
		}
	}
	out.Message.Text = strings.Join(message, ": ")
	if r.Verdict != "infected" && r.Verdict != "suspicious" {
		out.RuleID, out.Level = "not_scanned", "warning"
	}
	if r.SHA256 != "" {
		out.Fingerprints = map[string]string{"sha256/v1": r.SHA256}
	}
	return out
}

// location is the URI of what was scanned: file:///… for a local file, the
// storage's own scheme for others, with each byte that a URI cannot hold
// percent-encoded.
func location(r ledger.Record) string {
	key, err := object.ParseKey(r.Key)
	if err != nil {
		key = r.Key
	}
	at := &url.URL{Scheme: "file", Path: r.Unit}
	if u, err := url.Parse(r.Unit); err == nil && strings.Contains(r.Unit, "://") {
		at = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	}
	at.Path = strings.TrimSuffix(at.Path, "/") + "/" + key // not cleaned: .. may be part of a bucket's key
	return at.String()
}
