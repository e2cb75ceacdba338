package smb

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

func TestOptions(t *testing.T) {
	got, err := parseOptions(connectors.Unit{URL: "smb://files.example/Team%20Share/in/box/",
		Options: map[string]string{"user": `CORP\scanner`, "password": "p", "sign": "off", "encrypt": "required", "timeout": "5s"}})
	want := options{host: "files.example", port: "445", share: "Team Share", root: "in/box/", user: "scanner", domain: "CORP", password: "p",
		encrypt: true, timeout: 5 * time.Second}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" || err != nil {
		t.Errorf("options (-want +got), %v:\n%s", err, diff)
	}
	for _, c := range []struct {
		url     string
		options map[string]string
		words   string // in the error
		option  string // named by an OptionError
	}{
		{url: "smb://h", words: "share"},
		{url: "smb:///share", words: "want smb://"},
		{url: "smb://user:secret-word@h/share", words: "as options"},
		{url: "smb://h/share?user=x", words: "as options"},
		{url: "smb://h/sha:re", words: "stream"},
		{url: "smb://h/share/a/../b", words: "folder"},
		{url: "smb://h/share", words: "user", option: "user"},
		{url: "smb://h/share", options: map[string]string{"user": "u", "pasword": "secret-word"}, words: "known: domain", option: "pasword"},
		{url: "smb://h/share", options: map[string]string{"user": "u", "encrypt": "perhaps"}, words: "required or off", option: "encrypt"},
		{url: "smb://h/share", options: map[string]string{"user": "u", "timeout": "1ms"}, words: "duration", option: "timeout"},
	} {
		err := Check(connectors.Unit{Name: "u", URL: c.url, Options: c.options})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("Check(%s, %v) = %v, want %q", c.url, c.options, err, c.words)
		}
		if o := new(connectors.OptionError); c.option != "" && (!errors.As(err, &o) || o.Name != c.option) {
			t.Errorf("Check(%s, %v) = %v, want option %s", c.url, c.options, err, c.option)
		}
	}
}
