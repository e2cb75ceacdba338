package pipeline

import (
	"context"
	"errors"
	"testing"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// A stub is a pool that answers with its name.
type stub struct {
	name             string
	ready, unsettled bool
	err              error
}

func (s *stub) Scan(context.Context, scan.Sample) (scan.Report, error) {
	return scan.Report{Engine: s.name, Verdict: scan.Clean}, s.err
}
func (s *stub) Ready() bool         { return s.ready }
func (s *stub) Settled() bool       { return !s.unsettled }
func (s *stub) Definitions() string { return s.name }

func TestBacked(t *testing.T) {
	down := fault.New(fault.Unavailable, "stub", "", nil)
	for _, tt := range []struct {
		name        string
		first, then stub
		ready       bool
		engine      string // "" = an error
	}{
		{"the first answers", stub{ready: true}, stub{ready: true}, true, "first"},
		{"the first is down", stub{err: down}, stub{ready: true}, true, "then"},
		{"the first may come yet", stub{err: down, unsettled: true}, stub{ready: true}, false, ""},
		{"one sample fails", stub{ready: true, err: down}, stub{ready: true}, true, ""},
		{"both are down", stub{err: down}, stub{err: down}, false, ""},
		{"the sample's own fault", stub{err: errors.New("unreadable")}, stub{ready: true}, true, ""},
	} {
		tt.first.name, tt.then.name = "first", "then"
		p := backed(&tt.first, &tt.then)
		rep, err := p.Scan(t.Context(), scan.Sample{})
		if p.Ready() != tt.ready || (err == nil) != (tt.engine != "") || err == nil && (rep.Engine != tt.engine || p.Definitions() != tt.engine) {
			t.Errorf("%s: ready %v, %+v, %v", tt.name, p.Ready(), rep, err)
		}
	}
	one := &stub{}
	if backed(one, nil) != Scanner(one) || backed(nil, one) != Scanner(one) || backed(nil, nil) != nil {
		t.Error("a pool alone is not itself")
	}
}
