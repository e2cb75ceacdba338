package sso

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDCOptions say which provider it is and who we are to it.
type OIDCOptions struct {
	Provider     Provider
	Authority    string // the issuer
	ClientID     string
	ClientSecret string
	BaseURL      string       // ours
	Client       *http.Client // of NewClient
}

// An OIDC is a provider of OpenID Connect whose document has been read.
type OIDC struct {
	o        OIDCOptions
	provider *oidc.Provider
	config   oauth2.Config
	issuer   string
}

// OpenOIDC reads a provider's document.
func OpenOIDC(ctx context.Context, o OIDCOptions) (*OIDC, error) {
	const op = "sso.OpenOIDC"
	ctx = oidc.ClientContext(ctx, o.Client)
	issuer := o.Authority
	p, err := oidc.NewProvider(ctx, issuer)
	// Whether the issuer ends in a slash is the provider's word (Auth0: it does).
	var other *oidc.IssuerMismatchError
	if errors.As(err, &other) && strings.TrimSuffix(other.Discovered, "/") == strings.TrimSuffix(issuer, "/") {
		issuer = other.Discovered
		p, err = oidc.NewProvider(ctx, issuer)
	}
	if err != nil {
		return nil, failed(op, err)
	}
	at := p.Endpoint()
	for _, u := range []string{at.AuthURL, at.TokenURL} {
		if err := CheckURL(u); err != nil {
			return nil, refused(op, errors.New("the provider's document names an endpoint that is "+err.Error()))
		}
	}
	return &OIDC{o: o, provider: p, issuer: issuer, config: oauth2.Config{ClientID: o.ClientID, ClientSecret: o.ClientSecret, Endpoint: at,
		RedirectURL: strings.TrimSuffix(o.BaseURL, "/") + CallbackPath, Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}}, nil
}

// Begin is where the browser goes.
func (p *OIDC) Begin(state, nonce, verifier string) string {
	return p.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier))
}

// Finish asks the provider whose code it is. issuer is what came with the code,
// "" if nothing did (RFC 9207).
func (p *OIDC) Finish(ctx context.Context, code, issuer, nonce, verifier string) (Person, error) {
	const op = "sso.Finish"
	if issuer != "" && issuer != p.issuer {
		return Person{}, refused(op, errors.New("another provider answered"))
	}
	ctx = oidc.ClientContext(ctx, p.o.Client)
	token, err := p.config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Person{}, failed(op, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Person{}, refused(op, errors.New("the provider gave no ID token"))
	}
	id, err := p.provider.VerifierContext(ctx, &oidc.Config{ClientID: p.o.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Person{}, refused(op, err)
	}
	said := claims{}
	if err := id.Claims(&said); err != nil {
		return Person{}, refused(op, err)
	}
	if err := p.check(id, said, token, nonce); err != nil {
		return Person{}, refused(op, err)
	}
	who := said.person(p.o.Provider)
	if len(who.Roles) > 0 && who.Login != "" || p.provider.UserInfoEndpoint() == "" {
		return who, nil
	}
	return p.ask(ctx, token, said)
}

// check holds an ID token, which is signed and ours, against the login.
func (p *OIDC) check(id *oidc.IDToken, said claims, token *oauth2.Token, nonce string) error {
	azp := said.word("azp")
	switch {
	case nonce == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1:
		return errors.New("the ID token is of another login")
	case azp != "" && azp != p.o.ClientID, azp == "" && slices.ContainsFunc(id.Audience, func(a string) bool { return a != p.o.ClientID }):
		return errors.New("the ID token was made for somebody else")
	case id.AccessTokenHash != "":
		return id.VerifyAccessToken(token.AccessToken)
	}
	return nil
}

// ask adds what the provider tells only when asked.
func (p *OIDC) ask(ctx context.Context, token *oauth2.Token, said claims) (Person, error) {
	const op = "sso.UserInfo"
	info, err := p.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return Person{}, failed(op, err)
	}
	if info.Subject != said.word("sub") { // OpenID Connect Core 5.3.2
		return Person{}, refused(op, errors.New("the provider tells of somebody else"))
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return Person{}, refused(op, err)
	}
	for name, v := range said { // which is signed, and so is stronger
		more[name] = v
	}
	return more.person(p.o.Provider), nil
}
