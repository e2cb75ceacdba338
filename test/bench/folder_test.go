package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

// BenchmarkFolder is P1: local files through clamd with a durable ledger,
// against `clamdscan --multiscan --fdpass` on the same clamd and files. clamd
// makes a folder in its TemporaryDirectory for each file, so both are measured
// where that is memory. What it takes to start, enrol the engine and stop is
// measured with an empty folder and said apart.
func BenchmarkFolder(b *testing.B) {
	clamdscan := servers.Binary(b, "clamdscan")
	n := count(b, "BENCH_FILES", 10_000)
	temp := "/dev/shm"
	if _, err := os.Stat(temp); err != nil {
		temp = os.TempDir()
	}
	tmp, err := os.MkdirTemp(temp, "landwaiter-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(tmp) })
	socket, _ := servers.Clamd(b, servers.ClamdOptions{Config: []string{"DisableCache yes", "TemporaryDirectory " + tmp, "MaxThreads 4"}})
	clamd := listener(b, socket)
	dir := b.TempDir()
	conf := filepath.Join(dir, "clamdscan.conf")
	if err := os.WriteFile(conf, []byte("LocalSocket "+socket+"\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	full, empty := filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	folder(b, full, n, 4096)
	folder(b, empty, 1, 4096)
	peer := func(path string) side {
		return once(b, clamd, exec.Command(clamdscan, "--config-file="+conf, "--multiscan", "--fdpass", "--quiet", path))
	}
	ours := func(path string, want int) side {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command(binary(b), "watch", path, "--once", "--engine", "clamd://"+socket, "-o", "json")
		cmd.Stdout = out
		s := once(b, clamd, cmd)
		if err := clean(out.Name(), want); err != nil {
			b.Fatal(err)
		}
		return s
	}
	var we, they, us []side // started, clamdscan, landwaiter
	ours(empty, 1)          // warms the file cache
	for range rounds {
		they = append(they, peer(full))
		us = append(us, ours(full, n))
		we = append(we, ours(empty, 1))
	}
	idle := median(we, wall)
	net := func(s side) time.Duration { return s.wall - idle }
	fmt.Printf("P1   %d files of 4 KiB, clamd's temporary folder on %s, load %s\n", n, temp, load())
	files := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	figure(b, "P1", "clamdscan", files(median(they, wall)), "files/s", "-")
	figure(b, "P1", "landwaiter, with start and stop", files(median(us, wall)), "files/s", "-")
	figure(b, "P1", "landwaiter", files(median(us, net)), "files/s", "-")
	figure(b, "P1", "start, enrolment of clamd, stop", idle.Seconds(), "s", "-")
	figure(b, "P1", "wall, with start and stop", median(they, wall).Seconds()/median(us, wall).Seconds(), "x", "-")
	figure(b, "P1", "wall", median(they, wall).Seconds()/median(us, net).Seconds(), "x", ">= 0.95")
	figure(b, "P1", "CPU", (median(us, processor)-median(we, processor)).Seconds()/median(they, processor).Seconds(), "x", "<= 1.0")
	figure(b, "P1", "RSS, boxes and all", float64(median(us, peak))/(1<<20), "MiB", "<= 64")
	b.ReportMetric(0, "ns/op")
}

// clean checks the lines of a run.
func clean(path string, want int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		var r ledger.Record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return err
		}
		if r.Verdict != "clean" {
			return fmt.Errorf("%s is %s (%s) %s", r.Key, r.Verdict, r.Reason, r.Error)
		}
	}
	if n != want {
		return fmt.Errorf("%d files have a verdict, want %d", n, want)
	}
	return nil
}

// BenchmarkClose is P2: from close() to the line of the committed verdict, with
// 100 files a second, each written in two halves so that an early verdict shows.
func BenchmarkClose(b *testing.B) {
	const every = 10 * time.Millisecond
	n := count(b, "BENCH_CLOSES", 1000)
	dir := b.TempDir()
	cmd := exec.Command(binary(b), "watch", dir, "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	launch(b, cmd)
	type seen struct {
		key string
		at  time.Time
	}
	lines := make(chan seen, n+16)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			at := time.Now()
			var r ledger.Record
			if json.Unmarshal(s.Bytes(), &r) == nil {
				lines <- seen{r.Key, at}
			}
		}
	}()
	wait := func() seen {
		select {
		case s := <-lines:
			return s
		case <-time.After(30 * time.Second):
			b.Fatal("no verdict within 30 s")
			return seen{}
		}
	}
	put := func(name string) time.Time {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		half := make([]byte, 2048)
		if _, err := f.Write(half); err != nil {
			b.Fatal(err)
		}
		time.Sleep(every / 4) // the writer's own pace
		if _, err := f.Write(append(half, name...)); err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		return at
	}
	put("first") // the program is up when this has its verdict
	wait()
	closed := make(map[string]time.Time, n)
	tick := time.NewTicker(every)
	for i := range n {
		name := fmt.Sprintf("f%05d", i)
		closed[name] = put(name)
		<-tick.C
	}
	tick.Stop()
	var took []time.Duration
	early := 0
	for range n {
		s := wait()
		d := s.at.Sub(closed[s.key])
		if d < 0 {
			early++
		}
		took = append(took, d)
	}
	slices.Sort(took)
	fmt.Printf("P2   %d files, 100 a second, builtin engine, load %s\n", n, load())
	ms := func(q int) float64 { return float64(took[len(took)*q/1000].Microseconds()) / 1000 }
	figure(b, "P2", "close to verdict, p50", ms(500), "ms", "<= 3")
	figure(b, "P2", "close to verdict, p90", ms(900), "ms", "-")
	figure(b, "P2", "close to verdict, p99", ms(990), "ms", "<= 25")
	figure(b, "P2", "verdicts before close", float64(early), "", "0")
	b.ReportMetric(0, "ns/op")
}
