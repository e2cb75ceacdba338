package connectortest_test

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
)

func TestMemory(t *testing.T) {
	for name, versioned := range map[string]bool{"current": false, "versioned": true} {
		t.Run(name, func(t *testing.T) {
			var m *connectortest.Memory
			connectortest.Run(t, connectortest.Harness{
				Open: func(*testing.T) connectors.Driver {
					m = connectortest.NewMemory("m")
					m.Versioned = versioned
					return m
				},
				Write:      func(_ *testing.T, key string, content []byte) { m.Write(key, content) },
				Remove:     func(_ *testing.T, key string) { m.Delete(key) },
				Wants:      connectortest.AllCaps(),
				Bucketlike: true,
			})
		})
	}
}

func TestFaultsHidesNothing(t *testing.T) {
	var m *connectortest.Memory
	connectortest.Run(t, connectortest.Harness{
		Open: func(*testing.T) connectors.Driver {
			m = connectortest.NewMemory("m")
			return &connectortest.Faults{Driver: m}
		},
		Write:      func(_ *testing.T, key string, content []byte) { m.Write(key, content) },
		Remove:     func(_ *testing.T, key string) { m.Delete(key) },
		Wants:      connectortest.AllCaps(),
		Bucketlike: true,
	})
}
