package control

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// UserStore keeps users, their sessions and their tokens.
type UserStore interface {
	User(ctx context.Context, id ledger.ID) (account.User, error)
	UserOf(ctx context.Context, login string) (account.User, error)
	UserByKey(ctx context.Context, sum []byte) (account.User, error)
	UserBySSO(ctx context.Context, name string) (account.User, error)
	Users(ctx context.Context, tenant int64) ([]account.User, error)
	UsersByEmail(ctx context.Context, email string) ([]account.User, error)
	HasAdministrator(ctx context.Context) (bool, error)
	PutUser(ctx context.Context, u account.User) (account.User, error)
	AddUser(ctx context.Context, u account.User, adm account.Admission) (account.User, error)
	ChangeUser(ctx context.Context, id ledger.ID, change func(u *account.User) error) (account.User, error)
	NoteLogin(ctx context.Context, id ledger.ID, ok bool) error
	DeleteUser(ctx context.Context, id ledger.ID) error
	AddSession(ctx context.Context, s account.Session, u account.User) error
	Session(ctx context.Context, id ledger.ID) (account.Session, error)
	Sessions(ctx context.Context, user ledger.ID) ([]account.Session, error)
	TurnSession(ctx context.Context, id ledger.ID, old, next []byte, expires time.Time) error
	ProlongSession(ctx context.Context, id ledger.ID, expires time.Time) error
	EndSession(ctx context.Context, user, session ledger.ID) error
	EndSessions(ctx context.Context, user, but ledger.ID) error
	AddToken(ctx context.Context, t account.Token, l account.TokenLimit) error
	TakeToken(ctx context.Context, kind string, hash []byte) (account.Token, error)
}

// A NewUser is what somebody says of a user to be.
type NewUser struct {
	Login    string
	Name     string
	Email    string
	Password string
	SSO      string // the provider's name of the user; "" = none
	Role     account.Role
	Tenant   *ledger.ID // nil = the caller's
}

// Bounds of users, in characters and users.
const (
	maxLogin   = 320
	maxWaiting = 200
)

var (
	errRole    = errors.New("there is no such role")
	errExceeds = errors.New("this role allows more than your own")
	errAbove   = errors.New("this user may do more than you")
	errSetup   = errors.New("the first user needs the setup token, which the daemon shows when it starts")
	errToken   = errors.New("the token is not good, or no longer")
	errEmail   = errors.New("not an email address")
)

// check returns the user to be, without password and tenant.
func (n NewUser) check() (u account.User, err error) {
	if u.Login, err = loginOf(n.Login); err != nil {
		return u, err
	}
	if u.Name, err = named("control.User", n.Name, maxName); err != nil {
		return u, err
	}
	u.Email, err = emailOf(n.Email)
	u.Role = n.Role
	return u, err
}

func loginOf(s string) (string, error) {
	s, err := named("control.User", s, maxLogin)
	return strings.ToLower(s), err
}

// emailOf checks an address, which later stands in the head of a mail.
func emailOf(s string) (string, error) {
	s = strings.TrimSpace(s)
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || utf8.RuneCountInString(s) > maxLogin {
		return "", fault.New(fault.Invalid, "control.User", "email", errEmail)
	}
	return strings.ToLower(s), nil
}

// hashed checks and hashes a new password.
func hashed(ctx context.Context, password, login string) (string, error) {
	if err := account.CheckPassword(password, login); err != nil {
		return "", err
	}
	return account.HashPassword(ctx, password)
}

// Register makes a user without a role, who waits to be let in; with the setup
// token, the first administrator. fault.Throttled if too many wait.
func (c *Control) Register(ctx context.Context, n NewUser, setup string) (account.User, error) {
	return get(ctx, c, act{action: "user.register", target: clip(n.Login)}, func(ctx context.Context, _ account.Caller) (account.User, error) {
		n.Role = account.None
		u, err := n.check()
		if err != nil {
			return u, err
		}
		has, err := c.Store.HasAdministrator(ctx)
		switch {
		case err != nil:
			return u, err
		case !has && setup == "":
			return u, fault.New(fault.Denied, "control.Register", "", errSetup)
		}
		adm := account.Admission{Waiting: maxWaiting}
		if setup != "" {
			u.Role, adm.Setup, n.Tenant = account.Administrator, account.SumOf(setup), nil
		}
		if u.Tenant, err = c.tenantOf(ctx, n.Tenant, account.DefaultTenant); err != nil {
			return u, err
		}
		if u.Password, err = hashed(ctx, n.Password, u.Login); err != nil {
			return u, err
		}
		u, err = c.Store.AddUser(ctx, u, adm)
		if setup != "" && fault.Is(err, fault.NotFound) {
			err = fault.New(fault.Denied, "control.Register", "", errToken)
		}
		return u, err
	})
}

