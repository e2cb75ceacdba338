package control

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
)

// setupLife is how long the token of the first administrator is good for.
const setupLife = 24 * time.Hour

// maxSetups bounds the tokens of as many starts.
const maxSetups = 1000

// Setup makes a token with which one may register as the first administrator;
// "" if there is an administrator.
func (c *Control) Setup(ctx context.Context) (string, error) {
	has, err := c.Store.HasAdministrator(ctx)
	if err != nil || has {
		return "", err
	}
	token, sum := account.NewSecret("")
	return token, c.Store.AddToken(ctx, account.Token{Hash: sum, Kind: account.TokenSetup, Expires: time.Now().Add(setupLife)}, account.TokenLimit{Most: maxSetups})
}

// A Member is a user as the command line shows them.
type Member struct {
	ID      string    `json:"id"`
	Login   string    `json:"login"`
	Name    string    `json:"name"`
	Email   string    `json:"email"`
	Role    string    `json:"role"`
	Tenant  int64     `json:"tenant"`
	Created time.Time `json:"created"`
}

// A MemberChange is what the operator of the machine asks for a user, by login.
type MemberChange struct {
	Login    string `json:"login"`
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
	Role     string `json:"role,omitempty"`
	Password string `json:"password,omitempty"`
}

// machine is ctx where the operator of the machine asks, and for anybody else one
// of somebody who may nothing.
func machine(ctx context.Context) context.Context {
	if who, _ := account.From(ctx); !who.IsMachine() {
		return account.With(ctx, account.Caller{})
	}
	return ctx
}

// Members lists all users by login.
func (c *Control) Members(ctx context.Context) ([]Member, error) {
	return get(machine(ctx), c, act{action: "user.list"}, func(ctx context.Context, _ account.Caller) ([]Member, error) {
		users, err := c.Store.Users(ctx, 0)
		list := make([]Member, 0, len(users))
		for _, u := range users {
			list = append(list, Member{ID: u.ID.String(), Login: u.Login, Name: u.Name, Email: u.Email, Role: u.Role.String(), Tenant: u.Tenant, Created: u.Created.UTC()})
		}
		return list, err
	})
}

func roleOf(name string) (account.Role, error) {
	r, ok := account.ParseRole(name)
	if !ok {
		return r, fault.New(fault.Invalid, "control.User", name, errRole)
	}
	return r, nil
}

// AddMember makes a user.
func (c *Control) AddMember(ctx context.Context, m MemberChange) (Effect, error) {
	r, err := roleOf(m.Role)
	if err != nil {
		return Effect{}, err
	}
	if m.Name == "" {
		m.Name = m.Login
	}
	if m.Email == "" {
		m.Email = m.Login + "@localhost"
	}
	u, err := c.CreateUser(machine(ctx), NewUser{Login: m.Login, Name: m.Name, Email: m.Email, Password: m.Password, Role: r})
	return Effect{ID: u.ID.String(), State: "done", Key: u.Login, Detail: "added as " + u.Role.String()}, err
}

// found does something with the user of a login.
func (c *Control) found(ctx context.Context, login, detail string, do func(ctx context.Context, u account.User) error) (Effect, error) {
	login, err := loginOf(login)
	if err != nil {
		return Effect{}, err
	}
	u, err := c.Store.UserOf(ctx, login)
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "control.User", login, errors.New("there is no user of this name"))
	}
	if err == nil {
		err = do(machine(ctx), u)
	}
	return Effect{ID: u.ID.String(), State: "done", Key: login, Detail: detail}, err
}

// RemoveMember removes a user.
func (c *Control) RemoveMember(ctx context.Context, login string) (Effect, error) {
	return c.found(ctx, login, "removed", func(ctx context.Context, u account.User) error {
		_, err := c.RemoveUser(ctx, u.ID)
		return err
	})
}

// SetMemberRole gives a user another role.
func (c *Control) SetMemberRole(ctx context.Context, m MemberChange) (Effect, error) {
	r, err := roleOf(m.Role)
	if err != nil {
		return Effect{}, err
	}
	return c.found(ctx, m.Login, "is "+r.String(), func(ctx context.Context, u account.User) error {
		_, err := c.SetRole(ctx, u.ID, r)
		return err
	})
}

// SetMemberPassword gives a user another password and forgets their failed
// logins. Their sessions end.
func (c *Control) SetMemberPassword(ctx context.Context, m MemberChange) (Effect, error) {
	return c.found(ctx, m.Login, "has a new password", func(ctx context.Context, u account.User) error {
		return c.do(ctx, act{action: "user.set", target: u.ID.String(), detail: "password"}, func(ctx context.Context, _ account.Caller) error {
			hash, err := hashed(ctx, m.Password, u.Login)
			if err != nil {
				return err
			}
			_, err = c.Store.ChangeUser(ctx, u.ID, func(u *account.User) error { u.Password, u.Failures = hash, 0; return nil })
			return err
		})
	})
}
