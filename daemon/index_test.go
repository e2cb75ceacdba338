package daemon

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/pipeline"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		url  string
		n    events.Notice
		want string // "" = not in it
	}{
		{"s3://landing", events.Notice{Vendor: "s3", Container: "landing", Key: "a/b"}, "a/b"},
		{"s3://landing/in%20box?region=x", events.Notice{Vendor: "s3", Container: "landing", Key: "in box/b"}, "b"},
		{"s3://landing/in", events.Notice{Vendor: "s3", Container: "landing", Key: "inbox/b"}, ""},
		{"s3://landing/in", events.Notice{Vendor: "s3", Container: "landing", Key: "in/"}, ""},
		{"s3://landing", events.Notice{Vendor: "s3", Container: "Landing", Key: "a"}, ""},
		{"s3://landing", events.Notice{Vendor: "gs", Container: "landing", Key: "a"}, ""},
		{"gs://landing/x", events.Notice{Vendor: "gs", Container: "landing", Key: "x/a"}, "a"},
		{"azblob://acc/box/in", events.Notice{Vendor: "azblob", Account: "acc", Container: "box", Key: "in/a"}, "a"},
		{"azblob://acc/box", events.Notice{Vendor: "azblob", Container: "box", Key: "a"}, "a"},
		{"azblob://acc/box", events.Notice{Vendor: "azblob", Account: "other", Container: "box", Key: "a"}, ""},
		{"azblob://acc/box", events.Notice{Vendor: "azblob", Account: "acc", Container: "boxes", Key: "a"}, ""},
		{"file:///srv", events.Notice{Vendor: events.ByUnit, Container: "u", Key: "a"}, "a"},
		{"file:///srv", events.Notice{Vendor: events.ByUnit, Container: "v", Key: "a"}, ""},
		{"file:///srv", events.Notice{Vendor: events.ByUnit, Container: "u"}, ""},
		{"file:///srv", events.Notice{Vendor: "file", Key: "a"}, ""},
	} {
		x := newIndex(map[string]pipeline.Unit{"u": {Unit: connectors.Unit{Name: "u", URL: c.url}}})
		got := ""
		for _, key := range x.find(&c.n) {
			got = key
		}
		if got != c.want {
			t.Errorf("%s, %+v: %q, want %q", c.url, c.n, got, c.want)
		}
	}
}

// keyIn is what the index must say, found the long way: the key that a notice's
// object has in one unit, if it lies there.
func keyIn(u connectors.Unit, n *events.Notice) (string, bool) {
	if n.Vendor == events.ByUnit {
		return n.Key, n.Container == u.Name && n.Key != ""
	}
	loc, err := url.Parse(u.URL)
	if err != nil || all.Scheme(u.URL) != n.Vendor {
		return "", false
	}
	container, root := loc.Host, strings.Trim(loc.Path, "/")
	if n.Vendor == "azblob" || n.Vendor == "smb" {
		if n.Account != "" && !strings.EqualFold(n.Account, loc.Host) && !strings.EqualFold(n.Account, loc.Hostname()) {
			return "", false
		}
		container, root, _ = strings.Cut(root, "/")
	}
	if container != n.Container {
		return "", false
	}
	if root != "" {
		root += "/"
	}
	key, ok := strings.CutPrefix(n.Key, root)
	return key, ok && key != ""
}

// TestIndex compares the index with a look at each unit, over places that lie
// side by side and one in the other, spelt in many ways.
func TestIndex(t *testing.T) {
	const seed, cases = 11, 20_000
	rnd := rand.New(rand.NewPCG(seed, 1))
	one := func(of ...string) string { return of[rnd.IntN(len(of))] }
	vendor := func() string { return one("s3", "gs", "azblob", "smb", "file", "") }
	// The last is a letter that only folds to another: the sign of kelvin.
	host := func() string { return one("", "a", "A", "b", "ab", "a:445", "ak", "a\u212a") }
	folder := func() string { return one("", "x", "x/y", "x/y/z", "xy", "x//y", "x y", "%41", "\xff") }
	matches, wrong := 0, 0
	for range cases / 20 {
		units := map[string]pipeline.Unit{}
		for i := range 12 {
			name := fmt.Sprintf("u%d", i)
			at := one("", "/") + one("a", "A", "b", "x") + "/" + folder() + one("", "/")
			u := connectors.Unit{ID: int64(i), Name: name, URL: vendor() + "://" + host() + "/" + at}
			units[name] = pipeline.Unit{Unit: u}
		}
		x := newIndex(units)
		for range 20 {
			n := events.Notice{Vendor: one(vendor(), vendor(), events.ByUnit), Account: host(), Container: one("a", "A", "b", "x", "", "u3"),
				Key: one("", folder()+"/") + one("", folder()+"/") + one("", "k", "x", "/")}
			want, got := map[string]string{}, map[string]string{}
			for name, u := range units {
				if key, ok := keyIn(u.Unit, &n); ok {
					want[name] = key
				}
			}
			twice := ""
			for s, key := range x.find(&n) {
				if _, ok := got[s.unit.Name]; ok {
					twice = s.unit.Name
				}
				got[s.unit.Name] = key
			}
			matches += len(want)
			if d := cmp.Diff(want, got); d != "" || twice != "" {
				wrong++
				t.Errorf("%+v (twice: %q)\n%s\nof %v", n, twice, d, slices.Collect(maps.Values(units)))
			}
		}
	}
	if matches < cases/20 {
		t.Errorf("only %d matches: the test looks at nothing", matches)
	}
	fmt.Printf("index: cases=%d violations=%d seed=%d matches=%d\n", cases, wrong, seed, matches)
}

// TestLooks counts what it takes to find the units of notices: the same among
// ten units and among ten thousand, in as many containers and in one.
func TestLooks(t *testing.T) {
	work := func(units int, address, container, key func(i int) string) (looks, seen int) {
		m := map[string]pipeline.Unit{}
		for i := range units {
			u := connectors.Unit{ID: int64(i), Name: fmt.Sprint("u", i), URL: address(i)}
			m[u.Name] = pipeline.Unit{Unit: u}
		}
		x := newIndex(m)
		for i := range 1000 {
			n := events.Notice{Vendor: "s3", Container: container(i % units), Key: key(i % units)}
			for p := range x.looks(&n) {
				looks++
				seen += len(x.at[p])
			}
		}
		return looks, seen
	}
	bucket := func(i int) string { return fmt.Sprint("bucket-", i) }
	for _, c := range []struct {
		name                    string
		address, container, key func(i int) string
	}{
		{"a bucket each", func(i int) string { return "s3://" + bucket(i) }, bucket, func(int) string { return "a/b/c/d/e" }},
		{"a folder each", func(i int) string { return fmt.Sprint("s3://all/tenants/", i) }, func(int) string { return "all" },
			func(i int) string { return fmt.Sprintf("tenants/%d/a/b/c/d/e", i) }},
	} {
		few, fewSeen := work(10, c.address, c.container, c.key)
		many, manySeen := work(10_000, c.address, c.container, c.key)
		if few != many || fewSeen != 1000 || manySeen != 1000 {
			t.Errorf("%s: %d looks at %d units of 10, %d at %d of 10,000; want the same, and 1000 units", c.name, few, fewSeen, many, manySeen)
		}
		fmt.Printf("router, %s: notices=1000 looks=%d units_seen=%d (10 units) looks=%d units_seen=%d (10,000 units)\n", c.name, few, fewSeen, many, manySeen)
	}
}
