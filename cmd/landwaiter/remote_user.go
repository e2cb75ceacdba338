package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// A remoteUser is a user as the API shows them.
type remoteUser struct {
	ID       string       `json:"id"`
	UserName string       `json:"userName"`
	FullName string       `json:"fullName"`
	Email    string       `json:"email"`
	Role     account.Role `json:"role"`
}

// Members is control.Control.Members, of the caller's tenant.
func (r *remote) Members(ctx context.Context) (list []control.Member, err error) {
	for _, path := range []string{"/api/user/active/0/10000", "/api/user/requests?startIndex=0&count=10000"} {
		var got struct {
			Entries []remoteUser `json:"entries"`
		}
		if err := r.call(ctx, http.MethodGet, path, nil, nil, &got); err != nil {
			return nil, err
		}
		for _, u := range got.Entries {
			list = append(list, control.Member{ID: u.ID, Login: u.UserName, Name: u.FullName, Email: u.Email, Role: u.Role.String()})
		}
	}
	return list, nil
}

// AddMember is control.Control.AddMember.
func (r *remote) AddMember(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	role, ok := account.ParseRole(m.Role)
	if !ok {
		return control.Effect{}, fault.New(fault.Invalid, "user", m.Role, errors.New("there is no such role"))
	}
	body := map[string]any{"userName": m.Login, "fullName": either(m.Name, m.Login), "email": either(m.Email, m.Login+"@localhost"), "password": m.Password, "role": role}
	err := r.call(ctx, http.MethodPost, "/api/user/create", nil, body, nil)
	return control.Effect{Key: m.Login, State: "done", Detail: "added as " + role.String()}, err
}

// member finds a user by login.
func (r *remote) member(ctx context.Context, login string) (control.Member, error) {
	list, err := r.Members(ctx)
	if err != nil {
		return control.Member{}, err
	}
	for _, m := range list {
		if m.Login == login {
			return m, nil
		}
	}
	return control.Member{}, fault.New(fault.NotFound, "user", login, errors.New("there is no user of this name"))
}

// RemoveMember is control.Control.RemoveMember.
func (r *remote) RemoveMember(ctx context.Context, login string) (control.Effect, error) {
	m, err := r.member(ctx, login)
	if err == nil {
		err = r.call(ctx, http.MethodDelete, "/api/user/"+url.PathEscape(m.ID), nil, nil, nil)
	}
	return control.Effect{ID: m.ID, Key: login, State: "done", Detail: "removed"}, err
}

// SetMemberRole is control.Control.SetMemberRole.
func (r *remote) SetMemberRole(ctx context.Context, c control.MemberChange) (control.Effect, error) {
	role, ok := account.ParseRole(c.Role)
	if !ok {
		return control.Effect{}, fault.New(fault.Invalid, "user", c.Role, errors.New("there is no such role"))
	}
	m, err := r.member(ctx, c.Login)
	if err == nil {
		err = r.call(ctx, http.MethodPut, "/api/user/role", nil, map[string]any{"userId": m.ID, "role": role}, nil)
	}
	return control.Effect{ID: m.ID, Key: c.Login, State: "done", Detail: "is " + role.String()}, err
}

// SetMemberPassword is for the machine itself: over the API a password is changed
// by its owner, who knows it, or by mail.
func (r *remote) SetMemberPassword(context.Context, control.MemberChange) (control.Effect, error) {
	return control.Effect{}, fault.New(fault.Unsupported, "user password", r.base, errors.New("only the machine itself gives somebody a new password; their owner changes it with PUT /api/user, or by mail"))
}
