package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
)

// someone is a user to be.
func someone(login string, r account.Role) account.User {
	return account.User{Login: login, Name: "N " + login, Email: login + "@example.org", Role: r, Tenant: 1, Password: "$argon2id$" + login}
}

func want(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
	}
}

func testUsers(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	if must(db.HasAdministrator(ctx))(t) {
		t.Error("an administrator of nowhere")
	}
	ann := someone("ann\u00e9", account.Administrator)
	ann.SSO, ann.APIKey, ann.Tours = "1:sub", account.SumOf("key"), map[int]time.Time{1: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	ann = must(db.AddUser(ctx, ann, account.Admission{}))(t)
	for name, got := range map[string]account.User{"id": must(db.User(ctx, ann.ID))(t), "login": must(db.UserOf(ctx, ann.Login))(t),
		"key": must(db.UserByKey(ctx, account.SumOf("key")))(t), "sso": must(db.UserBySSO(ctx, "1:sub"))(t), "email": must(db.UsersByEmail(ctx, ann.Email))(t)[0]} {
		if diff := cmp.Diff(ann, got); diff != "" {
			t.Errorf("by %s: %s", name, diff)
		}
	}
	for _, other := range []account.User{{Login: ann.Login}, {Login: "x", SSO: ann.SSO}, {Login: "y", APIKey: ann.APIKey}} {
		want(t, second(db.AddUser(ctx, other, account.Admission{})), fault.Exists)
		want(t, second(db.PutUser(ctx, other)), fault.Exists)
	}
	want(t, second(db.AddUser(ctx, account.User{Login: "z", Tenant: 99}, account.Admission{})), fault.NotFound)
	for _, login := range []string{"w1", "w2"} {
		must(db.AddUser(ctx, someone(login, account.None), account.Admission{Waiting: 2}))(t)
	}
	want(t, second(db.AddUser(ctx, someone("w3", account.None), account.Admission{Waiting: 2})), fault.Throttled)
	if all, none := must(db.Users(ctx, 0))(t), must(db.Users(ctx, 7))(t); len(all) != 3 || len(none) != 0 || all[0].ID != ann.ID {
		t.Errorf("%d users, %d of a tenant that has none", len(all), len(none))
	}
	for range 2 {
		if err := db.NoteLogin(ctx, ann.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(db.User(ctx, ann.ID))(t); got.Failures != 2 || got.Failed.IsZero() || !got.Changed.Equal(ann.Changed) {
		t.Errorf("after two failed logins: %+v", got)
	}
	if err := db.NoteLogin(ctx, ann.ID, true); err != nil {
		t.Fatal(err)
	}
	if got := must(db.User(ctx, ann.ID))(t); got.Failures != 0 {
		t.Errorf("%d failures after a login", got.Failures)
	}
	// Changes at once are made one after the other.
	var g sync.WaitGroup
	for i := range 20 {
		g.Go(func() {
			if _, err := db.ChangeUser(ctx, ann.ID, func(u *account.User) error { u.Tours[100+i] = time.Unix(int64(i), 0); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if got := must(db.User(ctx, ann.ID))(t); len(got.Tours) != 21 {
		t.Errorf("%d tours of 21", len(got.Tours))
	}
	refused := fmt.Errorf("no")
	if _, err := db.ChangeUser(ctx, ann.ID, func(u *account.User) error { u.Name = "other"; return refused }); err == nil || must(db.User(ctx, ann.ID))(t).Name != ann.Name {
		t.Errorf("a change that was refused: %v", err)
	}
	want(t, second(db.ChangeUser(ctx, ann.ID, func(u *account.User) error { u.Login = "w1"; return nil })), fault.Exists)
	want(t, second(db.ChangeUser(ctx, ledger.NewID(), func(*account.User) error { return nil })), fault.NotFound)
	want(t, db.DeleteUser(ctx, ledger.NewID()), fault.NotFound)
	for _, err := range []error{second(db.UserOf(ctx, "none")), second(db.UserByKey(ctx, []byte{1})), second(db.UserBySSO(ctx, "none"))} {
		want(t, err, fault.NotFound)
	}
}

// However many demote and delete at once, one administrator of all remains.
func testLastAdministrator(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	var ids []ledger.ID
	for i := range 8 {
		ids = append(ids, must(db.AddUser(ctx, someone(fmt.Sprint("a", i), account.Administrator), account.Admission{}))(t).ID)
	}
	sso := must(db.AddUser(ctx, someone("sso", account.SSOAdministrator), account.Admission{}))(t)
	var g sync.WaitGroup
	var refused atomic.Int64
	for i, id := range ids {
		g.Go(func() {
			err := db.DeleteUser(ctx, id)
			if i%2 == 0 {
				_, err = db.ChangeUser(ctx, id, func(u *account.User) error { u.Role = account.ReadOnlyAdministrator; return nil })
			}
			if fault.Is(err, fault.Exists) {
				refused.Add(1)
			} else if err != nil && !fault.Is(err, fault.NotFound) {
				t.Error(err)
			}
		})
	}
	g.Wait()
	n := 0
	for _, u := range must(db.Users(ctx, 0))(t) {
		if u.IsRoot() {
			n++
		}
	}
	if n != 1 || refused.Load() != 1 || !must(db.HasAdministrator(ctx))(t) {
		t.Errorf("%d administrators left, %d refusals; want one of each", n, refused.Load())
	}
	if err := db.DeleteUser(ctx, sso.ID); err != nil {
		t.Error(err)
	}
}

func testSessions(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	u := must(db.AddUser(ctx, someone("ann", account.Administrator), account.Admission{}))(t)
	must(db.AddUser(ctx, someone("bob", account.Administrator), account.Admission{}))(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	add := func(refresh string, expires time.Time) ledger.ID {
		t.Helper()
		s := account.Session{ID: ledger.NewID(), User: u.ID, Refresh: account.SumOf(refresh), Created: now, Expires: expires}
		if err := db.AddSession(ctx, s, must(db.User(ctx, u.ID))(t)); err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	hour := now.Add(time.Hour)
	first, over := add("r1", hour), add("r0", now.Add(-time.Second))
	want(t, second(db.Session(ctx, over)), fault.NotFound)
	if s := must(db.Session(ctx, first))(t); s.User != u.ID || !s.Expires.Equal(hour) {
		t.Errorf("%+v", s)
	}
	// Of many who turn it with the same token one succeeds; the others, who show a
	// token that was used, end it.
	if err := db.TurnSession(ctx, first, account.SumOf("r1"), account.SumOf("r2"), hour); err != nil {
		t.Fatal(err)
	}
	if err := db.TurnSession(ctx, first, account.SumOf("r2"), account.SumOf("r3"), hour); err != nil {
		t.Fatal(err)
	}
	want(t, db.TurnSession(ctx, first, account.SumOf("r1"), account.SumOf("r4"), hour), fault.Changed)
	want(t, second(db.Session(ctx, first)), fault.NotFound)
	want(t, db.TurnSession(ctx, first, account.SumOf("r3"), account.SumOf("r5"), hour), fault.Changed)
	raced := add("q", hour)
	var turned atomic.Int64
	var g sync.WaitGroup
	for i := range 10 {
		g.Go(func() {
			if db.TurnSession(ctx, raced, account.SumOf("q"), account.SumOf(fmt.Sprint("q", i)), hour) == nil {
				turned.Add(1)
			}
		})
	}
	g.Wait()
	if turned.Load() != 1 {
		t.Errorf("one refresh token was taken %d times", turned.Load())
	}
	want(t, second(db.Session(ctx, raced)), fault.NotFound)
	// Ends: one, all others, too many, by change and by removal.
	a, b := add("a", hour), add("b", hour)
	if err := db.ProlongSession(ctx, a, hour.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if s := must(db.Session(ctx, a))(t); !s.Expires.Equal(hour.Add(time.Hour)) {
		t.Errorf("prolonged to %v", s.Expires)
	}
	want(t, db.EndSession(ctx, ledger.NewID(), a), fault.NotFound)
	if err := db.EndSession(ctx, u.ID, a); err != nil {
		t.Fatal(err)
	}
	want(t, db.EndSession(ctx, u.ID, a), fault.NotFound)
	c := add("c", hour)
	if err := db.EndSessions(ctx, u.ID, b); err != nil {
		t.Fatal(err)
	}
	want(t, second(db.Session(ctx, c)), fault.NotFound)
	for i := range 110 {
		add(fmt.Sprint("many", i), hour)
	}
	if list := must(db.Sessions(ctx, u.ID))(t); len(list) != 100 {
		t.Errorf("%d sessions of one user, want 100", len(list))
	}
	before := must(db.User(ctx, u.ID))(t)
	must(db.ChangeUser(ctx, u.ID, func(u *account.User) error { u.Name = "Ann"; return nil }))(t)
	if len(must(db.Sessions(ctx, u.ID))(t)) != 100 {
		t.Error("another name ended sessions")
	}
	want(t, db.AddSession(ctx, account.Session{ID: ledger.NewID(), User: u.ID, Refresh: account.SumOf("late"), Created: now, Expires: hour}, before), fault.Changed)
	for what, change := range map[string]func(u *account.User){"role": func(u *account.User) { u.Role = account.ReadOnlyAdministrator }, "password": func(u *account.User) { u.Password = "other" }} {
		add(what, hour)
		must(db.ChangeUser(ctx, u.ID, func(u *account.User) error { change(u); return nil }))(t)
		if n := len(must(db.Sessions(ctx, u.ID))(t)); n != 0 {
			t.Errorf("%d sessions after another %s", n, what)
		}
	}
	last := add("last", hour)
	if err := db.DeleteUser(ctx, u.ID); err != nil {
		t.Fatal(err)
	}
	want(t, second(db.Session(ctx, last)), fault.NotFound)
}

func testTokens(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	token := func(name, kind string, owner ledger.ID, in time.Duration) account.Token {
		return account.Token{Hash: account.SumOf(name), Kind: kind, Owner: owner, Body: []byte(name), Expires: time.Now().UTC().Truncate(time.Microsecond).Add(in)}
	}
	owner := ledger.NewID()
	one := token("one", account.TokenReset, owner, time.Hour)
	if err := db.AddToken(ctx, one, account.TokenLimit{}); err != nil {
		t.Fatal(err)
	}
	want(t, db.AddToken(ctx, one, account.TokenLimit{}), fault.Exists)
	want(t, second(db.TakeToken(ctx, account.TokenSSO, one.Hash)), fault.NotFound)
	var taken atomic.Int64
	var g sync.WaitGroup
	for range 10 {
		g.Go(func() {
			if got, err := db.TakeToken(ctx, one.Kind, one.Hash); err == nil {
				taken.Add(1)
				if diff := cmp.Diff(one, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	g.Wait()
	if taken.Load() != 1 {
		t.Errorf("a token was taken %d times", taken.Load())
	}
	late := token("late", account.TokenReset, owner, -time.Second)
	if err := db.AddToken(ctx, late, account.TokenLimit{}); err != nil {
		t.Fatal(err)
	}
	want(t, second(db.TakeToken(ctx, late.Kind, late.Hash)), fault.NotFound)
	// One of an owner at a time, and not too soon after the other.
	gap := account.TokenLimit{Gap: time.Minute}
	if err := db.AddToken(ctx, token("g1", account.TokenReset, owner, time.Hour), gap); err != nil {
		t.Error(err)
	}
	want(t, db.AddToken(ctx, token("g2", account.TokenReset, owner, time.Hour), gap), fault.Throttled)
	if err := db.AddToken(ctx, token("g3", account.TokenReset, owner, 2*time.Hour), gap); err != nil {
		t.Error(err)
	}
	want(t, second(db.TakeToken(ctx, account.TokenReset, account.SumOf("g1"))), fault.NotFound)
	if err := db.AddToken(ctx, token("others", account.TokenReset, ledger.NewID(), time.Hour), gap); err != nil {
		t.Error(err)
	}
	// So many of a kind.
	few := account.TokenLimit{Most: 2}
	for i := range 3 {
		err := db.AddToken(ctx, token(fmt.Sprint("s", i), account.TokenSSO, ledger.ID{}, time.Hour), few)
		if (err == nil) != (i < 2) || i == 2 && !fault.Is(err, fault.Throttled) {
			t.Errorf("number %d: %v", i, err)
		}
	}
	// The setup token makes one administrator, and the first only.
	setup := token("setup", account.TokenSetup, ledger.ID{}, time.Hour)
	if err := db.AddToken(ctx, setup, account.TokenLimit{}); err != nil {
		t.Fatal(err)
	}
	want(t, second(db.AddUser(ctx, someone("x", account.Administrator), account.Admission{Setup: account.SumOf("wrong")})), fault.NotFound)
	var made atomic.Int64
	for i := range 5 {
		g.Go(func() {
			if _, err := db.AddUser(ctx, someone(fmt.Sprint("root", i), account.Administrator), account.Admission{Setup: setup.Hash}); err == nil {
				made.Add(1)
			}
		})
	}
	g.Wait()
	if made.Load() != 1 {
		t.Errorf("%d first administrators", made.Load())
	}
	if err := db.AddToken(ctx, setup, account.TokenLimit{}); err != nil {
		t.Fatal(err)
	}
	want(t, second(db.AddUser(ctx, someone("second", account.Administrator), account.Admission{Setup: setup.Hash})), fault.Exists)
}

func testTenants(t *testing.T, open func(testing.TB) *store.DB) {
	db := open(t)
	first := must(db.Tenants(ctx))(t)
	if len(first) != 1 || first[0].N != account.DefaultTenant || first[0].Created.Year() < 2020 {
		t.Errorf("%+v", first)
	}
	a := must(db.AddTenant(ctx, "A", 10))(t)
	want(t, second(db.AddTenant(ctx, "A", 10)), fault.Exists)
	want(t, second(db.AddTenant(ctx, "B", 2)), fault.Throttled)
	if diff := cmp.Diff(a, must(db.Tenant(ctx, a.ID))(t)); diff != "" {
		t.Error(diff)
	}
	want(t, db.SetTenant(ctx, a.ID, first[0].Name), fault.Exists)
	if err := db.SetTenant(ctx, a.ID, "A2"); err != nil {
		t.Fatal(err)
	}
	u := someone("a", account.TenantAdministrator)
	u.Tenant = a.N
	u = must(db.AddUser(ctx, u, account.Admission{}))(t)
	if list := must(db.Users(ctx, a.N))(t); len(list) != 1 || list[0].ID != u.ID {
		t.Errorf("%+v", list)
	}
	want(t, db.DeleteTenant(ctx, a.ID), fault.Exists)
	want(t, db.DeleteTenant(ctx, first[0].ID), fault.Exists)
	if err := db.DeleteUser(ctx, u.ID); err != nil {
		t.Fatal(err)
	}
	if err := db.DeleteTenant(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	want(t, db.DeleteTenant(ctx, a.ID), fault.NotFound)
	want(t, db.SetTenant(ctx, a.ID, "again"), fault.NotFound)
	want(t, second(db.AddUser(ctx, u, account.Admission{})), fault.NotFound)
	if b := must(db.AddTenant(ctx, "A2", 10))(t); b.N == a.N {
		t.Error("a number came again, and with it what was the other tenant's")
	}
}
