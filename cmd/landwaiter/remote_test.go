package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/daemon"
)

// lines is what a command or a daemon wrote.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// TestServer: commands ask a daemon elsewhere, with an API key, and say what is
// wrong where it refuses.
func TestServer(t *testing.T) {
	data, in := t.TempDir(), t.TempDir()
	c, err := config.Load(config.Options{Storages: all.Schemes(), Set: []config.Override{{Path: "data", Value: data}, {Path: "server.listen", Value: "127.0.0.1:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := addFolders(c, []string{in}, true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan string, 1)
	d, err := daemon.Open(ctx, daemon.Options{Config: c, Ready: func(addr string) { ready <- addr }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	server := "http://" + <-ready
	if _, err := d.Control().Store.PutUser(ctx, account.User{Login: "other", Role: account.TenantAdministrator}); err != nil {
		t.Fatal(err)
	}
	key, sum := account.NewSecret("lw")
	if _, err := d.Control().Store.PutUser(ctx, account.User{Login: "robot", Role: account.Administrator, APIKey: sum}); err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(data, "token")
	if err := os.WriteFile(tokenFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := func(want int, args ...string) string {
		t.Helper()
		var out, errs lines
		code := run(t.Context(), args, &App{Stdout: &out, Stderr: &errs, Program: program(&errs)})
		if code != want {
			t.Errorf("%v: exit code %d, want %d: %s%s", args, code, want, &out.b, &errs.b)
		}
		return out.b.String() + errs.b.String()
	}
	with := func(args ...string) []string {
		return append([]string{"--server", server, "--token-file", tokenFile}, args...)
	}
	name := filepath.Base(in)
	bad := `X5O!P%@AP[4\PZX54(P^)7CC)7}` + `$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`
	if err := os.WriteFile(filepath.Join(in, "bad.txt"), []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !strings.Contains(said(0, with("quarantine", "list", "-o", "csv")...), "bad.txt"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the test file was not put away within 30 s")
		}
	}
	id := strings.Split(strings.Split(said(0, with("quarantine", "list", "-o", "csv")...), "\n")[1], ",")[0]
	for _, c := range []struct {
		want string
		args []string
	}{
		{"infected", []string{"entries", "--unit", name}}, {"quarantine", []string{"explain", name, "bad.txt"}}, {"ok", []string{"storage", "list"}},
		{name, []string{"storage", "coverage"}}, {"builtin", []string{"engine", "list"}}, {"builtin", []string{"engine", "test"}}, {"planned", []string{"quarantine", "restore", "--dry-run", id}},
		{"done", []string{"quarantine", "restore", id}}, {"", []string{"dlq", "list"}}, {"", []string{"dlq", "messages"}}, {"", []string{"source", "list"}},
		{"robot", []string{"user", "list"}}, {"is ReadOnlyAdministrator", []string{"user", "role", "other", "ReadOnlyAdministrator"}}, {"removed", []string{"user", "remove", "other"}},
	} {
		if got := said(0, with(c.args...)...); !strings.Contains(got, c.want) {
			t.Errorf("%v: no %q in %s", c.args, c.want, got)
		}
	}
	if got := said(5, with("explain", name, "none")...); !strings.Contains(got, "nothing is known") {
		t.Errorf("explain: %s", got)
	}
	if got := said(4, "--server", server, "entries"); !strings.Contains(got, "LANDWAITER_TOKEN") {
		t.Errorf("without a token: %s", got)
	}
	said(2, "--server", "http://example.org", "--token-file", tokenFile, "entries")
	said(2, "--server", "file:///etc", "entries")
	said(8, "--server", "http://127.0.0.1:1", "entries")
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	said(5, "--server", other.URL, "entries")
}

// TestServeKnowsNobody: the daemon that serve starts lets nobody in who has no
// token, though who started it may everything.
func TestServeKnowsNobody(t *testing.T) {
	data, said := t.TempDir(), &lines{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--watch", t.TempDir()}, &App{Stdout: said, Stderr: said, Program: program(said)})
	}()
	defer func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
	}()
	address := ""
	for end := time.Now().Add(30 * time.Second); address == ""; time.Sleep(20 * time.Millisecond) {
		said.mu.Lock()
		_, rest, _ := strings.Cut(said.b.String(), " listen=")
		said.mu.Unlock()
		address, _, _ = strings.Cut(rest, " ")
		if time.Now().After(end) {
			t.Fatal("not ready within 30 s")
		}
	}
	for _, c := range []struct{ method, path, header string }{{"GET", "/api/group", ""}, {"POST", "/api/user/create", ""}, {"GET", "/api/configuration/export", ""},
		{"GET", "/api/landwaiter/entries", "Bearer nonsense"}, {"GET", "/api/landwaiter/events", ""}, {"DELETE", "/api/group/x", "Basic eDp4"}} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+c.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s: %s", c.method, c.path, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	var out lines // and the operator of the machine, by the socket, is let in
	if code := run(t.Context(), []string{"user", "list", "--data", data}, &App{Stdout: &out, Stderr: &out, Program: program(&out)}); code != 0 {
		t.Errorf("user list: exit code %d: %s", code, &out.b)
	}
}
