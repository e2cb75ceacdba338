package daemon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
)

// Two places never share a name, and a name is one that units may have.
func TestUnitNames(t *testing.T) {
	seen := map[string]string{}
	for _, place := range []string{"a", "My Docs", "My_Docs", "営業", "経理", strings.Repeat("x", 80), strings.Repeat("x", 81), "a/b", "a_b", "ä", "ö"} {
		name := unitName("nas", place)
		if was, ok := seen[name]; ok || len(name) > 64 || !strings.HasPrefix(name, "nas.") {
			t.Errorf("%q is %q, as %q is", place, name, was)
		}
		seen[name] = place
	}
	if unitName("nas", "a") != "nas.a" {
		t.Error("a plain name was changed")
	}
}

// What cannot be a unit is left out and told; the others are units.
func TestDiscoveredUnits(t *testing.T) {
	account := func(name, url string) config.Account {
		return config.Account{Name: name, URL: url, Discover: config.Discover{Include: []string{"*"}}}
	}
	found := func(names ...string) (l []connectors.Found) {
		for _, n := range names {
			l = append(l, connectors.Found{Name: n, URL: "s3://" + n})
		}
		return l
	}
	c := &config.Config{Accounts: []config.Account{account("one", "s3://?endpoint=http://h1"), account("two", "s3://?endpoint=http://h2"), account("three", "s3://?endpoint=http://h1")}}
	d := discovery{"one": found("good", "evil--x-s3", "a b", "mine"), "two": found("good"), "three": found("good")}
	units, not := d.units(c, []connectors.Unit{{Name: "mine", URL: "s3://mine?endpoint=http://h1"}})
	var names, lost []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	for _, s := range not {
		lost = append(lost, s.account+":"+s.place)
	}
	if got := fmt.Sprint(names); got != "[one.good two.good]" {
		t.Errorf("units %s", got)
	}
	if got := fmt.Sprint(lost); got != "[one:evil--x-s3 one:a b three:good]" {
		t.Errorf("left out %s", got)
	}
	// Thousands of places take moments.
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("bucket-%04d", i))
	}
	start := time.Now()
	if units, _ := (discovery{"one": found(many...)}).units(c, nil); len(units) != len(many) {
		t.Errorf("%d units of %d", len(units), len(many))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What an account had is served after a restart too, also while it cannot be
// asked; and an account that lists nothing all at once is not believed at once.
func TestDiscoveredOutliveARestart(t *testing.T) {
	var mode atomic.Value
	mode.Store("two")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		switch {
		case r.URL.Path != "/":
			fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`)
		case mode.Load() == "denied":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<Error><Code>AccessDenied</Code></Error>`)
		case mode.Load() == "nothing":
			fmt.Fprint(w, `<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>`)
		default:
			fmt.Fprint(w, `<ListAllMyBucketsResult><Buckets><Bucket><Name>good1</Name></Bucket><Bucket><Name>evil--x-s3</Name></Bucket><Bucket><Name>good2</Name></Bucket></Buckets></ListAllMyBucketsResult>`)
		}
	}))
	defer s.Close()
	w := newWorld(t)
	w.configure("server: {listen: 'off'}\naccounts:\n  - {name: acc, url: 's3://?region=x&endpoint=" + s.URL + "', options: {access_key: a, secret_key: b}, discover: {include: ['*'], every: 1s}}\n")
	two := func(r *running) {
		t.Helper()
		w.eventually("both buckets are units", func() error {
			if n := len(r.list()); n != 2 {
				return fmt.Errorf("%d units", n)
			}
			return nil
		})
	}
	r := w.start()
	two(r)
	w.logged(0, "becomes no unit", "evil--x-s3")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	mode.Store("denied")
	r = w.start()
	if n := len(r.list()); n != 2 {
		t.Fatalf("%d units right after a restart", n)
	}
	w.eventually("the account's trouble is told", func() error {
		if r.checkAccounts(t.Context()) == nil {
			return fmt.Errorf("nothing is")
		}
		return nil
	})
	mode.Store("nothing")
	w.eventually("an account that lists nothing twice has no units", func() error {
		if n := len(r.list()); n != 0 {
			return fmt.Errorf("%d units", n)
		}
		return nil
	})
	w.logged(0, "it lists nothing, where there were", "places")
}
