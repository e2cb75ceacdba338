package control

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A UserChange is what a user should be from now on; nil leaves it.
type UserChange struct {
	ID      *ledger.ID // nil = the caller
	Login   *string
	Name    *string
	Email   *string
	Role    *account.Role
	Current string // password, needed for a new one
	New     string // password; "" leaves it
	Unlock  bool   // forgets the failed logins
}

var (
	errOthers   = errors.New("only the user sets a password: they can have it reset")
	errCurrent  = errors.New("the current password is wrong")
	errNoSecret = errors.New("this user logs in at a provider and has no password here")
)

// SetUser changes the caller, or, for administrators, somebody whom they see.
// Another password or role ends the user's sessions.
func (c *Control) SetUser(ctx context.Context, ch UserChange) (account.User, error) {
	target := "own"
	if ch.ID != nil {
		target = ch.ID.String()
	}
	return get(ctx, c, act{action: "user.set", target: target, detail: ch.words()}, func(ctx context.Context, who account.Caller) (account.User, error) {
		id := who.ID
		if ch.ID != nil {
			id = *ch.ID
		}
		own := id == who.ID
		switch {
		case !own && !who.May(account.Operate):
			return account.User{}, fault.New(fault.Denied, "control.SetUser", "", errRefused)
		case !own && ch.New != "":
			return account.User{}, fault.New(fault.Denied, "control.SetUser", "", errOthers)
		}
		u, err := c.member(ctx, who, id)
		if err != nil {
			return u, err
		}
		proven, hash := u.Password, ""
		if ch.New != "" {
			if hash, err = c.renew(ctx, u, ch); err != nil {
				return u, err
			}
		}
		return c.Store.ChangeUser(ctx, id, func(u *account.User) error {
			if hash != "" {
				if u.Password != proven {
					return fault.New(fault.Changed, "control.SetUser", u.Login, nil)
				}
				u.Password = hash
			}
			return ch.apply(who, u)
		})
	})
}

// words name what is changed.
func (ch UserChange) words() string {
	var list []string
	for word, is := range map[string]bool{"login": ch.Login != nil, "name": ch.Name != nil, "email": ch.Email != nil, "role": ch.Role != nil, "password": ch.New != "", "failed logins": ch.Unlock} {
		if is {
			list = append(list, word)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// renew hashes a new password for who knows the current one.
func (c *Control) renew(ctx context.Context, u account.User, ch UserChange) (string, error) {
	if u.Password == "" {
		return "", fault.New(fault.Invalid, "control.SetUser", "", errNoSecret)
	}
	if err := account.CheckPassword(ch.New, u.Login); err != nil {
		return "", err
	}
	if _, err := c.prove(ctx, u.ID, ch.Current); fault.Is(err, fault.Denied) {
		return "", fault.New(fault.Denied, "control.SetUser", "", errCurrent)
	} else if err != nil {
		return "", err
	}
	return account.HashPassword(ctx, ch.New)
}

// apply changes all but the password.
func (ch UserChange) apply(who account.Caller, u *account.User) (err error) {
	if who.ID != u.ID && !u.Role.Within(who.Role) {
		return fault.New(fault.Denied, "control.SetUser", "", errAbove)
	}
	if ch.Login != nil {
		if u.Login, err = loginOf(*ch.Login); err != nil {
			return err
		}
	}
	if ch.Name != nil {
		if u.Name, err = named("control.SetUser", *ch.Name, maxName); err != nil {
			return err
		}
	}
	if ch.Email != nil {
		if u.Email, err = emailOf(*ch.Email); err != nil {
			return err
		}
	}
	if ch.Unlock && u.Failures > 0 {
		if !who.May(account.Operate) {
			return fault.New(fault.Denied, "control.SetUser", "", errRefused)
		}
		u.Failures = 0
	}
	if ch.Role == nil || *ch.Role == u.Role {
		return nil
	}
	if !who.May(account.Operate) {
		return fault.New(fault.Denied, "control.SetUser", "", errRefused)
	}
	return giveRole(who, u, *ch.Role)
}

// KeyPrefix begins every API key, so that one is known for what it is where it
// should not be.
const KeyPrefix = "lw_"

// MakeKey gives the caller an API key in place of the one they had. It is not
// shown again.
func (c *Control) MakeKey(ctx context.Context) (string, error) {
	return get(ctx, c, act{action: "key.make"}, func(ctx context.Context, who account.Caller) (string, error) {
		key, sum := account.NewSecret(KeyPrefix)
		_, err := c.Store.ChangeUser(ctx, who.ID, func(u *account.User) error { u.APIKey = sum; return nil })
		return key, err
	})
}

// RevokeKey takes the caller's API key away, if they have one.
func (c *Control) RevokeKey(ctx context.Context) error {
	return c.do(ctx, act{action: "key.revoke"}, func(ctx context.Context, who account.Caller) error {
		_, err := c.Store.ChangeUser(ctx, who.ID, func(u *account.User) error { u.APIKey = nil; return nil })
		return err
	})
}
