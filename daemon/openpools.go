package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/all"
	"github.com/landwaiter/landwaiter/scan/box"
	"github.com/landwaiter/landwaiter/scan/builtin"
	"github.com/landwaiter/landwaiter/scan/clamd"
	"github.com/landwaiter/landwaiter/scan/mdcore"
)

// A poolSpec is a pool that is wanted.
type poolSpec struct {
	config.Pool
	keys    []string // by which workflows name it; the first is its own
	lenient bool     // that it cannot be opened must not keep the others from it
}

// filePools are the pools of a configuration; the builtin engine is the pool
// default where none has that name.
func filePools(c *config.Config) []poolSpec {
	wanted := c.Pools
	if !hasPool(wanted, DefaultPool) {
		wanted = append([]config.Pool{config.NewPool(DefaultPool, config.Instance{URL: "builtin:"})}, wanted...)
	}
	list := make([]poolSpec, 0, len(wanted))
	for _, p := range wanted {
		list = append(list, poolSpec{Pool: p, keys: []string{p.Name, poolKey(filePoolID(p.Name))}})
	}
	return list
}

// A pool is an open pool with what it is made of.
type pool struct {
	*scan.Pool
	spec  poolSpec
	plain string // of spec, secrets as text, to be compared
	spare *pool  // its failover
	gone  chan struct{}
	once  sync.Once
	err   error // of close
}

// close closes the engines; doing it again changes nothing.
func (p *pool) close() error {
	p.once.Do(func() { p.err = p.Pool.Close() })
	return p.err
}

// An opening is pools that are open, or about to be, and not in use yet.
type opening struct {
	list  []*pool // all that is wanted, those that stay included
	fresh []*pool
}

