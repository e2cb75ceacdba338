package kafka

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is kfake: a stand-in for Kafka in this process that speaks the
// protocol. It is no broker.
func cluster(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(2, "lw")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func open(t *testing.T, o Options) *Kafka {
	t.Helper()
	k, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func notice(t *testing.T, kind ledger.NoticeKind, body any) ledger.Notice {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Notice{ID: ledger.NewID(), Kind: kind, Body: b, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func TestRecords(t *testing.T) {
	addrs := cluster(t)
	k := open(t, Options{Servers: addrs, Topic: "lw", Guard: outbound.Guard{Loopback: true}})
	want := map[string]string{}
	for _, n := range []ledger.Notice{notice(t, ledger.NoticeFile, ledger.FileNotice{Record: ledger.Record{Key: "a.txt"}, Code: 1}),
		notice(t, ledger.NoticeAudit, ledger.AuditRow{N: 7, Action: "group.add", Level: ledger.Error})} {
		if err := k.Deliver(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		want[n.ID.String()] = string(n.Kind)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumeTopics("lw"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(want) > 0 && ctx.Err() == nil {
		for _, r := range c.PollFetches(ctx).Records() {
			var got struct {
				ID, Kind string
				Time     time.Time
				Body     map[string]any
			}
			if err := json.Unmarshal(r.Value, &got); err != nil {
				t.Fatal(err)
			}
			if want[got.ID] != got.Kind || string(r.Key) != got.ID || got.Time.Year() != 2026 {
				t.Errorf("%s: %s", r.Key, r.Value)
			}
			if got.Kind == "file" && got.Body["key"] != "a.txt" || got.Kind == "audit" && (got.Body["action"] != "group.add" || got.Body["level"] != "Error") {
				t.Errorf("%s", r.Value)
			}
			delete(want, got.ID)
		}
	}
	if len(want) > 0 {
		t.Errorf("these did not arrive: %v", want)
	}
}

func TestLogin(t *testing.T) {
	addrs := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "right"), kfake.Superuser("SCRAM-SHA-256", "bob", "right"), kfake.Superuser("SCRAM-SHA-512", "eve", "right"))
	for _, c := range []struct {
		sasl, user, password string
		ok                   bool
	}{{"PLAIN", "ann", "right", true}, {"SCRAM-SHA-256", "bob", "right", true}, {"SCRAM-SHA-512", "eve", "right", true}, {"PLAIN", "ann", "wrong", false}} {
		k := open(t, Options{Servers: addrs, Topic: "lw", SASL: c.sasl, User: c.user, Password: c.password, Guard: outbound.Guard{Loopback: true}})
		patience := 20 * time.Second
		if !c.ok {
			patience = 2 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := k.Deliver(ctx, notice(t, ledger.NoticeScan, ledger.ScanNotice{}))
		cancel()
		if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s %s %s: %v", c.sasl, c.user, c.password, err)
		}
	}
}

func TestGuarded(t *testing.T) {
	k := open(t, Options{Servers: cluster(t), Topic: "lw"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := k.Deliver(ctx, notice(t, ledger.NoticeScan, ledger.ScanNotice{})); err == nil {
		t.Error("a broker in a network that may not be reached was reached")
	}
	if _, err := New(Options{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no servers: %v", err)
	}
}
