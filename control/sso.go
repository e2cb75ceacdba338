package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/account/sso"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// The protocols of single sign-on, with MetaDefender's numbers.
const (
	OpenIDConnect = 0
	SAML2         = 1
)

// SSO is how a tenant's users log in at their provider.
type SSO struct {
	Enabled       bool         `json:"enabled,omitempty"`
	Provider      sso.Provider `json:"provider,omitempty"`
	Type          int          `json:"type,omitempty"`
	BaseURL       string       `json:"base_url,omitempty"` // ours, as browsers reach it
	ClientID      string       `json:"client_id,omitempty"`
	ClientSecret  string       `json:"client_secret,omitempty"` // sealed
	Authority     string       `json:"authority,omitempty"`
	Certificate   string       `json:"certificate,omitempty"`
	Issuer        string       `json:"issuer,omitempty"`
	LoginURL      string       `json:"login_url,omitempty"`
	LogoutURL     string       `json:"logout_url,omitempty"`
	Administrator string       `json:"administrator,omitempty"` // the provider's name of who becomes one
	ReadOnly      string       `json:"read_only,omitempty"`
}

// ssoSetting is the setting's name.
const ssoSetting = "sso"

// role is what a person's roles at the provider make them here.
func (s SSO) role(given []string) account.Role {
	switch {
	case s.Administrator != "" && slices.Contains(given, s.Administrator):
		return account.SSOAdministrator
	case s.ReadOnly != "" && slices.Contains(given, s.ReadOnly):
		return account.SSOReadOnlyAdministrator
	}
	return account.None
}

// check says what is missing for logins.
func (s SSO) check() error {
	bad := func(what string, err error) error { return fault.New(fault.Invalid, "", what, err) }
	needed := errors.New("is needed")
	if !s.Provider.Known() {
		return bad("ssoProvider", errors.New("there is no such provider"))
	}
	if s.Type != OpenIDConnect && s.Type != SAML2 {
		return bad("ssoType", errors.New("there is no such type"))
	}
	for what, u := range map[string]string{"baseUrl": s.BaseURL, "authority": s.Authority, "identityProviderLoginUrl": s.LoginURL, "identityProviderLogoutUrl": s.LogoutURL} {
		if u == "" {
			continue
		}
		if err := sso.CheckURL(u); err != nil {
			return bad(what, err)
		}
	}
	if s.Certificate != "" {
		if _, err := sso.Certificates(s.Certificate); err != nil {
			return bad("identityProviderCertificate", err)
		}
	}
	if !s.Enabled {
		return nil
	}
	need := map[string]string{"baseUrl": s.BaseURL, "authority": s.Authority, "clientId": s.ClientID}
	if s.Type == SAML2 {
		need = map[string]string{"baseUrl": s.BaseURL, "identityProviderIssuer": s.Issuer, "identityProviderLoginUrl": s.LoginURL, "identityProviderCertificate": s.Certificate}
	}
	for _, what := range slices.Sorted(maps.Keys(need)) {
		if need[what] == "" {
			return bad(what, needed)
		}
	}
	if s.Administrator == "" && s.ReadOnly == "" {
		return bad("administratorRoleName or readonlyRoleName", needed)
	}
	return nil
}

// ssoOf reads a tenant's setting; there may be none yet.
func (c *Control) ssoOf(ctx context.Context, tenant int64) (ledger.Noun, SSO, error) {
	n, err := c.Store.NounNamed(ctx, tenant, ledger.Setting, ssoSetting)
	if fault.Is(err, fault.NotFound) {
		return ledger.Noun{Tenant: tenant, Kind: ledger.Setting, Name: ssoSetting}, SSO{}, nil
	}
	if err != nil {
		return n, SSO{}, err
	}
	s, err := decode[SSO](n)
	return n, s, err
}

// SSO returns the setting of the caller's tenant, without its secret.
func (c *Control) SSO(ctx context.Context) (SSO, error) {
	return get(ctx, c, act{action: "sso.get"}, func(ctx context.Context, who account.Caller) (SSO, error) {
		_, s, err := c.ssoOf(ctx, who.Tenant)
		s.ClientSecret = ""
		return s, err
	})
}

// SetSSO changes the setting of the caller's tenant. A secret that change gives is
// in clear; one that it leaves stays as it was, and goes where the provider does.
func (c *Control) SetSSO(ctx context.Context, change func(s *SSO)) error {
	return c.do(ctx, act{action: "sso.set", target: ssoSetting}, func(ctx context.Context, who account.Caller) error {
		// Whoever chooses the provider of the first tenant can make administrators of all.
		if who.Tenant == account.DefaultTenant && !who.May(account.System) {
			return fault.New(fault.Denied, "control.SetSSO", "", errRefused)
		}
		n, s, err := c.ssoOf(ctx, who.Tenant)
		if err != nil {
			return err
		}
		before := s
		s.ClientSecret = ""
		change(&s)
		switch {
		case s.ClientSecret != "":
			s.ClientSecret = c.Seal.Seal(SealSetting, s.ClientSecret)
		case s.Authority == before.Authority: // it is not shown to another provider
			s.ClientSecret = before.ClientSecret
		}
		if err := s.check(); err != nil {
			return err
		}
		if err := encode(&n, s); err != nil {
			return err
		}
		if n.ID == (ledger.ID{}) {
			_, err = c.Store.AddNoun(ctx, n)
		} else {
			_, err = c.Store.SetNoun(ctx, n)
		}
		return err
	})
}

// ssoName is how a user is found by what their tenant's provider calls them: no
// tenant's provider can speak for another tenant's users.
func ssoName(tenant int64, name string) string { return fmt.Sprintf("%d:%s", tenant, name) }
