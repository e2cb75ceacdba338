package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// An EngineSpec is what opens an engine.
type EngineSpec struct {
	URL     string // see EngineURL
	APIKey  string
	Timeout time.Duration
}

// A Trial is what an engine told when it was tried.
type Trial struct {
	Version      string
	Rules        []string // that it has for us
	Engines      []string // that are active
	Technologies []string // see scan.Describe
}

// testWithin bounds a test of an instance.
const testWithin = 10 * time.Second

// EngineURL is the URL of an engine for what operators give as an instance's:
// http and https are MetaDefender Core's.
func EngineURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	scheme, port := "mdcore", "80"
	switch strings.ToLower(u.Scheme) {
	case "https":
		scheme, port = "mdcores", "443"
	case "http":
	default:
		return raw
	}
	u.Scheme = scheme
	if u.Port() == "" && u.Hostname() != "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u.String()
}

// SpecOf opens an instance's secrets.
func SpecOf(box *seal.Box, in Instance) (EngineSpec, error) {
	s := EngineSpec{URL: EngineURL(in.URL), Timeout: in.Timeout}
	if in.APIKey == "" {
		return s, nil
	}
	var err error
	if s.APIKey, err = box.Open(SealPool, in.APIKey); err != nil {
		return s, fault.New(fault.Corrupt, "control", "instance "+in.ID.String(), fmt.Errorf("its API key: %w", err))
	}
	return s, nil
}

// allowedEngine says whether the caller may have an engine there: fault.Invalid or
// fault.Denied with the reason.
func (c *Control) allowedEngine(ctx context.Context, who account.Caller, raw string) error {
	const op = "control.Instance"
	u, err := url.Parse(raw)
	if err != nil || len(raw) > 2048 {
		return fault.New(fault.Invalid, op, "", errors.New("the URL cannot be read")) // its words may hold a secret
	}
	if u.User != nil {
		return fault.New(fault.Invalid, op, "", errors.New("the URL holds credentials: give an API key beside it"))
	}
	host := u.Hostname()
	if host == "" { // builtin:, or a socket
		if who.Tenant != account.DefaultTenant && u.Scheme != "builtin" {
			return fault.New(fault.Denied, op, "", errors.New("only the default tenant may use engines at a socket of this machine"))
		}
		return nil
	}
	if u.Query().Has("conf") && who.Tenant != account.DefaultTenant {
		return fault.New(fault.Denied, op, "", errors.New("only the default tenant may name files of this machine"))
	}
	if c.NoLoopback && loopback(host) {
		return fault.New(fault.Invalid, op, "", errors.New("an instance must not be at this machine's own address (server.loopback_instances)"))
	}
	g := c.Guard
	g.Loopback = g.Loopback || !c.NoLoopback
	return g.Check(ctx, (&url.URL{Scheme: "http", Host: u.Host}).String())
}

// loopback says whether a host is this machine as it names itself.
func loopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified())
}

// checkInstance says what is wrong with an instance as it is, without asking it.
func (c *Control) checkInstance(ctx context.Context, who account.Caller, in Instance) error {
	if in.Timeout != 0 && (in.Timeout < time.Second || in.Timeout > 24*time.Hour) {
		return fault.New(fault.Invalid, "control.Instance", "", errors.New("the timeout must be between 1 s and 24 h"))
	}
	if err := c.allowedEngine(ctx, who, in.URL); err != nil {
		return err
	}
	spec, err := SpecOf(c.Seal, in)
	if err != nil || c.Engines == nil {
		return err
	}
	return c.Engines.CheckEngine(ctx, spec)
}

// checkImported says what is wrong with a noun that comes from an archive. A pool
// must not bring engines that its tenant may not have.
func (c *Control) checkImported(ctx context.Context, who account.Caller, n ledger.Noun) error {
	if n.Kind != ledger.Pool {
		return nil
	}
	body, err := decode[PoolBody](n)
	if err != nil {
		return err
	}
	if len(body.Instances) > maxInstances {
		return fault.New(fault.Invalid, "control.Import", "pool "+n.Name, fmt.Errorf("has %d instances", len(body.Instances)))
	}
	for _, in := range body.Instances {
		if err := errors.Join(knownType("control.Import", in.Type), c.checkInstance(ctx, who, in)); err != nil {
			return err
		}
	}
	return nil
}

// editPool changes a pool's body; f may run more than once where others change
// the pool at the same time.
func (c *Control) editPool(ctx context.Context, tenant int64, find func() (ledger.Noun, error), f func(*PoolBody) error) error {
	for try := 0; ; try++ {
		n, err := find()
		if err != nil {
			return err
		}
		if n.Managed {
			return fault.New(fault.Denied, "control", string(n.Kind)+" "+n.Name, errManaged)
		}
		body, err := decode[PoolBody](n)
		if err != nil {
			return err
		}
		if err := errors.Join(f(&body), encode(&n, body)); err != nil {
			return err
		}
		if _, err = c.setNoun(ctx, n); !fault.Is(err, fault.Changed) || try >= 10 {
			return err
		}
	}
}

