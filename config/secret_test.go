package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/landwaiter/landwaiter/config"
)

func TestSecretsAreNeverShown(t *testing.T) {
	const canary = "c4n4ry-5ecret"
	s := config.NewSecret(canary)
	type inner struct{ s config.Secret }
	type outer struct {
		S config.Secret            `json:"s" yaml:"s"`
		M map[string]config.Secret `json:"m" yaml:"m"`
		i inner
	}
	o := outer{s, map[string]config.Secret{"k": s}, inner{s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, &s, o)
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		data, err := marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte("***")) {
			t.Errorf("no mask in %s", data)
		}
		out.Write(data)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "s", s, "o", o, "p", &o)
	}
	fmt.Fprintln(&out, errors.New("x"), fmt.Errorf("%v: %w", s, os.ErrInvalid), o.i)
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret is in:\n%s", out.String())
	}
}

func TestErrorsDoNotQuoteSecrets(t *testing.T) {
	const canary = "hunter2hunter2"
	for _, data := range []string{
		"store: {dsm: postgres://u:" + canary + "@db/x}\n",
		"store:\n  dsn: mysql://u:" + canary + "@db\n",
		"pools:\n- name: a\n  instances:\n  - url: mdcore://h\n    api_kye: " + canary + "\n",
		"pools:\n- name: a\n  instances:\n  - {url: mdcore://h, api_key: " + canary + ", limt: 3}\n",
		"units:\n- name: a\n  url: smb://u:" + canary + "@h/s\n",
		"units:\n- name: a\n  url: s3://b?secret_key=" + canary + "\n",
		"units:\n- name: a\n  url: s3://b\n  options:\n    key: |\n      " + canary + strings.Repeat("A", 40) + "\n    broken\n",
	} {
		_, err := load("f.yaml", data)
		if err == nil {
			t.Errorf("accepted: %s", data)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("the secret is in:\n%v", err)
		}
	}
}

func TestSecretWays(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cred"), "from-credential\r\n")
	write(t, filepath.Join(dir, "empty"), "\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", 70_000))
	env := map[string]string{"CREDENTIALS_DIRECTORY": dir, "TOKEN": "from-env", "EMPTY": ""}
	getenv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for in, want := range map[string]string{
		"plain": "plain", "postgres://x": "postgres://x", "value:env:X": "env:X", "with:colon": "with:colon", "": "",
		"env:TOKEN": "from-env", "credential:cred": "from-credential", "file:" + dir + "/cred": "from-credential",
	} {
		s, err := config.ParseSecret(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		r, err := s.Resolve(getenv)
		if err != nil || r.Reveal() != want {
			t.Errorf("%q: got %q, %v", in, r.Reveal(), err)
		}
		if again, err := r.Resolve(func(string) (string, bool) { return "", false }); err != nil || !again.Equal(r) {
			t.Errorf("%q: resolved twice: %v", in, err)
		}
	}
	for _, in := range []string{"env:NOPE", "env:EMPTY", "credential:none", "file:" + dir, "file:" + dir + "/empty", "file:" + dir + "/large"} {
		s, err := config.ParseSecret(in)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Resolve(getenv); err == nil || r.Reveal() != "" {
			t.Errorf("%q: resolved to %q", in, r.Reveal())
		}
	}
	for _, in := range []string{"env:", "env:A B", "credential:", "credential:..", "credential:a/b", "file:", "file:rel"} {
		if _, err := config.ParseSecret(in); err == nil {
			t.Errorf("%q: accepted", in)
		}
	}
}

func TestResolveLater(t *testing.T) {
	data := "store: {dsn: \"env:DSN\"}\nunits:\n  - {name: a, url: \"s3://a\", options: {secret_key: \"env:A\"}}\n  - {name: b, url: \"s3://b\", options: {secret_key: \"env:B\"}}\n"
	c, err := config.Load(config.Options{File: "f.yaml", Data: []byte(data), Env: []string{"B=beta"}, Unresolved: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Resolve("units[1]"); err != nil || c.Units[1].Options["secret_key"].Reveal() != "beta" {
		t.Errorf("units[1]: %v", err)
	}
	var missing config.Problems
	if err := c.Resolve(""); !errors.As(err, &missing) || len(missing) != 2 {
		t.Fatalf("got %v, want two problems", err)
	}
	if got := missing[1].String(); !strings.HasPrefix(got, "f.yaml:3:") || !strings.Contains(got, "units[0].options.secret_key: the environment has no A") {
		t.Errorf("got %s", got)
	}
	if c.Units[1].Options["secret_key"].Reveal() != "beta" {
		t.Error("what was resolved is lost")
	}
}