// close gives back what was opened and is not to be used after all.
func (o *opening) close() error {
	var errs []error
	for _, p := range o.fresh {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// openPools opens the pools of a configuration.
func openPools(ctx context.Context, c *config.Config, b *box.Pool, log *slog.Logger) (*pools, error) {
	ps := newPools(c, b, log)
	o, err := ps.open(ctx, filePools(c))
	if err != nil {
		return nil, err
	}
	ps.use(o)
	return ps, nil
}

// open opens what is wanted and not open as it should be, and changes nothing:
// use puts it into force. A pool whose failover is opened anew is opened anew.
func (ps *pools) open(ctx context.Context, wanted []poolSpec) (o *opening, err error) {
	o = &opening{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	now := map[string]*pool{}
	for _, p := range ps.all() {
		now[p.spec.keys[0]] = p
	}
	open, failed := map[string]*pool{}, map[string]bool{}
	// A pool's failover must be there before it: those without one come first.
	for done := 0; done < len(wanted); {
		before := done
		for _, spec := range wanted {
			key := spec.keys[0]
			if open[key] != nil || failed[key] || spec.Failover != "" && open[spec.Failover] == nil {
				continue
			}
			done++
			p := now[key]
			if p == nil || p.plain != plainPool(spec) || p.spare != open[spec.Failover] {
				if p, err = ps.one(ctx, spec, open[spec.Failover]); err != nil && spec.lenient {
					ps.log.Error("a pool cannot be served", "pool", spec.Name, "err", err)
					failed[key] = true
					continue
				} else if err != nil {
					return o, fmt.Errorf("pool %s: %w", spec.Name, err)
				}
				o.fresh = append(o.fresh, p)
			}
			open[key] = p
			o.list = append(o.list, p)
		}
		if done == before {
			return o, fault.New(fault.Invalid, "daemon.Pools", "", errors.New("pools fail over to each other in a circle"))
		}
	}
	return o, nil
}

// one opens one pool.
func (ps *pools) one(ctx context.Context, spec poolSpec, spare *pool) (*pool, error) {
	o := scan.PoolOptions{Name: spec.Name, Walker: ps.box, MaxDefinitionsAge: spec.MaxDefinitionsAge, AgeAsked: spec.AgeAsked, Log: ps.log}
	if spare != nil {
		o.Failover = spare.Pool
	}
	for _, in := range spec.Instances {
		inst, err := all.Instance(ctx, in.URL, in.URL, in.Limit, ps.options(in))
		if err != nil {
			for _, i := range o.Instances {
				err = errors.Join(err, i.Engine.Close())
			}
			return nil, err
		}
		o.Instances = append(o.Instances, inst)
	}
	return &pool{Pool: scan.NewPool(o), spec: spec, plain: plainPool(spec), spare: spare, gone: make(chan struct{})}, nil
}

// options are what an engine needs besides its URL.
func (ps *pools) options(in config.Instance) all.Options {
	return all.Options{
		Builtin: builtin.Options{Limits: ps.limits, Box: ps.box, Log: ps.log, HashLists: in.Hashes},
		Clamd:   clamd.Options{Timeout: in.Timeout},
		MDCore: mdcore.Options{APIKey: in.APIKey.Reveal(), Rule: in.Rule, User: in.User, Password: in.Password.Reveal(),
			CAFile: in.CAFile, Timeout: in.Timeout},
	}
}

// use puts opened pools into force. Those that are not wanted any more take
// nothing more; run closes them when what they have in work is through.
func (ps *pools) use(o *opening) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	stays := map[*pool]bool{}
	for _, p := range o.list {
		stays[p] = true
	}
	for _, p := range ps.list {
		if !stays[p] {
			close(p.gone)
			ps.leaving = append(ps.leaving, p)
		}
	}
	ps.list = o.list
	ps.begin = append(ps.begin, o.fresh...)
	select {
	case ps.moved <- struct{}{}:
	default:
	}
}

// run keeps the pools probed and proven until ctx ends, and sees off those that
// leave. Who leaves is closed by then, or by close.
func (ps *pools) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		ps.mu.Lock()
		fresh := ps.begin
		ps.begin = nil
		ps.mu.Unlock()
		for _, p := range fresh {
			wg.Go(func() { ps.keep(ctx, p) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ps.moved:
		}
	}
}

// keep runs one pool until ctx ends or nobody wants it; then what it has in work
// comes to its end, within the bound on one scan, and it is closed.
func (ps *pools) keep(ctx context.Context, p *pool) {
	rctx, stop := context.WithCancel(ctx)
	defer stop()
	var probes sync.WaitGroup
	probes.Go(func() {
		if err := p.Run(rctx); err != nil && rctx.Err() == nil {
			ps.log.Error("pool ended", "pool", p.Name(), "err", err)
		}
	})
	select {
	case <-ctx.Done():
		probes.Wait()
		return
	case <-p.gone:
	}
	stop()
	probes.Wait()
	dctx, cancel := context.WithTimeout(ctx, ps.drain)
	defer cancel()
	if err := p.Drain(dctx); err != nil && ctx.Err() == nil {
		ps.log.Warn("a pool is closed with work in it: that is done again", "pool", p.Name(), "after", ps.drain)
	}
	if err := p.close(); err != nil {
		ps.log.Warn("close pool", "pool", p.Name(), "err", err)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i, l := range ps.leaving {
		if l == p {
			ps.leaving = append(ps.leaving[:i:i], ps.leaving[i+1:]...)
			return
		}
	}
}

// close closes all that is open. Nobody may use a pool any more, and run must
// have ended.
func (ps *pools) close() error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var errs []error
	for _, p := range append(ps.list[:len(ps.list):len(ps.list)], ps.leaving...) {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// plainPool is a pool with its secrets as text, to be compared.
func plainPool(p poolSpec) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q %s %v\n", p.keys, p.Name, p.Failover, p.MaxDefinitionsAge, p.AgeAsked)
	for _, in := range p.Instances {
		fmt.Fprintf(&b, "%q %d %s %q %q %q %q %q %q\n", in.URL, in.Limit, in.Timeout, in.Rule, in.APIKey.Reveal(), in.User, in.Password.Reveal(), in.CAFile, in.Hashes)
	}
	return b.String()
}

func hasPool(list []config.Pool, name string) bool {
	for _, p := range list {
		if p.Name == name {
			return true
		}
	}
	return false
}
