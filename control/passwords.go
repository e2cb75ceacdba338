package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
)

// A Mailer sends a mail for a tenant. The text may hold a secret: it is not
// logged, and is kept sealed if it is kept at all.
type Mailer interface {
	Mail(ctx context.Context, tenant int64, to, subject, text string) error
}

// How long the token of a reset is good for, and how soon a user may ask for another.
const (
	resetLife = 30 * time.Minute
	resetGap  = time.Minute
	maxResets = 1000
)

var errNoMail = errors.New("no mail can be sent: an administrator must set SMTP up, or set the password on the machine")

// RequestReset mails a token that sets a new password to the user whose login or
// email it is. What it returns is the same whether there is one or not.
func (c *Control) RequestReset(ctx context.Context, input string) error {
	return c.do(ctx, act{action: "password.reset", target: clip(input)}, func(ctx context.Context, _ account.Caller) error {
		if c.Mail == nil {
			return fault.New(fault.Unavailable, "control.RequestReset", "", errNoMail)
		}
		u, err := c.lookUp(ctx, strings.ToLower(strings.TrimSpace(input)))
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		token, sum := account.NewSecret("")
		err = c.Store.AddToken(ctx, account.Token{Hash: sum, Kind: account.TokenReset, Owner: u.ID, Expires: time.Now().Add(resetLife)},
			account.TokenLimit{Most: maxResets, Gap: resetGap})
		if fault.Is(err, fault.Throttled) {
			return nil // they have one
		}
		if err != nil {
			return err
		}
		_ = c.Mail.Mail(ctx, u.Tenant, u.Email, "Landwaiter: a new password", fmt.Sprintf(resetText, u.Name, token)) // to say that it failed is to say that there is such a user
		return nil
	})
}

const resetText = `Hello %s,

somebody, you perhaps, asked for a new password for your account. With this token you can set one within 30 minutes:

%s

It goes to POST /api/user/password as secureToken. If it was not you, there is nothing to do: your password is as it was.
`

// lookUp finds the user with a password whose login, or whose email and nobody
// else's, it is.
func (c *Control) lookUp(ctx context.Context, input string) (account.User, error) {
	none := fault.New(fault.NotFound, "control.RequestReset", "", nil)
	u, err := c.Store.UserOf(ctx, input)
	if fault.Is(err, fault.NotFound) {
		list, lerr := c.Store.UsersByEmail(ctx, input)
		if lerr != nil {
			return u, lerr
		}
		if len(list) != 1 {
			return u, none
		}
		u, err = list[0], nil
	}
	if err == nil && (u.Password == "" || u.Role == account.None) {
		return u, none
	}
	return u, err
}

var errConfirm = errors.New("the two new passwords are not the same")

// ResetPassword sets the password of the user whom a reset's token was mailed to.
// Their sessions end.
func (c *Control) ResetPassword(ctx context.Context, token, password, again string) (account.User, error) {
	var proven account.Caller
	return get(ctx, c, act{action: "password.set", proven: &proven}, func(ctx context.Context, _ account.Caller) (u account.User, err error) {
		if password != again {
			return u, fault.New(fault.Invalid, "control.ResetPassword", "", errConfirm)
		}
		if err := account.CheckPassword(password, ""); err != nil {
			return u, err
		}
		t, err := c.Store.TakeToken(ctx, account.TokenReset, account.SumOf(token))
		if err == nil {
			u, err = c.Store.User(ctx, t.Owner)
		}
		if fault.Is(err, fault.NotFound) {
			return u, fault.New(fault.Denied, "control.ResetPassword", "", errToken)
		}
		if err != nil {
			return u, err
		}
		proven = account.Caller{ID: u.ID, Name: u.Login, Role: u.Role, Tenant: u.Tenant}
		hash, err := hashed(ctx, password, u.Login)
		if err != nil {
			return u, err
		}
		return c.Store.ChangeUser(ctx, u.ID, func(u *account.User) error { u.Password, u.Failures = hash, 0; return nil })
	})
}
