package account_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRoles(t *testing.T) {
	const none, read, all, ssoAll, ssoRead, tenant = account.None, account.ReadOnlyAdministrator, account.Administrator, account.SSOAdministrator, account.SSOReadOnlyAdministrator, account.TenantAdministrator
	for _, c := range []struct {
		role account.Role
		most account.Permission
		rank int
	}{{none, account.Public, 0}, {read, account.Read, 1}, {ssoRead, account.Read, 1}, {tenant, account.Operate, 2}, {all, account.System, 3}, {ssoAll, account.System, 3}, {account.Invalid, account.Public, 0}, {3, account.Public, 0}} {
		for p := account.Public; p <= account.System; p++ {
			if c.role.May(p) != (p <= c.most) {
				t.Errorf("%v may %d: %v", c.role, p, c.role.May(p))
			}
		}
		for _, other := range []struct {
			role account.Role
			rank int
		}{{none, 0}, {read, 1}, {ssoRead, 1}, {tenant, 2}, {all, 3}, {ssoAll, 3}} {
			if c.role.Within(other.role) != (c.rank <= other.rank) {
				t.Errorf("%v within %v: %v", c.role, other.role, c.role.Within(other.role))
			}
		}
		if got, ok := account.ParseRole(c.role.String()); ok != c.role.Known() || ok && got != c.role {
			t.Errorf("%v is read as %v", c.role, got)
		}
	}
	for _, c := range []account.Caller{{Role: all, Tenant: 2}, {Role: ssoAll, Tenant: 2}, {Role: tenant, Tenant: 1}} {
		if c.May(account.System) || !c.May(account.Operate) {
			t.Errorf("%+v", c)
		}
	}
}

func TestPasswords(t *testing.T) {
	ctx := t.Context()
	for password, ok := range map[string]bool{"correct horse": true, "elevenchars": false, strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false, "ünïcödéwörds": true, "somebodyelse": false} {
		if err := account.CheckPassword(password, "SomebodyElse"); (err == nil) != ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%.20q: %v", password, err)
		}
	}
	one, err := account.HashPassword(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	two, err := account.HashPassword(ctx, "correct horse")
	if err != nil || one == two || !strings.HasPrefix(one, "$argon2id$v=19$m=47104,t=1,p=1$") {
		t.Errorf("%s, %s: %v", one, two, err)
	}
	for _, c := range []struct {
		phc, password string
		same          bool
		kind          fault.Kind
	}{
		{one, "correct horse", true, 0}, {one, "correct horsf", false, 0}, {one, "", false, 0}, {one, strings.Repeat("x", 5000), false, 0}, {"", "", false, 0}, {"", "correct horse", false, 0},
		{"plain", "plain", false, 0}, {"$argon2id$v=19$m=99999999,t=1,p=1$AAAA$AAAA", "x", false, fault.Corrupt}, {"$argon2id$v=19$m=64,t=0,p=1$AAAA$AAAA", "x", false, fault.Corrupt},
		{"$argon2id$v=1$m=64,t=1,p=1$AAAA$AAAA", "x", false, fault.Corrupt}, {"$argon2id$v=19$m=64,t=1,p=1$!$AAAA", "x", false, fault.Corrupt},
	} {
		same, err := account.SamePassword(ctx, c.phc, c.password)
		if same != c.same || fault.KindOf(err) != c.kind {
			t.Errorf("%.40s %.20s: %v, %v", c.phc, c.password, same, err)
		}
	}
}

// A flood of logins is turned away before it fills the memory.
func TestHashesAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g sync.WaitGroup
	var turned, ended atomic.Int64
	for range 300 {
		g.Go(func() {
			_, err := account.SamePassword(ctx, "", "x")
			if fault.Is(err, fault.Throttled) {
				turned.Add(1)
			}
			if ended.Add(1) == 150 {
				cancel() // enough was seen
			}
		})
	}
	g.Wait()
	if n := turned.Load(); n == 0 || n > 100 {
		t.Errorf("%d of 300 turned away", n)
	}
	if _, err := account.SamePassword(t.Context(), "", "x"); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

func TestTokens(t *testing.T) {
	now := time.Now()
	tokens := account.NewTokens([]byte(strings.Repeat("k", 32)), func() time.Time { return now })
	user, session := uuid.New(), uuid.New()
	token, expires, err := tokens.Issue(user, session)
	if err != nil || expires.Sub(now) > account.TokenLife || expires.Sub(now) < account.TokenLife-time.Second {
		t.Fatal(expires, err)
	}
	read := func(token string, expired, ok bool) {
		t.Helper()
		u, s, err := tokens.Read(token, expired)
		if (err == nil) != ok || ok && (u != user || s != session) || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%v %v: %v", u, s, err)
		}
	}
	read(token, false, true)
	now = now.Add(account.TokenLife + time.Second)
	read(token, false, false)
	read(token, true, true)
	read(token+"x", true, false)
	read("", true, false)
	other := account.NewTokens([]byte(strings.Repeat("o", 32)), func() time.Time { return now })
	if _, _, err := other.Read(token, true); err == nil {
		t.Error("another key's token, expired, was read")
	}
	one, sum := account.NewSecret("p_")
	two, _ := account.NewSecret("p_")
	if one == two || !strings.HasPrefix(one, "p_") || len(one) != 45 || string(account.SumOf(one)) != string(sum) {
		t.Error(one, two)
	}
	for header, want := range map[string]string{"Bearer a.b.c": "a.b.c", "bearer  x ": "x", "Basic x": "", "": "", "x": ""} {
		if got := account.Bearer(header); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}
