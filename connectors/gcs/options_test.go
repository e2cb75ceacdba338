package gcs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

func TestParseOptions(t *testing.T) {
	const account = `{"type":"service_account","private_key":"very-secret"}`
	for _, c := range []struct {
		url     string
		options map[string]string
		want    options
		google  bool
		bad     string // words of the error
	}{
		{url: "gs://bucket", want: options{bucket: "bucket"}, google: true},
		{url: "gs://bucket/a/b%20c/", want: options{bucket: "bucket", root: "a/b c/"}, google: true},
		{url: "gs://b?endpoint=http://127.0.0.1:4443/&anonymous=true", want: options{bucket: "b", endpoint: "http://127.0.0.1:4443", anonymous: true}},
		{url: "gs://b?endpoint=https://storage.europe-west3.rep.googleapis.com", want: options{bucket: "b", endpoint: "https://storage.europe-west3.rep.googleapis.com"}, google: true},
		{url: "gs://b?endpoint=https://googleapis.com.example", want: options{bucket: "b", endpoint: "https://googleapis.com.example"}},
		{url: "gs://b?user_project=x", options: map[string]string{"user_project": "y", "credentials_json": account}, want: options{bucket: "b", userProject: "y", credentials: account}, google: true},
		{url: "gs://b", options: map[string]string{"key_file": "/etc/key.json"}, want: options{bucket: "b", keyFile: "/etc/key.json"}, google: true},
		{url: "gs://b?credentials_json=s", bad: "make it an option"},
		{url: "gs://key:secret@b", bad: "want gs://"},
		{url: "gs:///b", bad: "want gs://"},
		{url: "s3://b", bad: "want gs://"},
		{url: "gs://b?endpiont=x", bad: "option endpiont: unknown"},
		{url: "gs://b?endpoint=ftp://x", bad: "want http"},
		{url: "gs://b?endpoint=https://u:p@x", bad: "want http"},
		{url: "gs://b?endpoint=https://x/y", bad: "want http"},
		{url: "gs://b?endpoint=http://127.0.0.1:4443", bad: "plain http"},
		{url: "gs://b?anonymous=perhaps", bad: "true or false"},
		{url: "gs://b", options: map[string]string{"anonymous": "true", "key_file": "k"}, bad: "anonymous excludes"},
		{url: "gs://b", options: map[string]string{"credentials_json": account, "key_file": "k"}, bad: "key_file excludes"},
		{url: "gs://b", options: map[string]string{"credentials_json": "very-secret"}, bad: "not JSON"},
		{url: "gs://b", options: map[string]string{"credentials_json": `{"type":"very-secret"}`}, bad: "no known type"},
	} {
		u := connectors.Unit{URL: c.url, Options: c.options}
		got, err := parseOptions(u)
		switch check := Check(u); {
		case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad) || !fault.Is(check, fault.Invalid)):
			t.Errorf("%s %v: got %v and %v, want an error with %q", c.url, c.options, err, check, c.bad)
		case c.bad == "" && (err != nil || check != nil || got != c.want || got.google() != c.google):
			t.Errorf("%s %v:\n got %+v, %v, %v\nwant %+v, google %v", c.url, c.options, got, err, check, c.want, c.google)
		case err != nil && strings.Contains(err.Error(), "very-secret"):
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

// TestLogin: what is wrong with a credentials file is said without its content.
func TestLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, []byte(`{"type":"service_account","private_key":"very-secret"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options map[string]string
		kind    fault.Kind
	}{
		"no such file": {map[string]string{"key_file": file + ".missing"}, fault.Denied},
		"not a key":    {map[string]string{"key_file": file}, fault.Denied},
		"broken":       {map[string]string{"credentials_json": `{"type":"service_account","client_email":"a@b","private_key":"very-secret"}`}, fault.Denied},
	} {
		d, err := Open(t.Context(), connectors.Unit{Name: "gcs", URL: "gs://b?endpoint=https://127.0.0.1:1", Options: c.options})
		if d != nil || !fault.Is(err, c.kind) || strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%s: %v, %v; want %v", name, d, err, c.kind)
		}
	}
}

func TestVersionTokens(t *testing.T) {
	for in, want := range map[string]string{"1795882356115455": "1795882356115455", "1": "1", "0": "", "-5": "", "": "", "x": "", "1.5": "", "99999999999999999999": ""} {
		if got := Hint(in); got != want {
			t.Errorf("Hint(%q) = %q, want %q", in, got, want)
		}
	}
	for _, bad := range []string{"0", "-1", "007", "+7", "x", "etag/1/2", "99999999999999999999"} {
		if gen, err := parseVersion("test", object.Ref{Key: "key", Version: bad}); !fault.Is(err, fault.Changed) {
			t.Errorf("%q is %d, %v", bad, gen, err)
		}
	}
}

func FuzzVersion(f *testing.F) {
	f.Add("1795882356115455")
	f.Add("007")
	f.Fuzz(func(t *testing.T, version string) {
		gen, err := parseVersion("fuzz", object.Ref{Key: "key", Version: version})
		if err == nil && version != "" && (token(gen) != version || Hint(version) != version) {
			t.Errorf("%q is %d, which is %q", version, gen, token(gen))
		}
	})
}
