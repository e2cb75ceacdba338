package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// A remoteUser is a user as the API has them.
type remoteUser struct {
	ID       string       `json:"id"`
	UserName string       `json:"userName"`
	FullName string       `json:"fullName"`
	Email    string       `json:"email"`
	Role     account.Role `json:"role"`
}

// Members is control.Control.Members.
func (r *remote) Members(ctx context.Context) (list []control.Member, err error) {
	for _, path := range []string{"/api/user/active/0/1000", "/api/user/requests?count=1000"} {
		users, err := remoteAll[remoteUser](ctx, r, path)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			list = append(list, control.Member{ID: u.ID, Login: u.UserName, Name: u.FullName, Email: u.Email, Role: u.Role.String()})
		}
	}
	return list, nil
}

// AddMember is control.Control.AddMember.
func (r *remote) AddMember(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	role, _ := account.ParseRole(m.Role) // the command has looked
	body := map[string]any{"userName": m.Login, "fullName": m.Name, "email": m.Email, "password": m.Password, "role": role}
	if m.Name == "" {
		body["fullName"] = m.Login
	}
	if m.Email == "" {
		body["email"] = m.Login + "@localhost"
	}
	return r.change(ctx, http.MethodPost, "/api/user/create", body, "added as "+m.Role)
}

// RemoveMember is control.Control.RemoveMember.
func (r *remote) RemoveMember(ctx context.Context, login string) (control.Effect, error) {
	id, err := r.userID(ctx, login)
	if err != nil {
		return control.Effect{}, err
	}
	return r.change(ctx, http.MethodDelete, "/api/user/"+url.PathEscape(id), nil, "removed")
}

// SetMemberRole is control.Control.SetMemberRole.
func (r *remote) SetMemberRole(ctx context.Context, m control.MemberChange) (control.Effect, error) {
	id, err := r.userID(ctx, m.Login)
	if err != nil {
		return control.Effect{}, err
	}
	role, _ := account.ParseRole(m.Role) // the command has looked
	return r.change(ctx, http.MethodPut, "/api/user/role", map[string]any{"userId": id, "role": role}, "is "+m.Role)
}

// SetMemberPassword refuses: whoever sets another's password could be them.
func (r *remote) SetMemberPassword(context.Context, control.MemberChange) (control.Effect, error) {
	return control.Effect{}, fault.New(fault.Unsupported, "", "", errors.New("passwords of others are set on the machine itself; users can have theirs reset by mail"))
}

func (r *remote) userID(ctx context.Context, login string) (string, error) {
	list, err := r.Members(ctx)
	for _, m := range list {
		if strings.EqualFold(m.Login, strings.TrimSpace(login)) {
			return m.ID, nil
		}
	}
	if err == nil {
		err = fault.New(fault.NotFound, "", login, errors.New("there is no user of this name"))
	}
	return "", err
}

func (r *remote) change(ctx context.Context, method, path string, body any, detail string) (control.Effect, error) {
	var got struct {
		User remoteUser `json:"user"`
	}
	err := r.call(ctx, method, path, nil, body, &got)
	return control.Effect{ID: got.User.ID, State: "done", Key: got.User.UserName, Detail: detail}, err
}
