package control

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/account/sso"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// How long a login at a provider may take, and how many may be under way.
const (
	loginLife = 10 * time.Minute
	maxLogins = 10_000
)

var (
	errNoSSO    = errors.New("single sign-on is not set up")
	errState    = errors.New("this login was not begun in this browser, has ended, or took too long")
	errNoRole   = errors.New("the provider gives this user no role here")
	errUnlinked = errors.New("there is a user of this name who is not linked to the provider")
	errSubject  = errors.New("the provider does not say who it is")
	errNoCode   = errors.New("the provider did not let this user in")
	errReplayed = errors.New("the provider's statement was used before")
)

// An underway is a login between its beginning and its end.
type underway struct {
	Tenant   int64  `json:"tenant"`
	Type     int    `json:"type"`
	Nonce    string `json:"nonce,omitempty"`
	Verifier string `json:"verifier,omitempty"`
	Request  string `json:"request,omitempty"`
	Browser  []byte `json:"browser"` // hash of its cookie
}

// A Departure is where a browser goes to log in, and the cookie that it comes
// back with.
type Departure struct {
	URL    string
	Cookie string
	Secure bool // the cookie is for https alone
}

// BeginSSO begins a login at the provider of a tenant; nil = the one that there
// is from the start. cookie is that of an earlier one, "" if there is none.
func (c *Control) BeginSSO(ctx context.Context, tenant *ledger.ID, cookie string) (Departure, error) {
	return get(ctx, c, act{action: "sso.begin"}, func(ctx context.Context, _ account.Caller) (d Departure, err error) {
		u := underway{}
		if u.Tenant, err = c.tenantOf(ctx, tenant, account.DefaultTenant); err != nil {
			return d, err
		}
		n, s, err := c.enabledSSO(ctx, u.Tenant)
		if err != nil {
			return d, err
		}
		state, sum := account.NewSecret("")
		if len(cookie) != len(state) {
			cookie, _ = account.NewSecret("")
		}
		u.Type, u.Browser = s.Type, account.SumOf(cookie)
		d = Departure{Cookie: cookie, Secure: strings.HasPrefix(s.BaseURL, "https:")}
		if s.Type == SAML2 {
			p, err := c.samlOf(ctx, u.Tenant, s)
			if err != nil {
				return d, err
			}
			if d.URL, u.Request, err = p.Begin(state); err != nil {
				return d, err
			}
		} else {
			p, err := c.oidcOf(ctx, n, s)
			if err != nil {
				return d, err
			}
			u.Nonce, _ = account.NewSecret("")
			u.Verifier = oauth2.GenerateVerifier()
			d.URL = p.Begin(state, u.Nonce, u.Verifier)
		}
		body, err := json.Marshal(u)
		if err != nil {
			return d, fault.New(fault.Internal, "control.BeginSSO", "", err)
		}
		return d, c.Store.AddToken(ctx, account.Token{Hash: sum, Kind: account.TokenSSO, Body: body, Expires: time.Now().Add(loginLife)}, account.TokenLimit{Most: maxLogins})
	})
}

func (c *Control) enabledSSO(ctx context.Context, tenant int64) (ledger.Noun, SSO, error) {
	n, s, err := c.ssoOf(ctx, tenant)
	if err == nil && !s.Enabled {
		err = fault.New(fault.NotFound, "control.SSO", "", errNoSSO)
	}
	return n, s, err
}

// An Arrival is a login that a provider made possible.
type Arrival struct {
	Grant

	home string // where our pages are
}

// A Return is what a browser brings back from a provider.
type Return struct {
	State  string
	Cookie string
	Code   string // of OpenID Connect, with the issuer if that came too
	Issuer string
	Answer string // of SAML
}

// handLife is how long a browser may take from the end of a login to our pages.
const handLife = time.Minute

// HandOver is where a browser goes on after a login: to our pages, with a code in
// the part of the address that is sent nowhere.
func (c *Control) HandOver(ctx context.Context, a Arrival) (string, error) {
	code, sum := account.NewSecret("")
	body, err := json.Marshal(a.Grant)
	if err != nil {
		return "", fault.New(fault.Internal, "control.HandOver", "", err)
	}
	err = c.Store.AddToken(ctx, account.Token{Hash: sum, Kind: account.TokenGrant, Body: []byte(c.Seal.Seal(SealGrant, string(body))), Expires: time.Now().Add(handLife)}, account.TokenLimit{Most: maxLogins})
	return strings.TrimSuffix(a.home, "/") + "/#sso=" + code, err
}

