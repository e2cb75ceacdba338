package bench

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const callers = 64 // connections at a time

// BenchmarkHook is the other half of P5: events that come as signed calls of the
// daemon's listener and are answered after the commit, one an event and 100 to a
// call, against a handler that only reads the body. Nobody takes the entries up.
func BenchmarkHook(b *testing.B) {
	n := count(b, "BENCH_CALLS", 20_000)
	dir := b.TempDir()
	inbox, conf := filepath.Join(dir, "inbox"), filepath.Join(dir, "landwaiter.yaml")
	text := hookConfig() + fmt.Sprintf("units:\n  - {name: u, url: 'file://%s'}\n"+
		"pools:\n  - name: default\n    instances: [{url: 'clamd://%s'}]\nbounds: {push_backlog: 100000000}\n", inbox, filepath.Join(dir, "nobody"))
	if err := errorsOf(os.Mkdir(inbox, 0o755), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		b.Fatal(err)
	}
	d := serve(b, "--config", conf, "--data", filepath.Join(dir, "data"))
	bare := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer bare.Close()
	var serial atomic.Int64
	request := func(url string, events int) *http.Request {
		var body bytes.Buffer
		body.WriteString(`{"events":[`)
		id := serial.Add(1)
		for i := range events {
			if i > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"vendor":"unit","container":"u","key":"folder/object-%09d-%03d"}`, id, i)
		}
		body.WriteString("]}")
		return signed(b, url, id, body.Bytes())
	}
	pending := func() int { return int(d.metric(b, "landwaiter_entries_pending")) }
	var alone, single, batched []side
	want := 0
	for range rounds {
		alone = append(alone, side{wall: calls(b, n, func() *http.Request { return request(bare.URL, 1) })})
		single = append(single, side{wall: calls(b, n, func() *http.Request { return request(d.url+"/hooks/h", 1) })})
		batched = append(batched, side{wall: calls(b, n/20, func() *http.Request { return request(d.url+"/hooks/h", 100) })})
		want += n + n/20*100
	}
	fmt.Printf("P5   %d calls a round, %d connections, SQLite, load %s\n", n, callers, load())
	figure("P5", "bare handler", float64(n)/median(alone, wall).Seconds(), "calls/s", "-")
	figure("P5", "signed, durable calls of one event", float64(n)/median(single, wall).Seconds(), "calls/s", ">= 10000")
	figure("P5", "against the bare handler", median(alone, wall).Seconds()/median(single, wall).Seconds(), "x", ">= 0.35")
	figure("P5", "signed, durable calls of 100 events", float64(n/20*100)/median(batched, wall).Seconds(), "events/s", ">= 60000")
	figure("P5", "events lost", float64(want-pending()), "", "0")
	b.ReportMetric(0, "ns/op")
}

// hookKey signs the calls.
const hookKey = "twenty-four bytes at least"

// hookConfig is the hook h, which they reach.
func hookConfig() string {
	return "hooks:\n  - {name: h, kind: standard, options: {secret: whsec_" + base64.StdEncoding.EncodeToString([]byte(hookKey)) +
		", rate: '1000000', concurrency: '256'}}\n"
}

// signed is a call of the hook with a body, under an id of its own.
func signed(tb testing.TB, url string, id int64, body []byte) *http.Request {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(hookKey))
	fmt.Fprintf(mac, "m%d.%s.", id, stamp)
	mac.Write(body)
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", fmt.Sprint("m", id))
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return req
}

// calls sends n requests from all callers and wants a 200 for each.
func calls(b *testing.B, n int, request func() *http.Request) time.Duration {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers, MaxConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				resp, err := client.Do(request())
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Error(resp.Status)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}
