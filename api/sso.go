package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landwaiter/landwaiter/account/sso"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// A Certificate is given as {"content": "PEM"} or as the text alone.
type Certificate string

// Schema tells of both forms.
func (Certificate) Schema(huma.Registry) *huma.Schema {
	most := 20_000
	text := &huma.Schema{Type: huma.TypeString, MaxLength: &most}
	return &huma.Schema{OneOf: []*huma.Schema{text, {Type: huma.TypeObject, Properties: map[string]*huma.Schema{"content": text}, AdditionalProperties: true}},
		Description: "The certificate that the provider signs with, in PEM or base64."}
}

// UnmarshalJSON reads both forms.
func (c *Certificate) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' {
		var o struct{ Content string }
		err := json.Unmarshal(b, &o)
		*c = Certificate(o.Content)
		return err
	}
	return json.Unmarshal(b, (*string)(c))
}

// ssoChange is an update; what is absent stays.
type ssoChange struct {
	ClientID      *string      `json:"clientId,omitempty" maxLength:"255"`
	ClientSecret  *string      `json:"clientSecret,omitempty" maxLength:"255" doc:"Never shown. Empty leaves it, unless the authority changes."`
	Authority     *string      `json:"authority,omitempty" maxLength:"255" doc:"The issuer of OpenID Connect." example:"https://login.example.org/tenant/v2.0"`
	BaseURL       *string      `json:"baseUrl,omitempty" maxLength:"255" doc:"Where browsers reach this installation." example:"https://landwaiter.example.org"`
	Certificate   *Certificate `json:"identityProviderCertificate,omitempty"`
	Issuer        *string      `json:"identityProviderIssuer,omitempty" maxLength:"255" doc:"The provider's entity ID of SAML."`
	LoginURL      *string      `json:"identityProviderLoginUrl,omitempty" maxLength:"255"`
	LogoutURL     *string      `json:"identityProviderLogoutUrl,omitempty" maxLength:"255"`
	Enabled       *bool        `json:"isEnabled,omitempty"`
	Type          *int         `json:"ssoType,omitempty" enum:"0,1" doc:"0 OpenID Connect, 1 SAML 2.0."`
	Provider      *int         `json:"ssoProvider,omitempty" enum:"0,1,2,3,4,5" doc:"0 Azure, 1 Okta, 2 Auth0, 3 ADFS, 4 PingFederate, 5 OPSWAT."`
	Administrator *string      `json:"administratorRoleName,omitempty" maxLength:"63" doc:"Who has this role or group at the provider becomes SSO administrator (4)."`
	ReadOnly      *string      `json:"readonlyRoleName,omitempty" maxLength:"63" doc:"Who has this one becomes SSO read-only administrator (5)."`
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (c ssoChange) apply(s *control.SSO) {
	set(&s.ClientID, c.ClientID)
	set(&s.ClientSecret, c.ClientSecret)
	set(&s.Authority, c.Authority)
	set(&s.BaseURL, c.BaseURL)
	set((*Certificate)(&s.Certificate), c.Certificate)
	set(&s.Issuer, c.Issuer)
	set(&s.LoginURL, c.LoginURL)
	set(&s.LogoutURL, c.LogoutURL)
	set(&s.Enabled, c.Enabled)
	set(&s.Type, c.Type)
	set((*int)(&s.Provider), c.Provider)
	set(&s.Administrator, c.Administrator)
	set(&s.ReadOnly, c.ReadOnly)
}

// ssoConfig is the answer with a setting.
type ssoConfig struct {
	Body struct {
		Envelope
		IsEnabled                   bool         `json:"isEnabled"`
		SSOProvider                 sso.Provider `json:"ssoProvider" enum:"0,1,2,3,4,5"`
		SSOType                     int          `json:"ssoType" enum:"0,1"`
		BaseURL                     string       `json:"baseUrl"`
		ClientID                    string       `json:"clientId"`
		ClientSecret                string       `json:"clientSecret" doc:"Always empty."`
		Authority                   string       `json:"authority"`
		IdentityProviderCertificate string       `json:"identityProviderCertificate"`
		IdentityProviderIssuer      string       `json:"identityProviderIssuer"`
		LoginURL                    string       `json:"loginUrl"`
		LogoutURL                   string       `json:"logoutUrl"`
		AdministratorRoleName       string       `json:"administratorRoleName"`
		ReadonlyRoleName            string       `json:"readonlyRoleName"`
	}
}

func (a *API) sso() {
	const tag = "Single sign-on"
	register(a, Op{ID: "getSsoConfiguration", Method: "GET", Path: "/api/sso/config", Action: "sso.get", Tag: tag, Summary: "Fetch the single sign-on configuration"},
		func(ctx context.Context, _ *struct{}) (*ssoConfig, error) {
			s, err := a.c.SSO(ctx)
			out := &ssoConfig{}
			b := &out.Body
			b.Envelope, b.IsEnabled, b.SSOProvider, b.SSOType, b.BaseURL, b.ClientID, b.Authority = done(), s.Enabled, s.Provider, s.Type, s.BaseURL, s.ClientID, s.Authority
			b.IdentityProviderCertificate, b.IdentityProviderIssuer, b.LoginURL, b.LogoutURL = s.Certificate, s.Issuer, s.LoginURL, s.LogoutURL
			b.AdministratorRoleName, b.ReadonlyRoleName = s.Administrator, s.ReadOnly
			return out, err
		})
	register(a, Op{ID: "updateSsoConfiguration", Method: "PATCH", Path: "/api/sso", Action: "sso.set", Tag: tag, Summary: "Update the single sign-on configuration",
		About: "Of the caller's tenant. What is absent stays.", Errors: []int{409}},
		func(ctx context.Context, in *struct{ Body ssoChange }) (*Done, error) {
			return &Done{done()}, a.c.SetSSO(ctx, in.Body.apply)
		})
	a.browsers()
}

// The cookie by which a browser is known between the beginning and the end of a login.
const ssoCookie = "landwaiter_sso"

// departure sends a browser to a provider.
type departure struct {
	Status       int
	Location     string      `header:"Location"`
	SetCookie    http.Cookie `header:"Set-Cookie"`
	CacheControl string      `header:"Cache-Control"`
}

// arrival is the answer of a login at a provider: a grant, or for a browser the
// way to our pages.
type arrival struct {
	Status       int
	Location     string `header:"Location"`
	CacheControl string `header:"Cache-Control"`
	Body         *granting
}

// arrived ends a login for a program or, by what it accepts, a browser.
func (a *API) arrived(ctx context.Context, accept string, r control.Return) (*arrival, error) {
	g, err := a.c.FinishSSO(ctx, r)
	if err != nil {
		return nil, err
	}
	if strings.Contains(accept, "text/html") {
		to, err := a.c.HandOver(ctx, g)
		return &arrival{Status: http.StatusSeeOther, Location: to, CacheControl: "no-store"}, err
	}
	return &arrival{Status: http.StatusOK, CacheControl: "no-store", Body: &granted(g.Grant).Body}, nil
}

// browsers are the operations that a browser is sent to. They are GET and a form,
// as the protocols want it.
func (a *API) browsers() {
	const tag = "Single sign-on"
	register(a, Op{ID: "beginSso", Method: "GET", Path: "/api/landwaiter/sso/login", Action: "sso.begin", Tag: tag, Summary: "Begin a login at the identity provider",
		About: "Sends the browser there.", Status: http.StatusFound, Errors: []int{404, 429, 503}},
		func(ctx context.Context, in *struct {
			TenantID string `query:"tenantId" maxLength:"64" doc:"The tenant; by default the one that there is from the start."`
			Cookie   string `cookie:"landwaiter_sso" maxLength:"256"`
		}) (*departure, error) {
			d, err := a.c.BeginSSO(ctx, idOf(in.TenantID).given(), in.Cookie)
			c := http.Cookie{Name: ssoCookie, Value: d.Cookie, Path: "/api/landwaiter/sso", MaxAge: 900, HttpOnly: true, Secure: d.Secure}
			if d.Secure {
				c.SameSite = http.SameSiteNoneMode // SAML comes back by a form of another site
			}
			return &departure{Status: http.StatusFound, Location: d.URL, SetCookie: c, CacheControl: "no-store"}, err
		})
	register(a, Op{ID: "finishOidc", Method: "GET", Path: sso.CallbackPath, Action: "sso.finish", Tag: tag, Summary: "End a login by OpenID Connect",
		About: "The provider sends the browser here. The answer is that of authenticate; a browser is sent on to our pages with a code.", Errors: []int{401, 403, 404, 409, 503}},
		func(ctx context.Context, in *struct {
			Code   string `query:"code" maxLength:"8192"`
			State  string `query:"state" maxLength:"256"`
			Issuer string `query:"iss" maxLength:"1024"`
			Error  string `query:"error" maxLength:"1024" doc:"Why the provider refused."`
			Cookie string `cookie:"landwaiter_sso" maxLength:"256"`
			Accept string `header:"Accept" maxLength:"4096"`
		}) (*arrival, error) {
			return a.arrived(ctx, in.Accept, control.Return{State: in.State, Cookie: in.Cookie, Code: in.Code, Issuer: in.Issuer})
		})
	register(a, Op{ID: "finishSaml", Method: "POST", Path: sso.ACSPath, Action: "sso.finish", Tag: tag, Summary: "End a login by SAML 2.0",
		About: "The provider sends the browser here, with a form. The answer is that of authenticate; a browser is sent on to our pages with a code.", Errors: []int{401, 403, 404, 409}},
		func(ctx context.Context, in *struct {
			Cookie  string `cookie:"landwaiter_sso" maxLength:"256"`
			Accept  string `header:"Accept" maxLength:"4096"`
			RawBody []byte `contentType:"application/x-www-form-urlencoded"`
		}) (*arrival, error) {
			form, err := url.ParseQuery(string(in.RawBody))
			if err != nil {
				return nil, fault.New(fault.Invalid, "", "", err)
			}
			return a.arrived(ctx, in.Accept, control.Return{State: form.Get("RelayState"), Cookie: in.Cookie, Answer: form.Get("SAMLResponse")})
		})
	register(a, Op{ID: "takeSsoSession", Method: "POST", Path: "/api/landwaiter/sso/session", Action: "sso.take", Tag: tag, Summary: "Take the session of a login that a browser ended",
		About: "The code is in the address to which the browser was sent, after #sso=. It works once, for a minute.", Errors: []int{401}},
		func(ctx context.Context, in *struct {
			Body struct {
				Code string `json:"code" minLength:"1" maxLength:"256"`
			}
		}) (*grant, error) {
			g, err := a.c.TakeOver(ctx, in.Body.Code)
			return granted(g), err
		})
	register(a, Op{ID: "getSamlMetadata", Method: "GET", Path: sso.MetadataPath, Action: "sso.metadata", Tag: tag, Summary: "Fetch what a SAML provider wants to know of us", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			TenantID string `query:"tenantId" maxLength:"64" doc:"The tenant; by default the one that there is from the start."`
		}) (*metadata, error) {
			text, err := a.c.SSOMetadata(ctx, idOf(in.TenantID).given())
			return &metadata{ContentType: "application/samlmetadata+xml", Body: text}, err
		})
}

type metadata struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// idOf reads an id of a query: nil if there is none.
func idOf(text string) *ID {
	if text == "" {
		return nil
	}
	id := &ID{}
	_ = id.UnmarshalText([]byte(text)) // which takes any
	return id
}
