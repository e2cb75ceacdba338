package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Grant is what a login gives: tokens, and until when they are good.
type Grant struct {
	User    account.User
	Access  string
	Expires time.Time
	Refresh string
	Until   time.Time // of the refresh token
}

// errLogin is the answer to every login that fails, whatever is wrong with it.
var errLogin = errors.New("the name or the password is wrong")

// After so many failed logins in a row the next must wait: 1 s, and twice as
// long after each further one, up to 15 min.
const (
	freeFailures = 3
	maxDelay     = 15 * time.Minute
)

// delay is how long a user must wait for the next login after so many failures.
func delay(failures int) time.Duration {
	if failures < freeFailures {
		return 0
	}
	return min(time.Second<<min(failures-freeFailures, 20), maxDelay)
}

var errSoon = errors.New("too many failed logins: wait")

// tooSoon is fault.Throttled, with the time to wait, if the next login must wait.
func tooSoon(failures int, last time.Time) error {
	if wait := time.Until(last.Add(delay(failures))); wait > 0 {
		return &fault.Error{Op: "control.Authenticate", Kind: fault.Throttled, After: wait, Err: errSoon}
	}
	return nil
}

// Authenticate logs a user in. fault.Denied if name and password are not a
// user's, or theirs has no role yet; fault.Throttled, with the time to wait,
// after failed logins.
func (c *Control) Authenticate(ctx context.Context, login, password string) (Grant, error) {
	var proven account.Caller
	return get(ctx, c, act{action: "session.open", target: clip(login), proven: &proven}, func(ctx context.Context, _ account.Caller) (Grant, error) {
		u, err := c.Store.UserOf(ctx, strings.ToLower(strings.TrimSpace(login)))
		if fault.Is(err, fault.NotFound) {
			return Grant{}, c.ghosts.prove(ctx, login, password)
		}
		if err != nil {
			return Grant{}, err
		}
		proven = account.Caller{ID: u.ID, Name: u.Login, Role: u.Role, Tenant: u.Tenant}
		if u, err = c.prove(ctx, u.ID, password); err != nil {
			return Grant{}, err
		}
		return c.open(ctx, u)
	})
}

// prove checks a user's password, one guess at a time, and counts what fails.
func (c *Control) prove(ctx context.Context, id ledger.ID, password string) (u account.User, err error) {
	done, err := c.logins.take(ctx, id)
	if err != nil {
		return u, err
	}
	defer done()
	if u, err = c.Store.User(ctx, id); err != nil {
		return u, unknownIf("control.Authenticate", err)
	}
	if err := tooSoon(u.Failures, u.Failed); err != nil {
		return u, err
	}
	same, err := account.SamePassword(ctx, u.Password, password)
	if err != nil {
		return u, err
	}
	if err := c.Store.NoteLogin(context.WithoutCancel(ctx), u.ID, same); err != nil { // whoever hangs up has guessed all the same
		return u, err
	}
	if !same {
		return u, Unknown("control.Authenticate", errLogin)
	}
	return u, nil
}

// clip bounds a word that a stranger sent.
func clip(s string) string {
	const most = 100
	r := []rune(strings.ToValidUTF8(s, "?"))
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}

// open begins a session of a user, who must have a role.
func (c *Control) open(ctx context.Context, u account.User) (Grant, error) {
	if !u.Role.May(account.Own) {
		return Grant{}, fault.New(fault.Denied, "control.Authenticate", "", errors.New("an administrator has not let you in yet"))
	}
	now := time.Now()
	refresh, sum := account.NewSecret("")
	s := account.Session{ID: ledger.NewID(), User: u.ID, Refresh: sum, Created: now, Expires: now.Add(account.TokenLife)}
	access, expires, err := c.Tokens.Issue(u.ID, s.ID)
	if err != nil {
		return Grant{}, err
	}
	if err := c.Store.AddSession(ctx, s, u); err != nil {
		return Grant{}, unknownIf("control.Authenticate", err)
	}
	return Grant{User: u, Access: access, Expires: expires, Refresh: refresh, Until: s.Expires}, nil
}