// TakeOver gives the grant that a code of HandOver stands for, once.
func (c *Control) TakeOver(ctx context.Context, code string) (Grant, error) {
	return get(ctx, c, act{action: "sso.take"}, func(ctx context.Context, _ account.Caller) (g Grant, err error) {
		t, err := c.Store.TakeToken(ctx, account.TokenGrant, account.SumOf(code))
		if fault.Is(err, fault.NotFound) {
			return g, Unknown("control.TakeOver", errToken)
		}
		if err != nil {
			return g, err
		}
		text, err := c.Seal.Open(SealGrant, string(t.Body))
		if err == nil {
			err = json.Unmarshal([]byte(text), &g)
		}
		if err != nil {
			return g, fault.New(fault.Corrupt, "control.TakeOver", "", err)
		}
		return g, nil
	})
}

// FinishSSO ends a login: fault.Denied if the provider's word is not good, or
// gives the person no role.
func (c *Control) FinishSSO(ctx context.Context, r Return) (Arrival, error) {
	var proven account.Caller
	return get(ctx, c, act{action: "sso.finish", proven: &proven}, func(ctx context.Context, _ account.Caller) (Arrival, error) {
		u, err := c.back(ctx, r)
		if err != nil {
			return Arrival{}, err
		}
		n, s, err := c.enabledSSO(ctx, u.Tenant)
		if err != nil {
			return Arrival{}, err
		}
		var p sso.Person
		switch {
		case s.Type != u.Type:
			return Arrival{}, Unknown("control.FinishSSO", errState)
		case u.Type == SAML2:
			p, err = c.finishSAML(ctx, u, s, r.Answer)
		default:
			p, err = c.finishOIDC(ctx, u, n, s, r)
		}
		if err != nil {
			return Arrival{}, err
		}
		who, err := c.personOf(ctx, u.Tenant, s, p)
		if err != nil {
			return Arrival{}, err
		}
		proven = account.Caller{ID: who.ID, Name: who.Login, Role: who.Role, Tenant: who.Tenant}
		g, err := c.open(ctx, who)
		return Arrival{g, s.BaseURL}, err
	})
}

// back finds the login that a browser began: it ends now, whatever comes of it.
func (c *Control) back(ctx context.Context, r Return) (u underway, err error) {
	t, err := c.Store.TakeToken(ctx, account.TokenSSO, account.SumOf(r.State))
	if fault.Is(err, fault.NotFound) {
		return u, Unknown("control.FinishSSO", errState)
	}
	if err != nil {
		return u, err
	}
	if err := json.Unmarshal(t.Body, &u); err != nil {
		return u, fault.New(fault.Corrupt, "control.FinishSSO", "", err)
	}
	if subtle.ConstantTimeCompare(u.Browser, account.SumOf(r.Cookie)) != 1 {
		return u, Unknown("control.FinishSSO", errState)
	}
	return u, nil
}

func (c *Control) finishOIDC(ctx context.Context, u underway, n ledger.Noun, s SSO, r Return) (sso.Person, error) {
	if r.Code == "" {
		return sso.Person{}, fault.New(fault.Denied, "control.FinishSSO", "", errNoCode)
	}
	p, err := c.oidcOf(ctx, n, s)
	if err != nil {
		return sso.Person{}, err
	}
	return p.Finish(ctx, r.Code, r.Issuer, u.Nonce, u.Verifier)
}

func (c *Control) finishSAML(ctx context.Context, u underway, s SSO, answer string) (sso.Person, error) {
	p, err := c.samlOf(ctx, u.Tenant, s)
	if err != nil {
		return sso.Person{}, err
	}
	who, err := p.Finish(answer, u.Request)
	if err != nil {
		return who, err
	}
	err = c.Store.AddToken(ctx, account.Token{Hash: account.SumOf(ssoName(u.Tenant, who.Assertion)), Kind: account.TokenReplay, Expires: who.Until}, account.TokenLimit{Most: maxLogins})
	if fault.Is(err, fault.Exists) {
		err = Unknown("control.FinishSSO", errReplayed)
	}
	return who, err
}

