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
	keys := put(b, s, "landing", n)
	var bare, theirs, ours []side
	for range rounds {
		bare = append(bare, get(b, s, "landing", keys))
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

// put fills a bucket with n objects of 4 KiB, all different, and returns their keys.
func put(b *testing.B, s servers.S3, bucket string, n int) []string {
	b.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("p%03d/object-%08d.bin", i/1000, i)
	}
	content := make([]byte, 4096)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content)
	each(b, keys, func(ctx context.Context, key string) error {
		body := append([]byte(key), content[len(key):]...)
		_, err := s.Client().PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
		return err
	})
	return keys
}

// get reads the keys that it is given, and no more: the bare client.
func get(b *testing.B, s servers.S3, bucket string, keys []string) side {
	b.Helper()
	start, before := time.Now(), cpu()
	each(b, keys, func(ctx context.Context, key string) error {
		out, err := s.Client().GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, out.Body)
		return errorsOf(err, out.Body.Close())
	})
	return side{wall: time.Since(start), cpu: cpu() - before}
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

// awaitFinished waits until n entries are finished.
func (d *daemon) awaitFinished(b *testing.B, n int) {
	b.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		done := int(d.metric(b, "landwaiter_entries_finished_total"))
		if done >= n {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("%d of %d objects are finished", done, n)
		}
	}
}

// bucketConfig is a unit that holds all of a bucket.
func bucketConfig(s servers.S3, bucket string) string {
	return fmt.Sprintf("units:\n  - name: %s\n    url: s3://%[1]s?endpoint=%s&region=%s\n    options:\n      access_key: %s\n      secret_key: %s\n",
		bucket, s.Endpoint, s.Region, s.AccessKey, s.SecretKey)
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
	if err := os.WriteFile(conf, []byte(bucketConfig(s, "landing")), 0o600); err != nil {
		b.Fatal(err)
	}
	d := serveIn(b, []string{"TMPDIR=" + tmp}, "--config", conf, "--data", filepath.Join(dir, "data"))
	start := time.Now()
	d.awaitFinished(b, n)
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
