package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
)

// grant is the answer of a login.
type grant struct{ Body granting }

type granting struct {
	Envelope
	AccessToken            string    `json:"accessToken" doc:"A JWT for the Authorization header, after Bearer."`
	AccessTokenExpiryTime  time.Time `json:"accessTokenExpiryTime"`
	RefreshToken           string    `json:"refreshToken" doc:"For one call of refreshToken, which gives the next."`
	RefreshTokenExpiryTime time.Time `json:"refreshTokenExpiryTime"`
	User                   User      `json:"user"`
}

func granted(g control.Grant) *grant {
	out := &grant{}
	b := &out.Body
	b.Envelope, b.User = done(), userOf(g.User)
	b.AccessToken, b.AccessTokenExpiryTime, b.RefreshToken, b.RefreshTokenExpiryTime = g.Access, g.Expires.UTC(), g.Refresh, g.Until.UTC()
	return out
}

func (a *API) sessions() {
	const tag = "Users"
	register(a, Op{ID: "authenticate", Method: "POST", Path: "/api/user/authenticate", Action: "session.open", Tag: tag,
		Summary: "Authenticate with a username and password", About: "After three failed logins in a row each further one must wait: 1 s, then twice as long, up to 15 min.",
		Errors: []int{401, 403, 429}},
		func(ctx context.Context, in *struct {
			Body struct {
				UserName string `json:"userName" minLength:"1" maxLength:"320" example:"admin"`
				Password string `json:"password" minLength:"1" maxLength:"1024" example:"correct horse battery"`
			}
		}) (*grant, error) {
			g, err := a.c.Authenticate(ctx, in.Body.UserName, in.Body.Password)
			return granted(g), err
		})
	register(a, Op{ID: "refreshToken", Method: "POST", Path: "/api/user/refreshToken", Action: "session.refresh", Tag: tag, Summary: "Refresh a user's tokens",
		About: "The access token may have expired; the refresh token works once.", Errors: []int{401}},
		func(ctx context.Context, in *struct {
			Body struct {
				AccessToken  string `json:"accessToken" minLength:"1" maxLength:"4096"`
				RefreshToken string `json:"refreshToken" minLength:"1" maxLength:"1024"`
			}
		}) (*grant, error) {
			g, err := a.c.Refresh(ctx, in.Body.AccessToken, in.Body.RefreshToken)
			return granted(g), err
		})
	register(a, Op{ID: "logout", Method: "POST", Path: "/api/user/logout", Action: "session.close", Tag: tag, Summary: "Log out",
		About: "Ends the session: its access and refresh tokens are good for nothing."},
		func(ctx context.Context, _ *struct{}) (*Done, error) { return &Done{done()}, a.c.Logout(ctx) })
	a.ownSessions()
	a.ownKey()
}

// A Session is a login that has not ended.
type Session struct {
	ID        string    `json:"id" format:"uuid"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Current   bool      `json:"current" doc:"This request is made with it."`
}

func (a *API) ownSessions() {
	const tag, path = "Users", "/api/landwaiter/user/sessions"
	register(a, Op{ID: "listOwnSessions", Method: "GET", Path: path, Action: "session.list", Tag: tag, Summary: "List the caller's sessions"},
		func(ctx context.Context, _ *struct{}) (*entries[Session], error) {
			list, err := a.c.Sessions(ctx)
			who, _ := account.From(ctx)
			return listed(list, func(s account.Session) Session {
				return Session{ID: s.ID.String(), CreatedAt: s.Created.UTC(), ExpiresAt: s.Expires.UTC(), Current: s.ID == who.Session}
			}), err
		})
	register(a, Op{ID: "endOwnSession", Method: "DELETE", Path: path + "/{sessionId}", Action: "session.end", Tag: tag, Summary: "End one of the caller's sessions", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			SessionID ID `path:"sessionId"`
		}) (*Done, error) {
			return &Done{done()}, a.c.EndSession(ctx, in.SessionID.ID)
		})
	register(a, Op{ID: "endOtherSessions", Method: "DELETE", Path: path, Action: "session.end", Tag: tag, Summary: "End all of the caller's other sessions",
		About: "The session of this request stays; with an API key all end."},
		func(ctx context.Context, _ *struct{}) (*Done, error) { return &Done{done()}, a.c.EndOthers(ctx) })
}

func (a *API) ownKey() {
	const tag, path = "Users", "/api/landwaiter/user/apikey"
	type made struct {
		Body struct {
			Envelope
			APIKey string `json:"apiKey" doc:"For the ApiKey header. It is not shown again." example:"lw_0bY5…"`
		}
	}
	register(a, Op{ID: "makeApiKey", Method: "POST", Path: path, Action: "key.make", Tag: tag, Summary: "Make an API key for the caller",
		About: "The key that the caller had is good for nothing from now on."},
		func(ctx context.Context, _ *struct{}) (*made, error) {
			out := &made{}
			var err error
			out.Body.Envelope = done()
			out.Body.APIKey, err = a.c.MakeKey(ctx)
			return out, err
		})
	register(a, Op{ID: "revokeApiKey", Method: "DELETE", Path: path, Action: "key.revoke", Tag: tag, Summary: "Revoke the caller's API key"},
		func(ctx context.Context, _ *struct{}) (*Done, error) { return &Done{done()}, a.c.RevokeKey(ctx) })
}
