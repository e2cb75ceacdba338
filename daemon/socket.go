package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

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
	at, closeDir, err := control.SocketAddress(d.o.Config.Data)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// Set before bind, so that at no moment it is there with a wider mode.
		return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	l, err := lc.Listen(context.Background(), "unix", at)
	if err != nil {
		return nil, errors.Join(err, closeDir())
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // we remove it by its real name
	return &socket{l, path, closeDir}, nil
}

// A socket is a listener whose file goes with it.
type socket struct {
	net.Listener
	path     string
	closeDir func() error
}

// Close ends the listener and removes its file.
func (s *socket) Close() error {
	err := errors.Join(s.Listener.Close(), os.Remove(s.path))
	if errors.Is(err, net.ErrClosed) { // closed before
		return nil
	}
	return errors.Join(err, s.closeDir())
}

// socketMux serves the operator of the machine: the calls of its command line,
// and the API, as somebody who may everything.
func (d *Daemon) socketMux() http.Handler {
	return besideAPI(d.api.Machine(), control.Handler(d.control))
}
