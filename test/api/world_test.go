// Package api_test tries the REST API as its callers do: over HTTP, against a
// whole daemon, on SQLite and on PostgreSQL.
package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/daemon"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	box.Main() // a boxed child starts as this binary too
	goleak.VerifyTestMain(checked{m})
}

// checked is a run of tests after which it is looked what they covered.
type checked struct{ m *testing.M }

// Run runs the tests.
func (c checked) Run() int {
	code := c.m.Run()
	if err := coverage(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// A world is a daemon that runs.
type world struct {
	t     *testing.T
	url   string
	d     *daemon.Daemon
	data  string
	inbox string // a folder for a configuration to watch
	log   *bytes.Buffer
	stop  func()
}

// The passwords of the users that a world has from the start.
const password = "correct horse battery"

// A setup says what a world is made of; zero = SQLite and no configuration file.
type setup struct {
	config   string // YAML; DATA and INBOX stand for the world's folders
	postgres bool
	dsn      string // of a PostgreSQL that is there
	later    bool   // a further node: the users are there
	data     string // an earlier world's
	closed   bool   // no network and no folder is open to operators
}

// both runs a test on SQLite and on PostgreSQL.
func both(t *testing.T, s setup, f func(t *testing.T, w *world)) {
	for _, pg := range []bool{false, true} {
		t.Run(map[bool]string{false: "sqlite", true: "postgres"}[pg], func(t *testing.T) {
			s := s
			s.postgres = pg
			f(t, start(t, s))
		})
	}
}

// start starts a daemon with the users reader (read only), admin and tenantadmin.
func start(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{t: t, data: s.data, inbox: t.TempDir(), log: &bytes.Buffer{}}
	if w.data == "" {
		w.data = t.TempDir()
	}
	const allowed = "allow_networks: [127.0.0.0/8, '::1/128']" // where the tests' servers are
	text := "server: {listen: 127.0.0.1:0, local_roots: [" + os.TempDir() + "], " + allowed + "}\n"
	switch {
	case strings.Contains(s.config, "server: {"):
		text = ""
		s.config = strings.Replace(s.config, "server: {", "server: {"+allowed+", ", 1)
	case s.closed:
		text = "server: {listen: 127.0.0.1:0}\n"
	}
	if s.postgres {
		s.dsn = servers.Postgres(t)
	}
	if s.dsn != "" {
		text += "store: {dsn: \"" + s.dsn + "\"}\n"
	}
	text += strings.NewReplacer("DATA", w.data, "INBOX", w.inbox).Replace(s.config)
	file := filepath.Join(w.data, "landwaiter.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() (*config.Config, error) {
		return config.Load(config.Options{File: file, Storages: all.Schemes(), Set: []config.Override{{Path: "data", Value: w.data, Flag: "--data"}}})
	}
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	w.d, err = daemon.Open(ctx, daemon.Options{Config: c, Load: load, Version: "test", Log: slog.New(slog.NewTextHandler(&lockedWriter{w: w.log}, nil)), Ready: func(addr string) { ready <- addr }})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.d.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", w.log)
		}
	})
	select {
	case addr := <-ready:
		w.url = "http://" + addr
	case <-time.After(30 * time.Second):
		t.Fatal("not ready in 30 s")
	}
	if s.data == "" && !s.later {
		for login, role := range map[string]account.Role{"admin": account.Administrator, "reader": account.ReadOnlyAdministrator, "nobody": account.None} {
			w.user(login, role, account.DefaultTenant)
		}
	}
	return w
}

// A lockedWriter may be written to from many goroutines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// user makes a user as the operator of the machine does.
func (w *world) user(login string, role account.Role, tenant int64) account.User {
	w.t.Helper()
	hash, err := account.HashPassword(context.Background(), password)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := w.d.Control().Store.PutUser(context.Background(), account.User{Login: login, Name: login, Email: login + "@example.org", Role: role, Tenant: tenant, Password: hash})
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// A client calls the API as somebody.
type client struct {
	w     *world
	token string
	key   string
}

// as logs a user in.
func (w *world) as(login string) *client {
	w.t.Helper()
	c := &client{w: w}
	got := c.call("POST", "/api/user/authenticate", map[string]any{"userName": login, "password": password}, http.StatusOK)
	c.token, _ = got["accessToken"].(string)
	if c.token == "" {
		w.t.Fatalf("no accessToken: %v", got)
	}
	return c
}

// session begins a session of a user, without a password: that takes its time.
func (w *world) session(u account.User) *client {
	w.t.Helper()
	c := w.d.Control()
	s := account.Session{ID: uuid.Must(uuid.NewV7()), User: u.ID, Created: time.Now(), Expires: time.Now().Add(time.Hour)}
	_, s.Refresh = account.NewSecret("")
	token, _, err := c.Tokens.Issue(u.ID, s.ID)
	if err == nil {
		u, err = c.Store.User(context.Background(), u.ID) // as they are now
	}
	if err == nil {
		err = c.Store.AddSession(context.Background(), s, u)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{w: w, token: token}
}

// withKey gives a user an API key and calls with it.
func (w *world) withKey(u account.User) *client {
	w.t.Helper()
	c := &client{w: w}
	store := w.d.Control().Store
	u, err := store.User(context.Background(), u.ID)
	if err == nil {
		c.key, u.APIKey = account.NewSecret("")
		_, err = store.PutUser(context.Background(), u)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// admin is the administrator of the default tenant.
func (w *world) admin() *client { return w.as("admin") }

// do sends a request; body is JSON, a reader, or nil.
func (c *client) do(method, path string, body any, header ...string) (*http.Response, []byte) {
	c.w.t.Helper()
	var r io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r = b
	case string:
		r = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			c.w.t.Fatal(err)
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, c.w.url+path, r)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if r != nil {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.key != "" {
		req.Header.Set("ApiKey", c.key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	c.w.covers(method, path, resp.StatusCode)
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		c.w.t.Fatal(err)
	}
	return resp, data
}

// call sends a request that must be answered with the status, and reads its JSON.
func (c *client) call(method, path string, body any, status int, header ...string) map[string]any {
	c.w.t.Helper()
	resp, data := c.do(method, path, body, header...)
	if status != 0 && resp.StatusCode != status { // 0 = any
		c.w.t.Fatalf("%s %s: got %s, want %d: %s", method, path, resp.Status, status, data)
	}
	got := map[string]any{}
	if len(data) > 0 && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(data, &got); err != nil {
			c.w.t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
	}
	return got
}

// at reads a value by its path in JSON: "entries.0.name".
func at(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[name]
		case []any:
			var i int
			if _, err := fmt.Sscanf(name, "%d", &i); err != nil || i < 0 || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// word is at for text.
func word(v any, path string) string {
	s, _ := at(v, path).(string)
	return s
}
