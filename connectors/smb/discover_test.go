package smb

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestDiscover(t *testing.T) {
	t.Parallel()
	srv := servers.StartSamba(t)
	account := connectors.Unit{Name: "acc", URL: "smb://" + srv.Host + ":" + srv.Port, Options: map[string]string{"user": srv.User, "password": srv.Password}}
	list, err := Discover(t.Context(), account)
	if err != nil || len(list) != 2 || list[0].Name != "plain" || list[1].Name != "streams" {
		t.Fatalf("%+v, %v", list, err)
	}
	u := account
	u.URL = list[0].URL
	d, err := Open(t.Context(), u)
	if err != nil {
		t.Fatalf("%s: %v", u.URL, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	account.Options["password"] = "not-the-password"
	if _, err := Discover(t.Context(), account); !fault.Is(err, fault.Denied) {
		t.Errorf("a wrong password: %v", err)
	}
	account.URL += "/plain"
	if _, err := Discover(t.Context(), account); !fault.Is(err, fault.Invalid) {
		t.Errorf("an account that names a share: %v", err)
	}
}
