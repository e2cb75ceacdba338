package notify_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A memory is a channel that keeps what it gets, and fails as told.
type memory struct {
	mu     sync.Mutex
	got    []ledger.Notice
	fail   func(attempt int, n ledger.Notice) error
	closed bool
}

func (m *memory) Deliver(_ context.Context, n ledger.Notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, n)
	if m.fail != nil {
		return m.fail(len(m.got), n)
	}
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *memory) seen() []ledger.Notice {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]ledger.Notice(nil), m.got...)
}

// A bench is a ledger and an outbox that runs on it.
type bench struct {
	t   *testing.T
	db  *store.DB
	box *notify.Outbox
	mu  sync.Mutex
	on  []notify.Line
}

func (b *bench) lines(context.Context) ([]notify.Line, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]notify.Line(nil), b.on...), nil
}

// set says which channels there are from now on.
func (b *bench) set(lines ...notify.Line) {
	b.mu.Lock()
	b.on = lines
	b.mu.Unlock()
	if err := b.box.Refresh(context.Background()); err != nil {
		b.t.Error(err)
	}
}

func line(channel string, m *memory) notify.Line {
	return notify.Line{Tenant: 1, Subscription: ledger.Subscription{Channel: channel}, Mark: "1", Open: func() (notify.Channel, error) { return m, nil }}
}

