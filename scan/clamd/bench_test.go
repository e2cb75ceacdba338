package clamd_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/clamd"
)

// BenchmarkSmallFiles scans many small local files in four ways on one clamd
// with its cache off, in turn: clamdscan --multiscan --fdpass, Scan from 64
// goroutines, Submit from one, and that through a pool. It reports files/s and CPU (the caller's and
// clamd's) of each, and the ratios to clamdscan.
func BenchmarkSmallFiles(b *testing.B) {
	const files, size = 10_000, 4 << 10
	c := startClamd(b, "DisableCache yes", "MaxThreads 10", "TemporaryDirectory "+tmpfs(b))
	dir := b.TempDir()
	var paths []string
	content := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{})
	for i := range files {
		_, _ = rnd.Read(content)
		path := filepath.Join(dir, fmt.Sprintf("%05d", i))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			b.Fatal(err)
		}
		paths = append(paths, path)
	}
	e, err := clamd.Open(context.Background(), clamd.Options{Network: "unix", Address: c.socket, Conf: c.conf})
	if err != nil {
		b.Fatal(err)
	}
	pool := scan.NewPool(scan.PoolOptions{Name: "p", Instances: []*scan.Instance{{Name: "clamd", Engine: e}}})
	defer pool.Close()
	if !pool.Check(context.Background()) {
		b.Fatalf("%+v", pool.Status())
	}
	ways := []struct {
		name string
		run  func() time.Duration // CPU of the caller
	}{
		{"clamdscan", func() time.Duration {
			cmd := exec.Command("clamdscan", "-c", c.conf, "--multiscan", "--fdpass", "--no-summary", "--infected", dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			return cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()
		}},
		{"scan", func() time.Duration { return own(func() { scanAll(b, e, paths) }) }},
		{"submit", func() time.Duration { return own(func() { submitAll(b, e, paths) }) }},
		{"pool", func() time.Duration { return own(func() { submitAll(b, pool, paths) }) }},
	}
	wall, cpu := make([]time.Duration, len(ways)), make([]time.Duration, len(ways))
	b.ResetTimer()
	for range b.N {
		for i, w := range ways {
			before, began := c.cpu(b), time.Now()
			mine := w.run()
			t, u := time.Since(began), mine+c.cpu(b)-before
			wall[i] += t
			cpu[i] += u
			b.Logf("%-10s %6.0f files/s, CPU %4.0f µs a file, of that the caller %4.0f", w.name, files/t.Seconds(),
				float64(u.Microseconds())/files, float64(mine.Microseconds())/files)
		}
	}
	for i, w := range ways {
		b.ReportMetric(float64(files*b.N)/wall[i].Seconds(), w.name+"-files/s")
		if i > 0 {
			b.ReportMetric(wall[0].Seconds()/wall[i].Seconds(), w.name+"-wall-ratio")
			b.ReportMetric(cpu[i].Seconds()/cpu[0].Seconds(), w.name+"-cpu-ratio")
		}
	}
}

func scanAll(b *testing.B, e *clamd.Engine, paths []string) {
	next := make(chan string, 64)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for path := range next {
				f, err := os.Open(path)
				if err != nil {
					b.Error(err)
					return
				}
				rep, err := e.Scan(context.Background(), scan.Sample{Size: 4 << 10, File: f})
				if err != nil || rep.Verdict != scan.Clean {
					b.Error(rep.Verdict, err)
				}
				f.Close()
			}
		})
	}
	for _, path := range paths {
		next <- path
	}
	close(next)
	wg.Wait()
}

func submitAll(b *testing.B, e scan.Batcher, paths []string) {
	var wg sync.WaitGroup
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		wg.Add(1)
		err = e.Submit(context.Background(), scan.Sample{Size: 4 << 10, File: f}, func(rep scan.Report, err error) {
			if err != nil || rep.Verdict != scan.Clean {
				b.Error(rep.Verdict, err)
			}
			f.Close()
			wg.Done()
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// own returns the CPU time that this process spends in f.
func own(f func()) time.Duration {
	var a, z syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &a)
	f()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &z)
	return time.Duration(z.Utime.Nano() + z.Stime.Nano() - a.Utime.Nano() - a.Stime.Nano())
}

// tmpfs returns a folder in memory if there is one.
func tmpfs(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "clamd-")
	if err != nil {
		dir = b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	b.Logf("clamd's temporary directory: %s", strings.TrimRight(dir, "0123456789"))
	return dir
}
