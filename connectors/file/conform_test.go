package file_test

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
)

func TestConform(t *testing.T) {
	dir := t.TempDir()
	u := connectors.Unit{Name: "u", URL: dir}
	connectortest.Conforms(t, u, open(t, u))
}
