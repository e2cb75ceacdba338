package sso

import (
	"errors"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/landwaiter/landwaiter/fault"
)

// refused is the error of a statement that proves nothing. What is wrong with it
// is for operators: it may quote what a stranger sent.
func refused(op string, err error) error { return fault.New(fault.Denied, op, "", err) }

// failed is the error of a call of a provider.
func failed(op string, err error) error {
	var answer *oauth2.RetrieveError
	switch {
	case fault.Canceled(err):
		return err
	case errors.As(err, &answer) && answer.Response != nil && answer.Response.StatusCode < http.StatusInternalServerError:
		if answer.ErrorCode == "" {
			answer.ErrorCode = answer.Response.Status
		}
		return fault.New(fault.Denied, op, "", errors.New("the provider refused: "+answer.ErrorCode)) // its body may hold anything
	}
	return fault.New(fault.Unavailable, op, "", errors.New("the provider cannot be asked"))
}