// personOf is the user whom a provider speaks of: a new one, or the one that they
// were. What the provider gives decides over a role that it gave before; a role
// that an administrator gave stays.
func (c *Control) personOf(ctx context.Context, tenant int64, s SSO, p sso.Person) (account.User, error) {
	const op = "control.FinishSSO"
	if p.Subject == "" || len(p.Subject) > maxName {
		return account.User{}, fault.New(fault.Denied, op, "", errSubject)
	}
	given := s.role(p.Roles)
	u, err := c.Store.UserBySSO(ctx, ssoName(tenant, p.Subject))
	switch {
	case fault.Is(err, fault.NotFound) && given == account.None:
		return u, fault.New(fault.Denied, op, "", errNoRole)
	case fault.Is(err, fault.NotFound):
		u, err = c.Store.AddUser(ctx, newcomer(tenant, given, p), account.Admission{})
		if fault.Is(err, fault.Exists) {
			err = fault.New(fault.Exists, op, "", errUnlinked)
		}
		return u, err
	case err != nil:
		return u, err
	case u.Role != account.SSOAdministrator && u.Role != account.SSOReadOnlyAdministrator:
		return u, nil
	case given == account.None: // it is taken back: so is all that it opened
		if _, err := c.Store.ChangeUser(ctx, u.ID, func(u *account.User) error { u.APIKey = nil; return nil }); err != nil {
			return u, err
		}
		return u, errors.Join(fault.New(fault.Denied, op, "", errNoRole), c.Store.EndSessions(ctx, u.ID, ledger.ID{}))
	case given != u.Role:
		return c.Store.ChangeUser(ctx, u.ID, func(u *account.User) error { u.Role = given; return nil })
	}
	return u, nil
}

// newcomer is a person as a user, with what of their words can be used.
func newcomer(tenant int64, r account.Role, p sso.Person) account.User {
	u := account.User{Tenant: tenant, Role: r, SSO: ssoName(tenant, p.Subject)}
	var err error
	for _, login := range []string{p.Login, p.Email, p.Subject} {
		if u.Login, err = loginOf(login); err == nil {
			break
		}
	}
	if u.Name, err = named("", p.Name, maxName); err != nil {
		u.Name = u.Login
	}
	u.Email, _ = emailOf(p.Email) // without one, none
	return u
}

// SSOMetadata describes us to the provider of a tenant.
func (c *Control) SSOMetadata(ctx context.Context, tenant *ledger.ID) ([]byte, error) {
	return get(ctx, c, act{action: "sso.metadata"}, func(ctx context.Context, _ account.Caller) ([]byte, error) {
		n, err := c.tenantOf(ctx, tenant, account.DefaultTenant)
		if err != nil {
			return nil, err
		}
		_, s, err := c.enabledSSO(ctx, n)
		if err == nil && s.Type != SAML2 {
			err = fault.New(fault.NotFound, "control.SSO", "", errNoSSO)
		}
		if err != nil {
			return nil, err
		}
		p, err := c.samlOf(ctx, n, s)
		if err != nil {
			return nil, err
		}
		return p.Metadata()
	})
}

func (c *Control) samlOf(ctx context.Context, tenant int64, s SSO) (*sso.SAML, error) {
	o := sso.SAMLOptions{Provider: s.Provider, Issuer: s.Issuer, LoginURL: s.LoginURL, Certificate: s.Certificate, BaseURL: s.BaseURL}
	if tenant != account.DefaultTenant {
		list, err := c.Store.Tenants(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			if t.N == tenant {
				o.Tenant = t.ID.String()
			}
		}
	}
	return sso.NewSAML(o)
}

// providers keeps what providers say of themselves for a while. Its zero value is
// ready.
type providers struct {
	asking turns // one at a time asks each
	mu     sync.Mutex
	opened map[ledger.ID]openedProvider
}

type openedProvider struct {
	*sso.OIDC
	rev int64
	at  time.Time
}

// providerLife is how long what a provider says of itself is believed.
const providerLife = 10 * time.Minute

// oidcOf opens the provider of a setting, or takes the open one.
func (c *Control) oidcOf(ctx context.Context, n ledger.Noun, s SSO) (*sso.OIDC, error) {
	secret, err := c.Seal.Open(SealSetting, s.ClientSecret)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "control.SSO", "", err)
	}
	ps := &c.providers
	done, err := ps.asking.take(ctx, n.ID) // strangers do not have it asked many times at once
	if err != nil {
		return nil, err
	}
	defer done()
	if p := ps.known(n); p != nil {
		return p, nil
	}
	p, err := sso.OpenOIDC(ctx, sso.OIDCOptions{Provider: s.Provider, Authority: s.Authority, ClientID: s.ClientID, ClientSecret: secret, BaseURL: s.BaseURL,
		Client: sso.NewClient(c.Through)})
	if err == nil {
		ps.keep(n, p)
	}
	return p, err
}

// known is the open provider of a setting, nil if it is not open.
func (ps *providers) known(n ledger.Noun) *sso.OIDC {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p, ok := ps.opened[n.ID]; ok && p.rev == n.Rev && time.Since(p.at) < providerLife {
		return p.OIDC
	}
	return nil
}

func (ps *providers) keep(n ledger.Noun, p *sso.OIDC) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.opened == nil {
		ps.opened = map[ledger.ID]openedProvider{}
	}
	ps.opened[n.ID] = openedProvider{p, n.Rev, time.Now()}
}
