package smb

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// A place is a folder of a share of its own.
type place struct {
	srv    *servers.Samba
	share  string
	folder string
	local  string // the same folder on this machine
}

func newPlace(t testing.TB, srv *servers.Samba, share string) place {
	t.Helper()
	root := srv.Streams
	if share == "plain" {
		root = srv.Plain
	}
	local, err := os.MkdirTemp(root, "place-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(local, 0o777); err != nil {
		t.Fatal(err)
	}
	return place{srv, share, filepath.Base(local), local}
}

func (p place) unit() connectors.Unit {
	return connectors.Unit{Name: "u", URL: fmt.Sprintf("smb://%s:%s/%s/%s", p.srv.Host, p.srv.Port, p.share, p.folder),
		Options: map[string]string{"user": p.srv.User, "password": p.srv.Password}}
}

func (p place) open(t testing.TB) *Driver {
	t.Helper()
	d, err := Open(t.Context(), p.unit())
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Driver)
}

func closing(t testing.TB, d connectors.Driver) {
	t.Helper()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// A client is another client of the server.
type client struct {
	*smb2.Share
	folder string
}

func (p place) client(t testing.TB) client {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(p.srv.Host, p.srv.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := smb2.Dialer{Negotiator: smb2.Negotiator{RequireMessageSigning: true}, Initiator: &smb2.NTLMInitiator{User: p.srv.User, Password: p.srv.Password}}
	s, err := d.Dial(conn)
	if err != nil {
		t.Fatal(err)
	}
	share, err := s.Mount(`\\` + p.srv.Host + `\` + p.share)
	if err != nil {
		t.Fatal(err)
	}
	return client{share, p.folder}
}

func (c client) path(key string) string { return c.folder + `\` + strings.ReplaceAll(key, "/", `\`) }

// write writes as a stranger does: in place.
func (c client) write(key string, content []byte) error {
	if dir := filepath.Dir(key); dir != "." {
		if err := c.MkdirAll(c.path(dir), 0o777); err != nil {
			return err
		}
	}
	return c.WriteFile(c.path(key), content, 0o666)
}

// must writes, and fails the test if it cannot.
func (c client) must(t testing.TB, key string, content string) {
	t.Helper()
	if err := c.write(key, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func look(t testing.TB, d *Driver, key string) object.Ref {
	t.Helper()
	i, err := d.Stat(t.Context(), object.Ref{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return object.Ref{Key: key, Version: i.Version}
}

// refuses are keys that SMB cannot hold, and one that is another in a second
// spelling.
func refuses(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if checkName(part) != nil || device(part) {
			return true
		}
	}
	return key == "upper"
}

func TestContract(t *testing.T) {
	t.Parallel()
	// The suite's other client writes a name that ends in a dot, for which Samba
	// would list one that it makes up.
	srv := servers.StartSamba(t, "mangled names = no")
	wants := connectors.Caps{Settle: true, Put: true, Remove: true, Prune: true, FencedRemove: true, FencedPut: true, Ordered: true}
	var at place
	var other client
	connectortest.Run(t, connectortest.Harness{
		Open: func(t *testing.T) connectors.Driver {
			at = newPlace(t, srv, "streams")
			other = at.client(t)
			return at.open(t)
		},
		Write: func(t *testing.T, key string, content []byte) {
			// Another client waits until the file is not in use.
			var err error
			for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if err = other.write(key, content); err == nil {
					return
				}
				if !sharing(err) {
					break
				}
			}
			t.Errorf("write %q: %v", key, err)
		},
		Remove: func(t *testing.T, key string) {
			if err := other.Share.Remove(other.path(key)); err != nil {
				t.Errorf("remove %q: %v", key, err)
			}
		},
		Wants:   wants,
		Refuses: refuses,
	})
}