// AddScanInstance adds an instance to a pool and puts it into use.
func (c *Control) AddScanInstance(ctx context.Context, pool ledger.ID, in Instance) (ledger.ID, error) {
	in.ID = ledger.NewID()
	return in.ID, c.do(ctx, act{action: "pool.add_instance", target: pool.String(), detail: in.ID.String()}, func(ctx context.Context, who account.Caller) error {
		if err := knownType("control.AddScanInstance", in.Type); err != nil {
			return err
		}
		if in.APIKey != "" {
			in.APIKey = c.Seal.Seal(SealPool, in.APIKey)
		}
		find := func() (ledger.Noun, error) { return c.noun(ctx, who.Tenant, ledger.Pool, pool) }
		return c.editPool(ctx, who.Tenant, find, func(p *PoolBody) error {
			if err := c.checkInstance(ctx, who, in); err != nil {
				return err
			}
			return p.add(in)
		})
	})
}

func (p *PoolBody) add(in Instance) error {
	const op = "control.AddScanInstance"
	if len(p.Instances) >= maxInstances {
		return fault.New(fault.Invalid, op, "", fmt.Errorf("the pool has %d instances: no more are possible", len(p.Instances)))
	}
	for _, other := range p.Instances {
		if other.ID != in.ID && EngineURL(other.URL) == EngineURL(in.URL) {
			return fault.New(fault.Exists, op, "", errors.New("the pool has an instance at this URL"))
		}
	}
	p.Instances = append(p.Instances, in)
	return nil
}

// An InstanceChange is what is to be another; nil stays as it is.
type InstanceChange struct {
	URL     *string
	APIKey  *string
	Timeout *time.Duration
}

// SetScanInstance changes an instance.
func (c *Control) SetScanInstance(ctx context.Context, id ledger.ID, ch InstanceChange) error {
	return c.do(ctx, act{action: "pool.set_instance", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		find := func() (n ledger.Noun, err error) { n, _, err = c.instance(ctx, who.Tenant, id); return n, err }
		return c.editPool(ctx, who.Tenant, find, func(p *PoolBody) error {
			i := slices.IndexFunc(p.Instances, func(in Instance) bool { return in.ID == id })
			if i < 0 {
				return fault.New(fault.NotFound, "control.SetScanInstance", "instance", nil)
			}
			in := p.Instances[i]
			if ch.URL != nil {
				if EngineURL(*ch.URL) != EngineURL(in.URL) {
					in.APIKey = "" // a key is for the place that it was given for
				}
				in.URL = *ch.URL
			}
			if ch.APIKey != nil {
				in.APIKey = ""
				if *ch.APIKey != "" {
					in.APIKey = c.Seal.Seal(SealPool, *ch.APIKey)
				}
			}
			if ch.Timeout != nil {
				in.Timeout = *ch.Timeout
			}
			if err := c.checkInstance(ctx, who, in); err != nil {
				return err
			}
			rest := PoolBody{Instances: slices.Delete(slices.Clone(p.Instances), i, i+1)}
			if err := rest.add(in); err != nil {
				return err
			}
			p.Instances[i] = in
			return nil
		})
	})
}

// RemoveScanInstance takes an instance out of its pool; what it has in work comes
// to its end.
func (c *Control) RemoveScanInstance(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "pool.remove_instance", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		find := func() (n ledger.Noun, err error) { n, _, err = c.instance(ctx, who.Tenant, id); return n, err }
		return c.editPool(ctx, who.Tenant, find, func(p *PoolBody) error {
			p.Instances = slices.DeleteFunc(p.Instances, func(in Instance) bool { return in.ID == id })
			return nil
		})
	})
}

// TestScanInstance connects to an engine and says what it is: fault.Invalid,
// fault.Denied or fault.Unavailable with what is wrong. It changes nothing.
func (c *Control) TestScanInstance(ctx context.Context, raw, key, userAgent string, rules []string) (Trial, error) {
	return get(ctx, c, act{action: "pool.test", target: hostIn(raw)}, func(ctx context.Context, who account.Caller) (Trial, error) {
		if err := c.allowedEngine(ctx, who, raw); err != nil {
			return Trial{}, err
		}
		if c.Engines == nil {
			return Trial{}, noDaemon("engine test")
		}
		tctx, cancel := context.WithTimeout(ctx, testWithin)
		defer cancel()
		t, err := c.Engines.Try(tctx, EngineSpec{URL: EngineURL(raw), APIKey: key}, userAgent)
		switch {
		case ctx.Err() == nil && tctx.Err() != nil:
			return t, fault.New(fault.Unavailable, "control.Test", "", fmt.Errorf("no answer within %s", testWithin))
		case err != nil:
			return t, err
		}
		for _, r := range rules {
			if len(t.Rules) > 0 && !slices.Contains(t.Rules, r) {
				return t, fault.New(fault.Invalid, "control.Test", "", fmt.Errorf("there is no rule %q for us; there are: %s", r, strings.Join(t.Rules, ", ")))
			}
		}
		return t, nil
	})
}

// hostIn names where a URL points to, without what secret it may hold.
func hostIn(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return clip(u.Host)
	}
	return ""
}

func (c *Control) instance(ctx context.Context, tenant int64, id ledger.ID) (ledger.Noun, int, error) {
	list, err := c.nouns(ctx, tenant, ledger.Pool)
	if err != nil {
		return ledger.Noun{}, 0, err
	}
	for _, n := range list {
		body, err := decode[PoolBody](n)
		if err != nil {
			return n, 0, err
		}
		if i := slices.IndexFunc(body.Instances, func(in Instance) bool { return in.ID == id }); i >= 0 {
			return n, i, nil
		}
	}
	return ledger.Noun{}, 0, fault.New(fault.NotFound, "control.ScanInstance", "instance", nil)
}
