package mdcore_test

import (
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/mdcore"
	"github.com/landwaiter/landwaiter/scan/scantest"
	standin "github.com/landwaiter/landwaiter/test/servers/mdcore"
)

// The contract of scan.Engine, against the stand-in: with a key and at once,
// with a session and slowly, over TLS.
func TestSuite(t *testing.T) {
	rules := []standin.Rule{{Name: "R", MaxSize: 8 << 20}}
	for name, o := range map[string]standin.Options{
		"key":     {APIKey: "k", Rules: rules},
		"session": {Users: map[string]string{"u": "p"}, Rules: rules, Latency: 20 * time.Millisecond, NestedForm: true, NoReadyz: true},
		"tls":     {TLS: true, Rules: rules, NotFound: 404},
	} {
		t.Run(name, func(t *testing.T) {
			s := standin.Start(t, o)
			scantest.Run(t, scantest.Harness{Open: func(t *testing.T) scan.Engine {
				return open(t, s, func(m *mdcore.Options) {
					m.APIKey, m.Rule = o.APIKey, "R"
					if o.Users != nil {
						m.User, m.Password = "u", "p"
					}
					if o.TLS {
						m.CAFile = s.CAFile(t)
					}
				})
			}})
			if n := s.Sessions(); n != 0 {
				t.Errorf("%d sessions are left open", n)
			}
		})
	}
}

// The engine proves itself in a pool, fails over, and comes back.
func TestInPool(t *testing.T) {
	rules := []standin.Rule{{Name: "R", MaxSize: 1 << 20}}
	a := standin.Start(t, standin.Options{Rules: rules, MaxEntries: 50, MaxExpand: 4 << 20})
	b := standin.Start(t, standin.Options{Rules: rules, MaxEntries: 50, MaxExpand: 4 << 20})
	pool := scan.NewPool(scan.PoolOptions{Name: "core", Instances: []*scan.Instance{
		{Name: "a", Engine: open(t, a, func(o *mdcore.Options) { o.Rule = "R" })},
		{Name: "b", Engine: open(t, b, func(o *mdcore.Options) { o.Rule = "R" })},
	}})
	if !pool.Check(t.Context()) {
		t.Fatal("it is not ready")
	}
	ask := func(smp scan.Sample) scan.Report {
		t.Helper()
		rep, err := pool.Scan(t.Context(), smp)
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	if rep := ask(text("fine")); rep.Verdict != scan.Clean {
		t.Errorf("%+v", rep)
	}
	if rep := ask(sample("x", standin.EICAR())); rep.Verdict != scan.Infected {
		t.Errorf("%+v", rep)
	}
	if rep := ask(sample("big", make([]byte, 2<<20))); rep.Reason != scan.TooLarge {
		t.Errorf("%+v", rep)
	}
	if rep := ask(text("")); rep.Verdict != scan.Clean {
		t.Errorf("%+v", rep)
	}
	names := make([]string, 60)
	for i := range names {
		names[i] = itoa(i)
	}
	if rep := ask(sample("many.zip", zipOf(t, names, func(int) []byte { return []byte("x") }))); rep.Reason != scan.ArchiveFiles {
		t.Errorf("%+v", rep)
	}
	a.SetFull(true)
	for range 20 {
		if rep := ask(text("fine")); rep.Verdict != scan.Clean {
			t.Errorf("%+v", rep)
		}
	}
	b.SetFault(standin.Reset)
	if rep, err := pool.Scan(t.Context(), text("fine")); err == nil {
		t.Errorf("nobody is there, and yet: %+v", rep)
	}
	a.SetFull(false)
	b.SetFault(nil)
	if !pool.Check(t.Context()) {
		t.Error("it did not come back")
	}
}
