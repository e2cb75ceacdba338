package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/output"
)

type userCmd struct {
	List     userList     `cmd:"" help:"List users."`
	Add      userAdd      `cmd:"" help:"Add a user."`
	Remove   userRemove   `cmd:"" help:"Remove users and end their sessions."`
	Role     userRole     `cmd:"" help:"Give a user another role and end their sessions."`
	Password userPassword `cmd:"" help:"Give a user another password and end their sessions."`
}

type userList struct{}

type userAdd struct {
	Name          string `arg:"" help:"The name to log in with."`
	Role          string `required:"" placeholder:"ROLE" help:"Administrator, ReadOnlyAdministrator, TenantAdministrator, SsoAdministrator, SsoReadOnlyAdministrator or None."`
	FullName      string `placeholder:"NAME" help:"As it is shown; the login by default."`
	Email         string `placeholder:"ADDRESS" help:"Where a new password can be asked for."`
	PasswordStdin bool   `required:"" help:"Read the password from standard input, one line."`
}

type userRemove struct {
	Names []string `arg:"" name:"name" help:"As user list shows them."`
}

type userRole struct {
	Name string `arg:"" help:"As user list shows it."`
	Role string `arg:"" help:"As user add takes it."`
}

type userPassword struct {
	Name          string `arg:"" help:"As user list shows it."`
	PasswordStdin bool   `required:"" help:"Read the password from standard input, one line."`
}

// A memberKeeper keeps users. Its methods return fault.NotFound for a login that
// is nobody's, and fault.Exists where the last administrator would go.
type memberKeeper interface {
	Members(ctx context.Context) ([]control.Member, error)
	AddMember(ctx context.Context, m control.MemberChange) (control.Effect, error)
	RemoveMember(ctx context.Context, login string) (control.Effect, error)
	SetMemberRole(ctx context.Context, m control.MemberChange) (control.Effect, error)
	SetMemberPassword(ctx context.Context, m control.MemberChange) (control.Effect, error)
}

var memberColumns = []output.Column[control.Member]{
	{Name: "LOGIN", Value: func(m control.Member) string { return m.Login }},
	{Name: "ROLE", Value: func(m control.Member) string { return m.Role }},
	{Name: "NAME", Value: func(m control.Member) string { return m.Name }},
	{Name: "EMAIL", Value: func(m control.Member) string { return m.Email }},
	{Name: "CREATED", Value: func(m control.Member) string { return stamp(m.Created) }},
	{Name: "ID", Value: func(m control.Member) string { return m.ID }},
}

// Run lists users.
func (c *userList) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		all, err := b.Members(ctx)
		if err != nil {
			return err
		}
		return output.List(a.printer(), memberColumns, output.Of(all))
	})
}

// Run adds a user.
func (c *userAdd) Run(ctx context.Context, a *App) error {
	if err := knownRole(c.Role); err != nil {
		return err
	}
	password, err := firstLine(a.Stdin)
	if err != nil {
		return err
	}
	add := func(b backend) error {
		return forEach(a, []string{c.Name}, func(string) (control.Effect, error) {
			return b.AddMember(ctx, control.MemberChange{Login: c.Name, Name: c.FullName, Email: c.Email, Role: c.Role, Password: password})
		})
	}
	b, err := a.Program.Dial(ctx, a.options())
	if fault.Is(err, fault.NotFound) { // before the first start
		if err = a.Program.Init(ctx, a.options()); err == nil {
			b, err = a.Program.Dial(ctx, a.options())
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(add(b), b.Close())
}

// Run removes users.
func (c *userRemove) Run(ctx context.Context, a *App) error {
	return a.ask(ctx, func(b backend) error {
		return forEach(a, c.Names, func(name string) (control.Effect, error) { return b.RemoveMember(ctx, name) })
	})
}

// Run gives a user another role.
func (c *userRole) Run(ctx context.Context, a *App) error {
	if err := knownRole(c.Role); err != nil {
		return err
	}
	return a.ask(ctx, func(b backend) error {
		return forEach(a, []string{c.Name}, func(name string) (control.Effect, error) {
			return b.SetMemberRole(ctx, control.MemberChange{Login: name, Role: c.Role})
		})
	})
}

// Run gives a user another password.
func (c *userPassword) Run(ctx context.Context, a *App) error {
	password, err := firstLine(a.Stdin)
	if err != nil {
		return err
	}
	return a.ask(ctx, func(b backend) error {
		return forEach(a, []string{c.Name}, func(name string) (control.Effect, error) {
			return b.SetMemberPassword(ctx, control.MemberChange{Login: name, Password: password})
		})
	})
}

func knownRole(name string) error {
	if _, ok := account.ParseRole(name); !ok {
		return usage(errors.New("there is no role " + name))
	}
	return nil
}

// firstLine reads a password: never from the arguments, which others can see.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 2*account.MaxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usage(errors.New("standard input holds no password"))
	}
	return line, nil
}
