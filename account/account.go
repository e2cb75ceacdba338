// Package account says who somebody is and what they may do: users and their
// roles, sessions and tokens, API keys and passwords. It keeps nothing itself.
package account

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// A Role is what a user may do, with MetaDefender Storage Security's numbers.
type Role int

// The roles. A user without one has registered and waits to be let in.
const (
	None                     Role = 0
	ReadOnlyAdministrator    Role = 1
	Administrator            Role = 2
	SSOAdministrator         Role = 4
	SSOReadOnlyAdministrator Role = 5
	TenantAdministrator      Role = 6
	Invalid                  Role = 999
)

var roleNames = map[Role]string{None: "None", ReadOnlyAdministrator: "ReadOnlyAdministrator", Administrator: "Administrator",
	SSOAdministrator: "SsoAdministrator", SSOReadOnlyAdministrator: "SsoReadOnlyAdministrator", TenantAdministrator: "TenantAdministrator"}

// String returns the product's name of the role.
func (r Role) String() string {
	if s, ok := roleNames[r]; ok {
		return s
	}
	return "Invalid"
}

// ParseRole reads what String writes.
func ParseRole(s string) (Role, bool) {
	for r, name := range roleNames {
		if name == s {
			return r, true
		}
	}
	return Invalid, false
}

// A Permission is what an operation needs.
type Permission int

// The permissions, from least to most. Own is for what concerns the caller
// alone; System for what concerns all tenants or the machine.
const (
	Public  Permission = iota // anybody, without a name
	Own                       // any user with a role
	Read                      // look at everything in the tenant
	Operate                   // change what is in the tenant
	System                    // change what all tenants share
)

// String returns the permission's name.
func (p Permission) String() string {
	return [...]string{"public", "own", "read", "operate", "system"}[p]
}

// May reports whether a role suffices.
func (r Role) May(p Permission) bool {
	switch r {
	case Administrator, SSOAdministrator:
		return true
	case TenantAdministrator:
		return p <= Operate
	case ReadOnlyAdministrator, SSOReadOnlyAdministrator:
		return p <= Read
	}
	return p == Public
}

// rank orders roles by what they may do.
func (r Role) rank() int {
	switch r {
	case Administrator, SSOAdministrator:
		return 3
	case TenantAdministrator:
		return 2
	case ReadOnlyAdministrator, SSOReadOnlyAdministrator:
		return 1
	}
	return 0
}

// Known reports whether there is such a role to give.
func (r Role) Known() bool { _, ok := roleNames[r]; return ok }

// Within reports whether a role allows no more than another.
func (r Role) Within(other Role) bool { return r.rank() <= other.rank() }

// DefaultTenant is the number of the tenant that there is from the start, and
// the one whose administrators may do what is System.
const DefaultTenant = 1

// A Caller is who asks for something.
type Caller struct {
	ID      uuid.UUID // zero for the operator of the machine
	Name    string    // login
	Role    Role
	Tenant  int64
	Session uuid.UUID // zero with an API key, or on the machine itself
	Until   time.Time // when the session ends
}

// May reports whether the caller may do what needs p.
func (c Caller) May(p Permission) bool {
	return c.Role.May(p) && (p < System || c.Tenant == DefaultTenant)
}

// Machine is the operator at the machine itself, who reaches the control socket
// or the data folder: by that they may everything.
func Machine(name string) Caller {
	return Caller{Name: name, Role: Administrator, Tenant: DefaultTenant}
}

// IsMachine reports whether it is the operator of the machine, who sees all tenants.
func (c Caller) IsMachine() bool { return c.ID == uuid.Nil && c.Role == Administrator }

type callerKey struct{}

// With says in a context who asks.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// Nobody is ctx where nobody is named, whoever was before.
func Nobody(ctx context.Context) context.Context { return context.WithValue(ctx, callerKey{}, nil) }

// From tells who asks; ok is false where nobody was named, who may what is Public.
func From(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// A User is somebody with a login.
type User struct {
	ID       uuid.UUID
	Tenant   int64
	Login    string // lower case, unique in all tenants
	Name     string
	Email    string
	Role     Role
	Password string // argon2id in PHC form; "" = none: SSO alone
	SSO      string // the provider's name of the user; "" = none
	APIKey   []byte // SHA-256; nil = none
	Failures int    // failed logins in a row
	Failed   time.Time
	Tours    map[int]time.Time // finished tours by their number
	Created  time.Time
	Changed  time.Time
}

// A Session is what a login made: it ends with its refresh token.
type Session struct {
	ID      uuid.UUID
	User    uuid.UUID
	Refresh []byte // SHA-256 of the refresh token
	Before  []byte // of the one before, which must not come again
	Created time.Time
	Expires time.Time
}

// IsRoot reports whether a user can let others in again when nobody else can: an
// administrator of all tenants who needs no provider to log in. One must remain.
func (u User) IsRoot() bool { return u.Role == Administrator && u.Tenant == DefaultTenant }

// An Admission says on what terms a user is added.
type Admission struct {
	Waiting int    // at most so many users without a role wait; 0 = any number
	Setup   []byte // hash of the token of the first administrator, which is used up; nil = none
}

// A Token works once. We keep its hash.
type Token struct {
	Hash    []byte
	Kind    string
	Owner   uuid.UUID // zero = nobody's
	Body    []byte    // what it stands for
	Expires time.Time
}

// The kinds of tokens.
const (
	TokenSetup  = "setup"  // makes the first administrator
	TokenReset  = "reset"  // sets a password
	TokenSSO    = "sso"    // a login at a provider under way, by its state
	TokenReplay = "replay" // a provider's assertion that was taken
	TokenGrant  = "grant"  // a login at a provider that is done
)

// A TokenLimit bounds tokens of a kind.
type TokenLimit struct {
	Most int           // that are there at once
	Gap  time.Duration // between two of one owner, the later of which replaces the earlier
}
