package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sync/errgroup"

	"github.com/landwaiter/landwaiter/test/servers"
)

const connections = 16

// BenchmarkBucket is P3: small objects in a real S3 server, listed, read,
// inspected and kept in the ledger, against a client that only gets the keys it
// knows, and against rclone, which lists, reads and hashes them.
func BenchmarkBucket(b *testing.B) {
	n := count(b, "BENCH_OBJECTS", 20_000)
	rclone := servers.Binary(b, "rclone")
	s := servers.Versitygw(b)
	s.MakeBucket(b, "landing", false)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("p%03d/object-%08d.bin", i/1000, i)
	}
	content := make([]byte, 4096)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content)
	each(b, keys, func(ctx context.Context, key string) error {
		body := append([]byte(key), content[len(key):]...)
		_, err := s.Client().PutObject(ctx, &awss3.PutObjectInput{Bucket: new("landing"), Key: &key, Body: bytes.NewReader(body)})
		return err
	})
	var bare, theirs, ours []side
	for range rounds {
		start := time.Now()
		each(b, keys, func(ctx context.Context, key string) error {
			out, err := s.Client().GetObject(ctx, &awss3.GetObjectInput{Bucket: new("landing"), Key: &key})
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, out.Body)
			return errorsOf(err, out.Body.Close())
		})
		bare = append(bare, side{wall: time.Since(start)})
		cmd := exec.Command(rclone, "hashsum", "SHA256", ":s3:landing", "--download", "--checkers", fmt.Sprint(connections), "--config", "")
		cmd.Env = append(os.Environ(), "AWS_CA_BUNDLE=", "RCLONE_S3_PROVIDER=Other", "RCLONE_S3_ENDPOINT="+s.Endpoint, "RCLONE_S3_REGION="+s.Region,
			"RCLONE_S3_ACCESS_KEY_ID="+s.AccessKey, "RCLONE_S3_SECRET_ACCESS_KEY="+s.SecretKey)
		theirs = append(theirs, once(b, 0, cmd))
		ours = append(ours, bucket(b, s, n))
	}
	fmt.Printf("P3   %d objects of 4 KiB in versitygw, builtin engine, load %s\n", n, load())
	rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	figure("P3", "bare GET, 16 connections", rate(median(bare, wall)), "objects/s", "-")
	figure("P3", "rclone hashsum, 16 connections", rate(median(theirs, wall)), "objects/s", "-")
	figure("P3", "landwaiter", rate(median(ours, wall)), "objects/s", "-")
	figure("P3", "against the bare client", median(bare, wall).Seconds()/median(ours, wall).Seconds(), "x", ">= 0.9")
	figure("P3", "against rclone", median(theirs, wall).Seconds()/median(ours, wall).Seconds(), "x", ">= 1.0")
	figure("P3", "CPU against rclone", median(ours, processor).Seconds()/median(theirs, processor).Seconds(), "x", "-")
	figure("P3", "RSS", float64(median(ours, peak))/(1<<20), "MiB", "-")
	figure("P3", "temporary files", 0, "", "0")
	b.ReportMetric(0, "ns/op")
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f for every key from as many goroutines as there are connections.
func each(b *testing.B, keys []string, f func(ctx context.Context, key string) error) {
	b.Helper()
	g, ctx := errgroup.WithContext(b.Context())
	var next atomic.Int64
	for range connections {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(keys) {
					return nil
				}
				if err := f(ctx, keys[i]); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// bucket lets the daemon take in a bucket of n objects, from when it is up, and
// fails if it writes a temporary file.
func bucket(b *testing.B, s servers.S3, n int) side {
	b.Helper()
	dir := b.TempDir()
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		b.Fatal(err)
	}
	look, err := fsnotify.NewWatcher()
	if err != nil {
		b.Fatal(err)
	}
	defer look.Close()
	if err := look.Add(tmp); err != nil {
		b.Fatal(err)
	}
	conf := filepath.Join(dir, "landwaiter.yaml")
	text := fmt.Sprintf("units:\n  - name: landing\n    url: s3://landing?endpoint=%s&region=%s\n    options:\n      access_key: %s\n      secret_key: %s\n",
		s.Endpoint, s.Region, s.AccessKey, s.SecretKey)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	d := serveIn(b, []string{"TMPDIR=" + tmp}, "--config", conf, "--data", filepath.Join(dir, "data"))
	start := time.Now()
	for end := start.Add(10 * time.Minute); int(d.metric(b, "landwaiter_entries_finished_total")) < n; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%v of %d objects are finished", d.metric(b, "landwaiter_entries_finished_total"), n)
		}
	}
	r := side{wall: time.Since(start), peak: d.own()}
	d.stop()
	r.own = d.cmd.ProcessState.UserTime() + d.cmd.ProcessState.SystemTime()
	r.cpu = r.own
	for {
		select {
		case ev := <-look.Events:
			if !strings.Contains(ev.Name, "landwaiter-canary-") { // of the engine's enrolment, not of an object
				b.Fatalf("a temporary file: %v", ev)
			}
			continue
		default:
		}
		return r
	}
}
