package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
)

// A User is somebody with a login.
type User struct {
	ID       string       `json:"id"`
	UserName string       `json:"userName"`
	FullName string       `json:"fullName"`
	Email    string       `json:"email"`
	Role     account.Role `json:"role" enum:"0,1,2,4,5,6,999" doc:"0 none, 1 read-only administrator, 2 administrator, 4 SSO administrator, 5 SSO read-only administrator, 6 tenant administrator."`
}

func userOf(u account.User) User {
	return User{ID: u.ID.String(), UserName: u.Login, FullName: u.Name, Email: u.Email, Role: u.Role}
}

// grant is the answer of a login.
type grant struct {
	Body struct {
		Envelope
		AccessToken            string    `json:"accessToken" doc:"A JWT for the Authorization header, after Bearer."`
		AccessTokenExpiryTime  time.Time `json:"accessTokenExpiryTime"`
		RefreshToken           string    `json:"refreshToken" doc:"For one call of refreshToken, which gives the next."`
		RefreshTokenExpiryTime time.Time `json:"refreshTokenExpiryTime"`
		User                   User      `json:"user"`
	}
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
}
