package connectortest

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
)

// Conforms runs connectors.Conform on d and fails where a check does. It returns
// the state of each check.
func Conforms(t *testing.T, u connectors.Unit, d connectors.Driver) map[string]string {
	t.Helper()
	states := map[string]string{}
	err := connectors.Conform(t.Context(), u, d, func(f connectors.Finding) {
		states[f.Check] = f.State
		t.Logf("%-14s %-8s %s", f.Check, f.State, f.Detail)
		if f.State == connectors.Failed {
			t.Errorf("%s: %s", f.Check, f.Detail)
		}
	})
	if err != nil {
		t.Error(err)
	}
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Error(err)
		}
		t.Errorf("%s is left", info.Key)
	}
	return states
}