// CreateUser makes a user with a role that the caller may give.
func (c *Control) CreateUser(ctx context.Context, n NewUser) (account.User, error) {
	return get(ctx, c, act{action: "user.add", target: clip(n.Login), detail: "role " + n.Role.String()}, func(ctx context.Context, who account.Caller) (account.User, error) {
		u, err := n.check()
		if err != nil {
			return u, err
		}
		if err := mayGive(who, n.Role); err != nil {
			return u, err
		}
		if n.Tenant != nil && !who.May(account.System) {
			return u, fault.New(fault.Denied, "control.CreateUser", "tenantId", errRefused)
		}
		if u.Tenant, err = c.tenantOf(ctx, n.Tenant, who.Tenant); err != nil {
			return u, err
		}
		if n.SSO != "" {
			u.SSO = ssoName(u.Tenant, n.SSO)
		}
		if n.Password != "" || n.SSO == "" {
			if u.Password, err = hashed(ctx, n.Password, u.Login); err != nil {
				return u, err
			}
		}
		return c.Store.AddUser(ctx, u, account.Admission{})
	})
}

// tenantOf is the number of a tenant, or home where none is named.
func (c *Control) tenantOf(ctx context.Context, id *ledger.ID, home int64) (int64, error) {
	if id == nil {
		return home, nil
	}
	t, err := c.Store.Tenant(ctx, *id)
	return t.N, err
}

// mayGive says whether the caller may give a role.
func mayGive(who account.Caller, r account.Role) error {
	switch {
	case !r.Known():
		return fault.New(fault.Invalid, "control.User", "role", errRole)
	case !r.Within(who.Role):
		return fault.New(fault.Denied, "control.User", "", errExceeds)
	}
	return nil
}

// reach is the tenant whose users the caller sees; 0 = all.
func reach(who account.Caller) int64 {
	if who.May(account.System) {
		return 0
	}
	return who.Tenant
}

// member returns a user whom the caller sees, fault.NotFound if there is none.
func (c *Control) member(ctx context.Context, who account.Caller, id ledger.ID) (account.User, error) {
	u, err := c.Store.User(ctx, id)
	if err == nil && reach(who) != 0 && u.Tenant != who.Tenant {
		return account.User{}, fault.New(fault.NotFound, "store.User", "", nil)
	}
	return u, err
}

// SetRole gives a user another role, which lets in who waits. Their sessions end.
// fault.Exists if this is the last administrator.
func (c *Control) SetRole(ctx context.Context, id ledger.ID, r account.Role) (account.User, error) {
	return get(ctx, c, act{action: "user.role", target: id.String(), detail: "role " + r.String()}, func(ctx context.Context, who account.Caller) (account.User, error) {
		if _, err := c.member(ctx, who, id); err != nil {
			return account.User{}, err
		}
		return c.Store.ChangeUser(ctx, id, func(u *account.User) error { return giveRole(who, u, r) })
	})
}

// giveRole changes a role, if the caller may give it and may do as much as the user.
func giveRole(who account.Caller, u *account.User, r account.Role) error {
	if err := mayGive(who, r); err != nil {
		return err
	}
	if !u.Role.Within(who.Role) {
		return fault.New(fault.Denied, "control.SetRole", "", errAbove)
	}
	u.Role = r
	return nil
}

// RemoveUser removes a user, or declines one who waits. Their sessions end.
// fault.Exists if this is the last administrator.
func (c *Control) RemoveUser(ctx context.Context, id ledger.ID) (account.User, error) {
	return get(ctx, c, act{action: "user.remove", target: id.String()}, func(ctx context.Context, who account.Caller) (account.User, error) {
		u, err := c.member(ctx, who, id)
		if err != nil {
			return u, err
		}
		if !u.Role.Within(who.Role) {
			return u, fault.New(fault.Denied, "control.RemoveUser", "", errAbove)
		}
		return u, c.Store.DeleteUser(ctx, id)
	})
}
