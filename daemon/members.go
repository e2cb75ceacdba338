package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/store"
)

// AddMember is Control.AddMember.
func (l *Local) AddMember(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	return l.changed(ctx, func(c *control.Control) (control.Effect, error) { return c.AddMember(ctx, m) })
}

// RemoveMember is Control.RemoveMember.
func (l *Local) RemoveMember(ctx context.Context, login string) (control.Effect, error) {
	return l.changed(ctx, func(c *control.Control) (control.Effect, error) { return c.RemoveMember(ctx, login) })
}

// SetMemberRole is Control.SetMemberRole.
func (l *Local) SetMemberRole(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	return l.changed(ctx, func(c *control.Control) (control.Effect, error) { return c.SetMemberRole(ctx, m) })
}

// SetMemberPassword is Control.SetMemberPassword.
func (l *Local) SetMemberPassword(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	return l.changed(ctx, func(c *control.Control) (control.Effect, error) { return c.SetMemberPassword(ctx, m) })
}

// Init makes the ledger of c, so that there is one to add users to before the
// first start.
func Init(ctx context.Context, c *config.Config, log *slog.Logger) error {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	db, err := openStore(ctx, store.Options{Dir: c.Data, DSN: c.Store.DSN.Reveal(), Log: log})
	if err != nil {
		return err
	}
	return db.Close()
}

// changed opens the ledger for changes and does one.
func (l *Local) changed(ctx context.Context, f func(*control.Control) (control.Effect, error)) (control.Effect, error) {
	c, err := l.write(ctx)
	if err != nil {
		return control.Effect{}, err
	}
	return f(c)
}

// setup shows, while there is no administrator, how to become the first: a
// command with a token that works once.
func (d *Daemon) setup(ctx context.Context, addr string) error {
	if addr == "" {
		return nil // nobody could register
	}
	token, err := d.control.Setup(ctx)
	if err != nil || token == "" {
		return err
	}
	command := fmt.Sprintf(`curl -X POST http://%s/api/user/register -H 'Content-Type: application/json' -d '{"userName":"admin","fullName":"Administrator","email":"admin@example.org","password":"CHOOSE ONE","setupToken":"%s"}'`,
		reachable(addr), token)
	if d.o.Setup != nil {
		d.o.Setup(command)
		return nil
	}
	d.log.Info("there is no administrator yet: within 24 h, with a password of your own, run", "command", command)
	return nil
}

// reachable is how a listener's address is reached from its own machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
