package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/test/servers"
)

// How the events of BenchmarkPush come: ten to a message, the most that one
// receive from SQS brings, over four connections, as fast as they are taken.
const (
	pushBatch   = 10
	pushCallers = connections
)

// BenchmarkPush is P3 where the store tells of its objects: a bucket that was
// empty when the daemon swept it is filled, and its events come through a signed
// hook while the daemon works on them, against a client that only gets the keys.
// The clock runs from the first event to the durable end of the last entry.
func BenchmarkPush(b *testing.B) {
	n := count(b, "BENCH_OBJECTS", 20_000)
	s := servers.Versitygw(b)
	var bare, ours []side
	var told []time.Duration // how long until every event was durable
	for i := range rounds {
		name := fmt.Sprint("push", i)
		s.MakeBucket(b, name, false)
		d := pushed(b, s, name)
		keys := put(b, s, name, n)
		bare = append(bare, get(b, s, name, keys))
		start, before := time.Now(), used(b, d.cmd.Process.Pid)
		told = append(told, tell(b, d, name, keys))
		d.awaitFinished(b, n)
		ours = append(ours, side{wall: time.Since(start), cpu: used(b, d.cmd.Process.Pid) - before, peak: d.own()})
		if got := int(d.metric(b, "landwaiter_sweep_objects_total")); got != 0 {
			b.Fatalf("a sweep listed %d of the objects: not all of them came by their events", got)
		}
		if got := int(d.metric(b, "landwaiter_entries_finished_total")); got != n {
			b.Fatalf("%d entries of %d objects", got, n)
		}
		d.stop()
	}
	fmt.Printf("P3   %d objects of 4 KiB in versitygw, told by events, %d to a signed call, builtin engine, load %s\n", n, pushBatch, load())
	rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	figure("P3", "bare GET, 16 connections", rate(median(bare, wall)), "objects/s", "-")
	figure("P3", "landwaiter, pushed", rate(median(ours, wall)), "objects/s", "-")
	figure("P3", "against the bare client", median(bare, wall).Seconds()/median(ours, wall).Seconds(), "x", ">= 0.9")
	figure("P3", "CPU of the bare client", each(median(bare, processor)), "µs/object", "-")
	figure("P3", "CPU of landwaiter", each(median(ours, processor)), "µs/object", "-")
	figure("P3", "events durable after, of the whole", median(told, func(d time.Duration) time.Duration { return d }).Seconds()/median(ours, wall).Seconds(), "x", "-")
	figure("P3", "RSS", float64(median(ours, peak))/(1<<20), "MiB", "-")
	b.ReportMetric(0, "ns/op")
}

// pushed starts a daemon that has swept the empty bucket, and waits for events.
func pushed(b *testing.B, s servers.S3, bucket string) *daemon {
	b.Helper()
	dir := b.TempDir()
	conf := filepath.Join(dir, "landwaiter.yaml")
	if err := os.WriteFile(conf, []byte(hookConfig()+bucketConfig(s, bucket)+"    sweep: 1h\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	d := serve(b, "--config", conf, "--data", filepath.Join(dir, "data"))
	for end := time.Now().Add(time.Minute); d.metric(b, "landwaiter_sweeps_total") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal("the empty bucket was not swept")
		}
	}
	return d
}

// tell sends the event of every key and returns when all are durable.
func tell(b *testing.B, d *daemon, bucket string, keys []string) time.Duration {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pushCallers}}
	defer client.CloseIdleConnections()
	start := time.Now()
	at := start.UTC().Format(time.RFC3339Nano)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range pushCallers {
		wg.Go(func() {
			for {
				from := int(next.Add(pushBatch)) - pushBatch
				if from >= len(keys) {
					return
				}
				var body bytes.Buffer
				sep := `{"events":[`
				for _, key := range keys[from:min(from+pushBatch, len(keys))] {
					fmt.Fprintf(&body, `%s{"vendor":"s3","container":%q,"key":%q,"op":"put","size":4096,"time":%q}`, sep, bucket, key, at)
					sep = ","
				}
				body.WriteString("]}")
				resp, err := client.Do(signed(b, d.url+"/hooks/h", int64(from), body.Bytes()))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
					b.Error(resp.Status, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return time.Since(start)
}
