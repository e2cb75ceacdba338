package crash

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/store"
	"github.com/landwaiter/landwaiter/test/servers"
)

// hookKey signs the calls of the test as https://www.standardwebhooks.com says.
const hookKey = "twenty-four bytes at least"

// hookUnits are where the objects lie that calls tell of. None exists, so that no
// sweep can find what a call told and the ledger lost: those of the folder are
// looked for and found gone, those of the bucket wait for a server that is not there.
var hookUnits = []string{"folder", "bucket"}

// TestCrashHooks kills the daemon again and again at random moments while
// vendors call it over several connections. Of each call that was answered 2xx
// the ledger must have all that it told.
func TestCrashHooks(t *testing.T) {
	const connections = 8
	kills := number("TEST_KILLS", 10)
	chance, seed := seeded()
	p := newPlace(t)
	port := servers.FreePort(t)
	conf := fmt.Sprintf("data: %s\nserver: {listen: '127.0.0.1:%d'}\nhooks:\n  - {name: in, kind: standard, options: {secret: 'whsec_%s'}}\nunits:\n"+
		"  - {name: folder, url: 'file://%s', sweep: 1h}\n"+
		"  - {name: bucket, url: 's3://none?endpoint=http://127.0.0.1:%d&region=x', sweep: 1h, options: {access_key: a, secret_key: b}}\n",
		p.data, port, base64.StdEncoding.EncodeToString([]byte(hookKey)), p.inbox, servers.FreePort(t))
	file := filepath.Join(filepath.Dir(p.data), "landwaiter.yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer func() { stop(); wg.Wait() }()
	all := make([]*caller, connections)
	took := make(chan struct{}, 1)
	for i := range all {
		c := &caller{url: fmt.Sprintf("http://127.0.0.1:%d/hooks/in", port), name: fmt.Sprint("c", i), rnd: rand.New(rand.NewPCG(seed, uint64(i))), took: took,
			accepted: map[string][]string{}, client: http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
		all[i] = c
		wg.Go(func() { c.run(ctx) })
	}
	run := func() *process { return p.run("serve", "--config", file) }
	for kill := range kills {
		select {
		case <-took:
		default:
		}
		r := run()
		if kill%4 != 0 { // else it may die while it starts
			select {
			case <-took:
			case err := <-r.done:
				t.Fatalf("it ended by itself: %v\n%s", err, r.out.String())
			case <-time.After(time.Minute):
				t.Fatal("no call was accepted within a minute")
			}
		}
		time.Sleep(time.Duration(chance.IntN(400)) * time.Millisecond) // the moment to die
		if err := r.end(syscall.SIGKILL); err == nil || r.cmd.ProcessState.Exited() {
			t.Fatalf("it ended by itself: %v\n%s", err, r.out.String())
		}
	}
	stop()
	wg.Wait()

	calls, notices, again, lost := 0, 0, 0, 0
	known := p.keys(t)
	for _, c := range all {
		c.client.CloseIdleConnections()
		again += c.again
		for id, keys := range c.accepted {
			calls++
			for _, key := range keys {
				notices++
				if !known[key] {
					if lost++; lost <= 10 {
						t.Errorf("call %s was accepted, and the ledger knows nothing of %s", id, key)
					}
				}
			}
		}
	}
	if calls < kills {
		t.Errorf("only %d calls were accepted: the test looks at nothing", calls)
	}

	// What waited goes on at the next start.
	r := run()
	wait(t, 3*time.Minute, func() error {
		select {
		case err := <-r.done:
			t.Fatalf("it ended by itself: %v\n%s", err, r.out.String())
		default:
		}
		db, err := store.OpenReadOnly(context.Background(), store.Options{Dir: p.data})
		if err != nil {
			return err
		}
		defer db.Close()
		u, err := db.Unit(context.Background(), "folder")
		if err != nil {
			return err
		}
		if n, err := db.Backlog(context.Background(), u.ID); err != nil || n > 0 {
			return fmt.Errorf("%d entries are not finished: %w", n, err)
		}
		return nil
	})
	if err := r.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, r.out.String())
	}
	fmt.Printf("crash-hooks: cases=%d violations=%d seed=%d kills=%d connections=%d accepted=%d told=%d sent_again=%d lost=%d\n",
		calls, lost, seed, kills, connections, calls, notices, again, lost)
}

// A caller is a vendor that calls over a connection of its own and repeats each
// call until it is accepted.
type caller struct {
	url, name string
	rnd       *rand.Rand
	client    http.Client
	took      chan<- struct{}

	accepted map[string][]string // by call: unit and key of what it told
	again    int
}

func (c *caller) run(ctx context.Context) {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s-%d", c.name, n)
		var told []string
		var list []map[string]any
		for i := range 1 + c.rnd.IntN(20) {
			unit, key := hookUnits[c.rnd.IntN(len(hookUnits))], fmt.Sprintf("%s/%d", id, i)
			told = append(told, unit+":"+key)
			list = append(list, map[string]any{"vendor": "unit", "container": unit, "key": key})
		}
		body, err := json.Marshal(map[string]any{"events": list})
		if err != nil {
			panic(err) // strings and maps
		}
		for !c.call(ctx, id, body) {
			c.again++
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		c.accepted[id] = told
		select {
		case c.took <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// call sends one call and says whether it was accepted.
func (c *caller) call(ctx context.Context, id string, body []byte) bool {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(hookKey))
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		panic(err) // the URL is ours
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := c.client.Do(req)
	if err != nil {
		return false // it died, or is not up yet
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the status is the answer
	return resp.StatusCode/100 == 2
}

// keys are what the ledger has an entry of, as unit:key.
func (p *place) keys(t *testing.T) map[string]bool {
	t.Helper()
	db, err := store.OpenReadOnly(t.Context(), store.Options{Dir: p.data})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	known := map[string]bool{}
	for _, name := range hookUnits {
		u, err := db.Unit(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, unfinished := range []bool{true, false} { // nothing runs: none moves from the one to the other
			for f := (ledger.Filter{Unit: u.ID, Limit: 1000, Oldest: true, Unfinished: unfinished}); ; {
				page, err := db.Entries(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Entries {
					known[name+":"+e.Key] = true
				}
				if f.After = page.Next; f.After == "" {
					break
				}
			}
		}
	}
	return known
}