func openStore(t *testing.T, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newBench(t *testing.T, db *store.DB, bounds notify.Bounds, lines ...notify.Line) *bench {
	t.Helper()
	box, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, on: lines}
	b.box = notify.New(notify.Options{Store: db, Lines: b.lines, Seal: box, Bounds: bounds})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.box.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) add(channel string, n int) {
	b.t.Helper()
	for range n {
		if err := b.db.AddNotice(context.Background(), ledger.Notice{Tenant: 1, Channel: channel, Kind: ledger.NoticeMail, Body: []byte(`{}`)}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) left(givenUp *bool) (list []ledger.Notice) {
	b.t.Helper()
	list, _, err := b.db.Notices(context.Background(), ledger.NoticeFilter{Tenant: 1, GivenUp: givenUp, Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in 20 s: " + what)
		}
	}
}

func TestDelivery(t *testing.T) {
	m := &memory{}
	b := newBench(t, openStore(t, store.Options{Dir: t.TempDir()}), notify.Bounds{}, line("a", m))
	b.add("a", 250)
	wait(t, "the outbox to be empty", func() bool { return len(b.left(nil)) == 0 })
	seen := map[ledger.ID]bool{}
	for _, n := range m.seen() {
		seen[n.ID] = true
	}
	if len(seen) != 250 || len(m.seen()) != 250 {
		t.Errorf("%d notices in %d deliveries, want 250 of each", len(seen), len(m.seen()))
	}
}

// A receiver that is down for a while gets everything, each under its id; the
// others are not held up by it.
func TestReceiverIsDown(t *testing.T) {
	down, well := &memory{}, &memory{}
	var mu sync.Mutex
	broken := true
	down.fail = func(int, ledger.Notice) error {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return fault.New(fault.Unavailable, "test", "", errors.New("down"))
		}
		return nil
	}
	b := newBench(t, openStore(t, store.Options{Dir: t.TempDir()}), notify.Bounds{First: 50 * time.Millisecond}, line("down", down), line("well", well))
	b.add("down", 20)
	b.add("well", 20)
	wait(t, "the other channel", func() bool { return len(well.seen()) == 20 })
	wait(t, "two attempts", func() bool { return len(down.seen()) >= 2 })
	if n := len(down.seen()); n > 15 {
		t.Errorf("%d calls of a receiver that is down: those behind the first were to wait", n)
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	wait(t, "the outbox to be empty", func() bool { return len(b.left(nil)) == 0 })
	ids := map[ledger.ID]bool{}
	for _, n := range down.seen() {
		ids[n.ID] = true
	}
	if len(ids) != 20 {
		t.Errorf("%d notices, want 20", len(ids))
	}
}

func TestGivingUp(t *testing.T) {
	for name, c := range map[string]struct {
		kind  fault.Kind
		after time.Duration
		calls int
		left  int
	}{
		"after its attempts":                    {fault.Unavailable, 0, 3, 1},
		"at once where trying changes nothing":  {fault.Invalid, 0, 1, 1},
		"when asked to wait longer than it may": {fault.Throttled, 48 * time.Hour, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{fail: func(int, ledger.Notice) error {
				return &fault.Error{Op: "test", Kind: c.kind, After: c.after, Err: errors.New("not today")}
			}}
			b := newBench(t, openStore(t, store.Options{Dir: t.TempDir()}), notify.Bounds{Attempts: 3, First: 10 * time.Millisecond}, line("a", m))
			b.add("a", 1)
			up := true
			wait(t, "giving up", func() bool { return len(b.left(&up)) == 1 })
			if n := m.seen(); len(n) != c.calls || n[0].ID != n[len(n)-1].ID {
				t.Errorf("%d calls, want %d under one id", len(n), c.calls)
			}
			if got := b.left(&up)[0]; !strings.Contains(got.Error, "not today") || got.Attempts != c.calls {
				t.Errorf("%+v", got)
			}
			rows, _, err := b.db.Audit(context.Background(), ledger.AuditFilter{Tenant: 1, Search: "notice.give_up"})
			if err != nil || len(rows) != 1 || rows[0].Level != ledger.Error {
				t.Errorf("%v %+v", err, rows)
			}
		})
	}
}

// Retry-After is kept: the second attempt comes no sooner.
func TestRetryAfter(t *testing.T) {
	var mu sync.Mutex
	var times []time.Time
	m := &memory{fail: func(n int, _ ledger.Notice) error {
		mu.Lock()
		defer mu.Unlock()
		if times = append(times, time.Now()); n == 1 {
			return &fault.Error{Op: "test", Kind: fault.Throttled, After: 2 * time.Second}
		}
		return nil
	}}
	b := newBench(t, openStore(t, store.Options{Dir: t.TempDir()}), notify.Bounds{First: time.Millisecond}, line("a", m))
	b.add("a", 1)
	wait(t, "the second attempt", func() bool { return len(m.seen()) == 2 })
	mu.Lock()
	defer mu.Unlock()
	if got := times[1].Sub(times[0]); got < 2*time.Second {
		t.Errorf("tried again after %v, asked for 2 s", got)
	}
}

// A channel that is switched off is closed when its last notice is out; one that
// changed is opened anew.
func TestChannelsChange(t *testing.T) {
	first, next := &memory{}, &memory{}
	b := newBench(t, openStore(t, store.Options{Dir: t.TempDir()}), notify.Bounds{}, line("a", first))
	b.add("a", 1)
	wait(t, "the first", func() bool { return len(first.seen()) == 1 })
	changed := line("a", next)
	changed.Mark = "2"
	b.set(changed)
	wait(t, "the old one to be closed", func() bool { first.mu.Lock(); defer first.mu.Unlock(); return first.closed })
	b.add("a", 1)
	wait(t, "the next", func() bool { return len(next.seen()) == 1 })
	b.set()
	wait(t, "the last one to be closed", func() bool { next.mu.Lock(); defer next.mu.Unlock(); return next.closed })
	if len(first.seen()) != 1 {
		t.Error("the old channel got a notice after it was replaced")
	}
}

func TestMail(t *testing.T) {
	m := &memory{}
	b := newBench(t, openStore(t, store.Options{Dir: t.TempDir()}), notify.Bounds{}, line(notify.ChannelMail, m))
	wait(t, "the channel", func() bool { return b.box.Mail(t.Context(), 1, "ann@example.org", "Hello", "a secret text") == nil })
	wait(t, "the message", func() bool { return len(m.seen()) == 1 })
	if body := string(m.seen()[0].Body); strings.Contains(body, "secret text") || !strings.Contains(body, "ann@example.org") {
		t.Errorf("%s", body)
	}
	for want, err := range map[fault.Kind]error{fault.Unsupported: b.box.Mail(t.Context(), 2, "ann@example.org", "s", "t"), fault.Invalid: b.box.Mail(t.Context(), 1, "ann", "s", "t")} {
		if !fault.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if err := b.box.Mail(t.Context(), 1, "ann@example.org", "s\r\nBcc: x", "t"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a subject of two lines: %v", err)
	}
}

// Two nodes deliver each notice once.
func TestTwoNodes(t *testing.T) {
	dsn := servers.Postgres(t)
	a, z := &memory{}, &memory{}
	one := newBench(t, openStore(t, store.Options{DSN: dsn, Lease: 2 * time.Second}), notify.Bounds{}, line("a", a))
	newBench(t, openStore(t, store.Options{DSN: dsn, Lease: 2 * time.Second}), notify.Bounds{}, line("a", z))
	one.add("a", 300)
	wait(t, "the outbox to be empty", func() bool { return len(one.left(nil)) == 0 })
	ids := map[ledger.ID]int{}
	for _, n := range append(a.seen(), z.seen()...) {
		ids[n.ID]++
	}
	twice := 0
	for _, n := range ids {
		if n > 1 {
			twice++
		}
	}
	t.Logf("cases=%d violations=%d nodes=%d+%d", len(ids), twice, len(a.seen()), len(z.seen()))
	if len(ids) != 300 || twice > 0 {
		t.Errorf("%d notices, %d of them twice", len(ids), twice)
	}
}

// What waits for a channel that cannot be opened now goes on waiting; what waits
// for one that is switched off is dropped, and the audit says so.
func TestChannelThatCannotBeOpened(t *testing.T) {
	m := &memory{}
	broken := notify.Line{Tenant: 1, Subscription: ledger.Subscription{Channel: "broken"}}
	db := openStore(t, store.Options{Dir: t.TempDir()})
	for _, channel := range []string{"broken", "off"} {
		if err := db.AddNotice(t.Context(), ledger.Notice{Tenant: 1, Channel: channel, Kind: ledger.NoticeMail, Body: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, db, notify.Bounds{}, broken)
	wait(t, "one to be dropped", func() bool { return len(b.left(nil)) == 1 })
	if rows, _, err := db.Audit(t.Context(), ledger.AuditFilter{Search: "notice.drop"}); err != nil || len(rows) != 1 || rows[0].Target != "off" {
		t.Errorf("%v %+v", err, rows)
	}
	b.set(line("broken", m))
	wait(t, "the other", func() bool { return len(m.seen()) == 1 })
}
