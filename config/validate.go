package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// maxName bounds a name, in bytes.
const maxName = 64

// Default is the name of the workflow and of the pool that exist without being
// configured.
const Default = "default"

// Quarantine is the name of the unit that holds what was put away, and of the
// workflow that puts away what is blocked, which exists without being configured.
const Quarantine = "quarantine"

// Validate checks what the parts of a configuration say of each other. Load
// has called it; it is for a Config that was changed or made in code.
func (c *Config) Validate() error { return c.check(Options{}).err() }

func (c *Config) check(o Options) Problems {
	v := &validator{c: c, o: o}
	v.settings()
	v.pools()
	v.workflows()
	v.accounts()
	v.units()
	v.events()
	return v.problems
}

type validator struct {
	c        *Config
	o        Options
	problems Problems
}

func (v *validator) add(path, hint, format string, args ...any) {
	v.problems.add(v.c.at(path, fmt.Sprintf(format, args...), hint))
}

func unitPath(i int) string        { return "units[" + strconv.Itoa(i) + "]" }
func poolPath(i int) string        { return "pools[" + strconv.Itoa(i) + "]" }
func accountPath(i int) string     { return "accounts[" + strconv.Itoa(i) + "]" }
func sourcePath(i int) string      { return "sources[" + strconv.Itoa(i) + "]" }
func hookPath(i int) string        { return "hooks[" + strconv.Itoa(i) + "]" }
func workflowPath(i int) string    { return "workflows[" + strconv.Itoa(i) + "]" }
func instancePath(i, j int) string { return poolPath(i) + ".instances[" + strconv.Itoa(j) + "]" }

func (v *validator) settings() {
	if v.c.Data == "" {
		v.add("data", "", "is empty")
	}
	if l := v.c.Server.Listen; l != "off" {
		host, port, err := net.SplitHostPort(l)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || n > 65535 || strings.ContainsAny(host, "/ ") {
			v.add("server.listen", "write HOST:PORT, like 127.0.0.1:8480, or off", "%s is no address to listen at", quote(l))
		}
	}
	for i, root := range v.c.Server.LocalRoots {
		if !path.IsAbs(root) {
			v.add("server.local_roots["+strconv.Itoa(i)+"]", "write the whole path, from / on", "%s is not an absolute folder", quote(root))
		}
	}
	for i, n := range v.c.Server.AllowNetworks {
		if _, err := netip.ParsePrefix(n); err != nil {
			v.add("server.allow_networks["+strconv.Itoa(i)+"]", "write it like 10.0.0.0/8 or fd00::/8", "%s is no network", quote(n))
		}
	}
	if dsn := v.c.Store.DSN.Reveal(); dsn != "" && !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		v.add("store.dsn", "leave it out for SQLite in the data folder", "not a postgres:// address")
	}
}

// names checks that the names of a sort of noun are well formed and unique.
func (v *validator) names(names []string, at func(int) string) {
	first := map[string]int{}
	for i, name := range names {
		if reason := badName(name); reason != "" {
			v.add(at(i)+".name", "", "the name %s %s", quote(name), reason)
			continue
		}
		if j, twice := first[name]; twice {
			v.add(at(i)+".name", "", "the name %s is taken by %s", quote(name), at(j))
			continue
		}
		first[name] = i
	}
}

func badName(name string) string {
	if len(name) > maxName {
		return "is longer than " + strconv.Itoa(maxName) + " bytes"
	}
	for i, r := range name {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		switch {
		case i == 0 && !letter:
			return "must begin with a letter or a digit"
		case !letter && !strings.ContainsRune(" ._-", r):
			return "may hold letters, digits, space, dot, _ and - only"
		}
	}
	if strings.HasSuffix(name, " ") {
		return "must not end in a space"
	}
	return ""
}

func (v *validator) pools() {
	known := v.poolNames()
	names := make([]string, len(v.c.Pools))
	for i, p := range v.c.Pools {
		names[i] = p.Name
		if len(p.Instances) == 0 {
			v.add(poolPath(i), "", "a pool needs at least one instance")
		}
		for j, in := range p.Instances {
			v.address(instancePath(i, j)+".url", in.URL, v.o.Engines)
		}
		switch {
		case p.Failover == "":
		case p.Failover == p.Name:
			v.add(poolPath(i)+".failover", "", "a pool cannot fail over to itself")
		case !contains(known, p.Failover):
			v.add(poolPath(i)+".failover", suggest(p.Failover, known), "there is no pool %s", quote(p.Failover))
		case v.circle(p):
			v.add(poolPath(i)+".failover", "", "the failover goes round in a circle")
		}
	}
	v.names(names, poolPath)
}

// circle reports whether the failover of p leads back to p.
func (v *validator) circle(p Pool) bool {
	next := map[string]string{}
	for _, q := range v.c.Pools {
		next[q.Name] = q.Failover
	}
	at := p.Failover
	for range v.c.Pools {
		if at == p.Name {
			return true
		}
		at = next[at]
	}
	return false
}

func (v *validator) poolNames() []string {
	names := []string{}
	for _, p := range v.c.Pools {
		names = append(names, p.Name)
	}
	if !contains(names, Default) {
		names = append(names, Default)
	}
	return names
}

