package file_test

import (
	"os"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
)

func TestConform(t *testing.T) {
	dir := t.TempDir()
	u := connectors.Unit{Name: "u", URL: dir}
	connectortest.Conforms(t, u, open(t, u))
}

// A folder of the user's own stays, though it is empty.
func TestConformLeavesFolders(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/inbox", 0o755); err != nil {
		t.Fatal(err)
	}
	u := connectors.Unit{Name: "u", URL: dir, Probe: "inbox/"}
	connectortest.Conforms(t, u, open(t, u))
	if l := names(t, dir+"/inbox"); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
	if _, err := os.Stat(dir + "/inbox"); err != nil {
		t.Error(err)
	}
}
