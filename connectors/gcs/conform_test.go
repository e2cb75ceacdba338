package gcs

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/test/servers"
)

// What conform finds with preconditions and without, and that it leaves nothing
// behind.
func TestConform(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]struct {
		start  func(testing.TB) servers.GCS
		absent []string
	}{
		"checking proxy":  {servers.CheckedGCS, nil},
		"fake-gcs-server": {func(t testing.TB) servers.GCS { return servers.FakeGCS(t) }, []string{"remove-stale"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, server.start(t), false)
			u := p.unit()
			u.Unfenced = true
			d, err := open(t.Context(), u, defaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			states := connectortest.Conforms(t, u, d)
			for _, check := range server.absent {
				if states[check] != connectors.Absent {
					t.Errorf("%s is %s, want absent", check, states[check])
				}
			}
			t.Log(states)
		})
	}
}