func (v *validator) workflows() {
	pools, units := v.poolNames(), []string{}
	for _, u := range v.c.Units {
		units = append(units, u.Name)
	}
	names := make([]string, len(v.c.Workflows))
	for i, w := range v.c.Workflows {
		names[i] = w.Name
		refs, places := w.references()
		for path, o := range places {
			v.c.origin(path, o)
		}
		for j, p := range refs.Pools {
			if !contains(pools, p) {
				v.add(workflowPath(i)+".pools["+strconv.Itoa(j)+"]", suggest(p, pools), "there is no pool %s", quote(p))
			}
		}
		if refs.Failover != "" && !contains(pools, refs.Failover) {
			v.add(workflowPath(i)+".failover", suggest(refs.Failover, pools), "there is no pool %s", quote(refs.Failover))
		}
		for _, r := range []struct {
			name string
			remedy
		}{{"sanitized", refs.Sanitized}, {"blocked_sanitized", refs.BlockedSanitized}, {"blocked", refs.Blocked}, {"allowed", refs.Allowed}} {
			for j, d := range r.Destinations {
				at := workflowPath(i) + "." + r.name + ".destinations[" + strconv.Itoa(j) + "]"
				switch {
				case d.Unit == "":
					v.add(at, "", "unit is missing")
				case !contains(units, d.Unit):
					v.add(at+".unit", suggest(d.Unit, units), "there is no unit %s", quote(d.Unit))
				}
			}
		}
	}
	v.names(names, workflowPath)
}

// origin notes where the value at path is, unless a stronger source set it.
func (c *Config) origin(path string, o Origin) {
	if _, ok := c.origins[path]; !ok && c.origins != nil {
		c.origins[path] = o
	}
}

func (v *validator) units() {
	workflows := v.workflowNames()
	names, places := make([]string, len(v.c.Units)), make([]*url.URL, len(v.c.Units))
	for i, u := range v.c.Units {
		at := unitPath(i)
		names[i] = u.Name
		if u.Name == Quarantine {
			v.add(at+".name", "", "the name %s is the quarantine's own", quote(u.Name))
		}
		places[i] = v.address(at+".url", u.URL, v.o.Storages)
		if places[i] != nil && places[i].Scheme == "file" && (places[i].Host != "" || !path.IsAbs(places[i].Path)) {
			v.add(at+".url", "write file:///folder with three slashes", "a local folder must be absolute")
		}
		if u.Workflow != "" && !contains(workflows, u.Workflow) {
			v.add(at+".workflow", suggest(u.Workflow, workflows), "there is no workflow %s", quote(u.Workflow))
		}
		v.account(at, u, places[i])
		if u.Settle > 0 && u.SettleMax > 0 && u.Settle > u.SettleMax {
			v.add(at+".settle", "", "longer than settle_max (%s)", FormatDuration(u.SettleMax))
		}
		if u.Probe != "" && u.Probe != "off" && (!strings.HasSuffix(u.Probe, "/") || strings.HasPrefix(u.Probe, "/")) {
			v.add(at+".probe", "write a prefix like probe/, or off", "%s is not a prefix", quote(u.Probe))
		}
		v.partitions(at, u.Partitions)
		for j := range i {
			if overlap(places[i], places[j]) && u.Options["endpoint"].Equal(v.c.Units[j].Options["endpoint"]) && u.Account == v.c.Units[j].Account {
				v.add(at+".url", "make folders of one unit its partitions", "is the place of unit %s too, or inside it, or around it", quote(v.c.Units[j].Name))
				break
			}
		}
	}
	v.names(names, unitPath)
}

// partitions checks that the folders of a unit are inside it and apart.
func (v *validator) partitions(at string, folders []string) {
	for i, f := range folders {
		here := at + ".partitions[" + strconv.Itoa(i) + "]"
		if f == "" || strings.HasPrefix(f, "/") || path.Clean(f) != strings.TrimSuffix(f, "/") || f == ".." || strings.HasPrefix(f, "../") {
			v.add(here, "write it from the unit's root, like incoming/scans", "%s is not a folder of the unit", quote(f))
			continue
		}
		for _, other := range folders[:i] {
			if within := strings.TrimSuffix(f, "/") + "/"; strings.HasPrefix(within, strings.TrimSuffix(other, "/")+"/") || strings.HasPrefix(other+"/", within) {
				v.add(here, "", "is inside or around %s", quote(other))
				break
			}
		}
	}
}

// secretWords are what the name of a query parameter with a secret holds.
var secretWords = []string{"secret", "password", "passwd", "token", "api_key", "apikey"}

// address checks a URL of a storage or an engine and returns it, nil if it is
// none. URLs are shown and logged, so they must not hold secrets.
func (v *validator) address(at, raw string, schemes []string) *url.URL {
	if raw == "" {
		return nil // said already: it is missing
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		v.add(at, "begin with its scheme, like file:///folder or clamd://host:port", "not a URL")
		return nil
	}
	if _, set := u.User.Password(); set {
		v.add(at, "give it by an option, of an engine by api_key", "a password in a URL would be shown")
		return nil
	}
	for name := range u.Query() {
		for _, word := range secretWords {
			if strings.Contains(strings.ToLower(name), word) {
				v.add(at, "give it by an option, of an engine by api_key", "the secret %s in a URL would be shown", quote(name))
				return nil
			}
		}
	}
	if schemes != nil && !contains(schemes, u.Scheme) {
		v.add(at, suggest(u.Scheme, schemes), "unknown scheme %s", quote(u.Scheme))
		return nil
	}
	return u
}

// overlap reports whether one place is the other or inside it.
func overlap(a, b *url.URL) bool {
	if a == nil || b == nil || a.Scheme != b.Scheme || a.Host != b.Host || a.Query().Get("endpoint") != b.Query().Get("endpoint") {
		return false
	}
	x, y := path.Clean("/"+a.Path), path.Clean("/"+b.Path)
	return x == y || x == "/" || y == "/" || strings.HasPrefix(x, y+"/") || strings.HasPrefix(y, x+"/")
}
