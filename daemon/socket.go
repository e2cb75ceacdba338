package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/control"
)

// listenSocket opens the control socket in the data folder, for the folder's
// owner alone. A socket that an earlier process left is replaced: the ledger's
// lock says that nobody else runs here.
func (d *Daemon) listenSocket() (net.Listener, error) {
	path := filepath.Join(d.o.Config.Data, control.SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// No moment at which the socket is there with a wider mode.
	old := unix.Umask(0o177)
	defer unix.Umask(old)
	var lc net.ListenConfig
	return lc.Listen(context.Background(), "unix", path)
}

func (d *Daemon) socketMux() http.Handler { return control.Handler(d.control) }
