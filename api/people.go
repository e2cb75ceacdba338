package api

import (
	"context"
	"errors"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// A UserOrder is how lists of users are ordered and searched.
type UserOrder struct {
	OrderType  string `query:"orderType" enum:"0,1,asc,desc" doc:"0 or asc, 1 or desc."`
	OrderBy    string `query:"orderBy" enum:"userName,fullName,email,role"`
	SearchText string `query:"searchText" maxLength:"255" pattern:"^[\\p{L}\\p{M} ',.-]+$" doc:"In user name, full name or email."`
}

func (o UserOrder) query(start, count int) control.UserQuery {
	return control.UserQuery{Search: o.SearchText, By: o.OrderBy, Descending: o.OrderType == "1" || o.OrderType == "desc", Start: start, Count: count}
}

func (a *API) userLists() {
	const tag = "Users"
	answer := func(ctx context.Context, q control.UserQuery) (*entries[User], error) {
		list, total, err := a.c.Users(ctx, q)
		out := listed(list, userOf)
		out.Body.TotalCount = int64(total)
		return out, err
	}
	register(a, Op{ID: "listActiveUsers", Method: "GET", Path: "/api/user/active/{startIndex}/{count}", Action: "user.list", Tag: tag, Summary: "Fetch active users",
		About: "Those with a role; of all tenants for administrators of the tenant that there is from the start. A page has 1000 users at most."},
		func(ctx context.Context, in *struct {
			StartIndex int `path:"startIndex" minimum:"0" maximum:"2147483647"`
			Count      int `path:"count" minimum:"1" maximum:"2147483647"`
			UserOrder
			SearchTerm string `query:"searchTerm" maxLength:"255" pattern:"^[\\p{L}\\p{M} ',.-]+$" doc:"As searchText."`
		}) (*entries[User], error) {
			q := in.query(in.StartIndex, in.Count)
			if q.Search == "" {
				q.Search = in.SearchTerm
			}
			return answer(ctx, q)
		})
	register(a, Op{ID: "listUserRequests", Method: "GET", Path: "/api/user/requests", Action: "user.list", Tag: tag, Summary: "Fetch the users who wait to be let in"},
		func(ctx context.Context, in *struct {
			StartIndex int `query:"startIndex" default:"0" minimum:"0" maximum:"2147483647"`
			Count      int `query:"count" default:"100" minimum:"1" maximum:"2147483647"`
			UserOrder
		}) (*entries[User], error) {
			q := in.query(in.StartIndex, in.Count)
			q.Waiting = true
			return answer(ctx, q)
		})
}

// security is what a user update says of failed logins.
type security struct {
	IncrementalDelay string `json:"incrementalDelay,omitempty" maxLength:"32" doc:"Empty or 00:00:00 forgets the failed logins; nothing else can be set." example:"00:00:00"`
	FailedLoginDate  string `json:"failedLoginDate,omitempty" maxLength:"64" doc:"Not used: kept for the product's clients."`
}

var errDelay = errors.New("the delay grows by itself; it can only be set back to 00:00:00")

// unlocks reports whether failed logins are to be forgotten.
func (s *security) unlocks() (bool, error) {
	if s == nil {
		return false, nil
	}
	if d := strings.Trim(s.IncrementalDelay, "0:."); d != "" {
		return false, fault.New(fault.Invalid, "", "incrementalDelay", errDelay)
	}
	return true, nil
}

func (a *API) ownUser() {
	const tag = "Users"
	register(a, Op{ID: "updateUser", Method: "PUT", Path: "/api/user", Action: "user.set", Tag: tag, Summary: "Update the current user",
		About: "What is absent stays. A new password needs the current one, and ends the user's sessions. With a userId, administrators change the names, the email and the role of others, and let them try to log in again.", Errors: []int{404, 409, 429}},
		func(ctx context.Context, in *struct {
			Body struct {
				UserID          *ID           `json:"userId,omitempty"`
				Role            *account.Role `json:"role,omitempty" enum:"0,1,2,4,5,6,999"`
				UserName        *string       `json:"userName,omitempty" maxLength:"320"`
				FullName        *string       `json:"fullName,omitempty" maxLength:"255"`
				CurrentPassword string        `json:"currentPassword,omitempty" maxLength:"1024"`
				NewPassword     string        `json:"newPassword,omitempty" maxLength:"1024"`
				Email           *string       `json:"email,omitempty" maxLength:"320"`
				AccountSecurity *security     `json:"accountSecurity,omitempty"`
			}
		}) (*userEntry, error) {
			b := &in.Body
			unlock, err := b.AccountSecurity.unlocks()
			if err != nil {
				return nil, err
			}
			u, err := a.c.SetUser(ctx, control.UserChange{ID: b.UserID.given(), Role: b.Role, Login: b.UserName, Name: b.FullName, Email: b.Email,
				Current: b.CurrentPassword, New: b.NewPassword, Unlock: unlock})
			return answerUser(u), err
		})
	register(a, Op{ID: "requestPasswordReset", Method: "POST", Path: "/api/user/password/reset", Action: "password.reset", Tag: tag, Summary: "Request a password reset",
		About: "Mails a token that is good for 30 minutes. The answer is the same whether there is such a user or not.", Errors: []int{429, 503}},
		func(ctx context.Context, in *struct {
			Body struct {
				UserInput string `json:"userInput" minLength:"1" maxLength:"320" doc:"A user name or an email address." example:"ann@example.org"`
			}
		}) (*Done, error) {
			return &Done{done()}, a.c.RequestReset(ctx, in.Body.UserInput)
		})
	register(a, Op{ID: "resetPassword", Method: "POST", Path: "/api/user/password", Action: "password.set", Tag: tag, Summary: "Reset a user's password",
		About: "With the token of a reset. The user's sessions end.", Errors: []int{403, 409, 429}},
		func(ctx context.Context, in *struct {
			Body struct {
				NewPassword             string `json:"newPassword" minLength:"12" maxLength:"1024"`
				NewPasswordConfirmation string `json:"newPasswordConfirmation" minLength:"12" maxLength:"1024"`
				SecureToken             string `json:"secureToken" maxLength:"255" doc:"As it was mailed."`
			}
		}) (*userEntry, error) {
			u, err := a.c.ResetPassword(ctx, in.Body.SecureToken, in.Body.NewPassword, in.Body.NewPasswordConfirmation)
			return answerUser(u), err
		})
}