// Refresh gives new tokens for an access token, which may have expired, and the
// refresh token that came with it. An older refresh token ends the session.
func (c *Control) Refresh(ctx context.Context, access, refresh string) (Grant, error) {
	return get(ctx, c, act{action: "session.refresh"}, func(ctx context.Context, _ account.Caller) (Grant, error) {
		const op = "control.Refresh"
		user, session, err := c.Tokens.Read(access, true)
		if err != nil {
			return Grant{}, Unknown(op, err)
		}
		u, err := c.Store.User(ctx, user)
		if err != nil {
			return Grant{}, unknownIf(op, err)
		}
		next, sum := account.NewSecret("")
		until := time.Now().Add(account.TokenLife)
		if err := c.Store.TurnSession(ctx, session, account.SumOf(refresh), sum, until); err != nil {
			return Grant{}, unknownIf(op, err)
		}
		token, expires, err := c.Tokens.Issue(user, session)
		return Grant{User: u, Access: token, Expires: expires, Refresh: next, Until: until}, err
	})
}

// unknownIf makes what is not there an unknown caller; other errors stay.
func unknownIf(op string, err error) error {
	if fault.Is(err, fault.NotFound, fault.Changed) {
		return Unknown(op, fmt.Errorf("the session has ended: %w", errUnnamed))
	}
	return err
}

// Logout ends the caller's session, and with it every token that it gave.
func (c *Control) Logout(ctx context.Context) error {
	return c.do(ctx, act{action: "session.close"}, func(ctx context.Context, who account.Caller) error {
		if who.Session == uuid.Nil {
			return nil // an API key has no session
		}
		return endedIs(c.Store.EndSession(ctx, who.ID, who.Session))
	})
}

// endedIs takes a session that is not there for one that has ended.
func endedIs(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Sessions lists the caller's sessions, the newest first.
func (c *Control) Sessions(ctx context.Context) ([]account.Session, error) {
	return get(ctx, c, act{action: "session.list"}, func(ctx context.Context, who account.Caller) ([]account.Session, error) {
		return c.Store.Sessions(ctx, who.ID)
	})
}

// EndSession ends a session of the caller's, fault.NotFound if they have none of
// the ID.
func (c *Control) EndSession(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "session.end", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		return c.Store.EndSession(ctx, who.ID, id)
	})
}

// EndOthers ends all sessions of the caller's but the one they ask with.
func (c *Control) EndOthers(ctx context.Context) error {
	return c.do(ctx, act{action: "session.end", target: "all others"}, func(ctx context.Context, who account.Caller) error {
		return c.Store.EndSessions(ctx, who.ID, who.Session)
	})
}

// Identify tells who a request's credentials are: an Authorization header with
// an access token, or an API key. fault.Denied with the reason Unauthenticated
// if nobody's.
func (c *Control) Identify(ctx context.Context, authorization, key string) (account.Caller, error) {
	const op = "control.Identify"
	var u account.User
	var session account.Session
	switch token := account.Bearer(authorization); {
	case authorization != "" && key != "":
		return account.Caller{}, Unknown(op, errors.New("a token and an API key: send one"))
	case token != "":
		user, sid, err := c.Tokens.Read(token, false)
		if err != nil {
			return account.Caller{}, Unknown(op, err)
		}
		s, err := c.Store.Session(ctx, sid)
		if err != nil {
			return account.Caller{}, unknownIf(op, err)
		}
		if s.User != user {
			return account.Caller{}, Unknown(op, errUnnamed)
		}
		if u, err = c.Store.User(ctx, user); err != nil {
			return account.Caller{}, unknownIf(op, err)
		}
		session = s
	case key != "":
		var err error
		if u, err = c.Store.UserByKey(ctx, account.SumOf(key)); err != nil {
			return account.Caller{}, unknownIf(op, err)
		}
	default:
		return account.Caller{}, Unknown(op, errUnnamed)
	}
	return account.Caller{ID: u.ID, Name: u.Login, Role: u.Role, Tenant: u.Tenant, Session: session.ID, Until: session.Expires}, nil
}

// prolongEvery is how exactly a session's end follows what its user does: not
// each call is worth a commit.
const prolongEvery = 30 * time.Second

// Prolong moves the end of the caller's session: whoever changes something is
// still there.
func (c *Control) Prolong(ctx context.Context) {
	if who, ok := account.From(ctx); ok && who.Session != uuid.Nil && time.Until(who.Until) < account.TokenLife-prolongEvery {
		_ = c.Store.ProlongSession(ctx, who.Session, time.Now().Add(account.TokenLife)) // it ends an hour after the last that worked
	}
}
