package smb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// What the server does not protect as demanded, or does not let us do, is
// refused in clear words when the unit is opened.
func TestRefused(t *testing.T) {
	t.Parallel()
	strict := servers.StartSamba(t)
	clear := servers.StartSamba(t, "server smb encrypt = off", "server signing = auto")
	sealed := servers.StartSamba(t, "server smb encrypt = default", "[sealed]", "path = /usr/share", "server smb encrypt = required")
	old := servers.StartSamba(t, "server smb encrypt = off", "server max protocol = SMB2_10")
	guest := servers.StartSamba(t, "server smb encrypt = off", "server signing = auto", "map to guest = bad user", "guest account = nobody", "guest ok = yes")
	for name, c := range map[string]struct {
		srv     *servers.Samba
		share   string
		options map[string]string
		kind    fault.Kind // Other: it opens
		words   string
	}{
		"as it should be":             {srv: strict},
		"wrong password":              {srv: strict, options: map[string]string{"password": "not-the-password"}, kind: fault.Denied, words: "wrong user or password"},
		"no such user":                {srv: strict, options: map[string]string{"user": "nobody-at-all"}, kind: fault.Denied, words: "wrong user or password"},
		"no such share":               {srv: strict, share: "nothing", kind: fault.NotFound, words: "no such share"},
		"no such folder":              {srv: strict, share: "plain/nothing/here", kind: fault.NotFound, words: "folder is gone"},
		"not encrypted":               {srv: clear, kind: fault.Denied, words: "does not encrypt"},
		"not encrypted, and allowed":  {srv: clear, options: map[string]string{"encrypt": "off"}},
		"the share encrypts":          {srv: sealed, share: "sealed/doc"},
		"another share encrypts":      {srv: sealed, kind: fault.Denied, words: "does not encrypt"},
		"cannot encrypt":              {srv: old, kind: fault.Denied, words: "SMB 2.1, which cannot encrypt"},
		"cannot encrypt, and allowed": {srv: old, options: map[string]string{"encrypt": "off"}},
		"a guest is not signed":       {srv: guest, options: map[string]string{"encrypt": "off", "user": "stranger"}, kind: fault.Denied, words: "guest"},
		"a guest is not encrypted":    {srv: guest, options: map[string]string{"user": "stranger"}, kind: fault.Denied, words: "guest"},
		"a guest, and all is allowed": {srv: guest, options: map[string]string{"encrypt": "off", "sign": "off", "user": "stranger"}},
		"nobody listens":              {srv: &servers.Samba{Host: "127.0.0.1", Port: "1", User: "u"}, kind: fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			share := c.share
			if share == "" {
				share = "plain"
			}
			u := connectors.Unit{Name: "u", URL: "smb://" + c.srv.Host + ":" + c.srv.Port + "/" + share,
				Options: map[string]string{"user": c.srv.User, "password": c.srv.Password}}
			for k, v := range c.options {
				u.Options[k] = v
			}
			d, err := Open(t.Context(), u)
			if err == nil {
				if cerr := d.Close(); cerr != nil {
					t.Error(cerr)
				}
			}
			switch {
			case c.kind == fault.Other:
				if err != nil {
					t.Errorf("Open: %v", err)
				}
			case !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.words):
				t.Errorf("Open: got %v, want %v with %q", err, c.kind, c.words)
			case u.Options["password"] != "" && strings.Contains(err.Error(), u.Options["password"]):
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

// When the server is killed, calls end with fault.Unavailable, and when it is
// back the same driver goes on.
func TestRestart(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	other := p.client(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	if err := other.write("big", content); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(t.Context(), object.Ref{Key: "big"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	p.srv.Kill(t)
	if _, err := io.Copy(io.Discard, r); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a read from a server that was killed: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range 3 {
		if _, err := d.Stat(t.Context(), object.Ref{Key: "big"}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("Stat without a server: %v", err)
		}
	}
	for _, err := range d.List(t.Context(), "", "") {
		if gap := new(connectors.Gap); !fault.Is(err, fault.Unavailable) || errors.As(err, &gap) {
			t.Errorf("List without a server: %v", err)
		}
	}
	if err := d.Degraded(); err == nil {
		t.Error("nothing is said about the server that is gone")
	}
	p.srv.Start(t)
	got, err := d.Open(t.Context(), object.Ref{Key: "big"}, 0)
	if err != nil {
		t.Fatalf("Open after the restart: %v", err)
	}
	if b, err := io.ReadAll(got); err != nil || !bytes.Equal(b, content) {
		t.Errorf("read %d bytes after the restart, %v", len(b), err)
	}
	if err := got.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Degraded(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// Many calls share few sessions, also while some hold files open and others are
// cancelled; a session that is not needed is not opened.
func TestPool(t *testing.T) {
	t.Parallel()
	p := newPlace(t, servers.StartSamba(t), "plain")
	d := p.open(t)
	closing(t, d)
	sessions := func() (n int) {
		d.pool.mu.Lock()
		defer d.pool.mu.Unlock()
		for _, at := range d.pool.slots {
			if at.s.alive() {
				n++
			}
		}
		return n
	}
	p.client(t).must(t, "file", strings.Repeat("x", 1000))
	for range 20 {
		look(t, d, "file")
	}
	if n := sessions(); n != 1 {
		t.Errorf("one caller at a time has %d sessions", n)
	}
	var held []connectors.Reader
	for range 3 * maxSessions {
		r, err := d.Open(t.Context(), object.Ref{Key: "file"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%4 == 0 {
				time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
			}
			for range 20 {
				for _, err := range d.List(ctx, "", "") {
					if err != nil && (i%4 != 0 || !fault.Canceled(err)) {
						t.Errorf("List: %v", err)
					}
				}
				if _, err := d.Stat(ctx, object.Ref{Key: "file"}); err != nil && (i%4 != 0 || !fault.Canceled(err)) {
					t.Errorf("Stat: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for _, r := range held {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := sessions(); n < 2 || n > maxSessions {
		t.Errorf("there are %d sessions", n)
	}
}
