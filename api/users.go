package api

import (
	"context"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
)

// A User is somebody with a login.
type User struct {
	ID       string       `json:"id" format:"uuid"`
	UserName string       `json:"userName" example:"ann"`
	FullName string       `json:"fullName"`
	Email    string       `json:"email"`
	Role     account.Role `json:"role" enum:"0,1,2,4,5,6,999" doc:"0 none: waits to be let in, 1 read-only administrator, 2 administrator, 4 SSO administrator, 5 SSO read-only administrator, 6 tenant administrator."`
}

func userOf(u account.User) User {
	return User{ID: u.ID.String(), UserName: u.Login, FullName: u.Name, Email: u.Email, Role: u.Role}
}

// userEntry is the answer with one user.
type userEntry struct {
	Body struct {
		Envelope
		User User `json:"user"`
	}
}

func answerUser(u account.User) *userEntry {
	out := &userEntry{}
	out.Body.Envelope, out.Body.User = done(), userOf(u)
	return out
}

// newUser is what is said of a user to be.
type newUser struct {
	FullName  string `json:"fullName" minLength:"1" maxLength:"255" example:"Ann Smith"`
	UserName  string `json:"userName" minLength:"1" maxLength:"320" example:"ann"`
	Password  string `json:"password,omitempty" maxLength:"1024" doc:"12 characters or more." example:"correct horse battery"`
	Email     string `json:"email" minLength:"1" maxLength:"320" example:"ann@example.org"`
	SSOUserID string `json:"ssoUserId,omitempty" maxLength:"255" doc:"What the identity provider calls the user (its subject or NameID). Only administrators link users so: it counts in create."`
	TenantID  *ID    `json:"tenantId,omitempty" doc:"The tenant; the caller's by default, and of somebody who registers the one that there is from the start."`
}

func (n newUser) control() control.NewUser {
	return control.NewUser{Login: n.UserName, Name: n.FullName, Email: n.Email, Password: n.Password, Tenant: n.TenantID.given()}
}

type userID struct {
	UserID ID `path:"userId" doc:"The user's id."`
}

func (a *API) users() {
	const tag = "Users"
	register(a, Op{ID: "registerUser", Method: "POST", Path: "/api/user/register", Action: "user.register", Tag: tag, Summary: "Register a user",
		About: "The user has no role and cannot log in until an administrator gives one. With the setup token, which the daemon shows while there is no administrator, the user is the first administrator.", Errors: []int{403, 404, 409, 429}},
		func(ctx context.Context, in *struct {
			Body struct {
				newUser
				SetupToken string `json:"setupToken,omitempty" maxLength:"255" doc:"Makes the first administrator; it works once."`
			}
		}) (*userEntry, error) {
			u, err := a.c.Register(ctx, in.Body.control(), in.Body.SetupToken)
			return answerUser(u), err
		})
	register(a, Op{ID: "createUser", Method: "POST", Path: "/api/user/create", Action: "user.add", Tag: tag, Summary: "Create a user",
		About: "Nobody gives a role that allows more than their own. tenantId is for administrators of all tenants.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				newUser
				Role account.Role `json:"role,omitempty" enum:"0,1,2,4,5,6,999" example:"1"`
			}
		}) (*userEntry, error) {
			n := in.Body.control()
			n.SSO, n.Role = in.Body.SSOUserID, in.Body.Role
			u, err := a.c.CreateUser(ctx, n)
			return answerUser(u), err
		})
	register(a, Op{ID: "updateUserRole", Method: "PUT", Path: "/api/user/role", Action: "user.role", Tag: tag, Summary: "Update a user's role",
		About: "Lets in who waits. The user's sessions end. The last administrator stays one.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				UserID ID           `json:"userId"`
				Role   account.Role `json:"role" enum:"0,1,2,4,5,6,999" example:"1"`
			}
		}) (*userEntry, error) {
			u, err := a.c.SetRole(ctx, in.Body.UserID.ID, in.Body.Role)
			return answerUser(u), err
		})
	register(a, Op{ID: "deleteUser", Method: "DELETE", Path: "/api/user/{userId}", Action: "user.remove", Tag: tag, Summary: "Delete a user",
		About: "Declines who waits. The user's sessions and API key end. The last administrator is not deleted.", Errors: []int{404, 409}},
		func(ctx context.Context, in *userID) (*userEntry, error) {
			u, err := a.c.RemoveUser(ctx, in.UserID.ID)
			return answerUser(u), err
		})
	register(a, Op{ID: "getOwnUser", Method: "GET", Path: "/api/landwaiter/user", Action: "user.me", Tag: tag, Summary: "Fetch the caller's own user", Errors: []int{404}},
		func(ctx context.Context, _ *struct{}) (*userEntry, error) {
			u, err := a.c.Me(ctx)
			return answerUser(u), err
		})
	a.userLists()
	a.ownUser()
}
