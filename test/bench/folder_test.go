package bench

import (
	"bufio"
	"encoding/json"
	"errors"
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
// against `clamdscan --multiscan --fdpass` on the same clamd and files. The
// files land, as one folder, under a running `watch` that has enrolled clamd.
// clamd makes a folder in its TemporaryDirectory for each file, so both are
// measured where that is memory.
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
	full := filepath.Join(dir, "full")
	folder(b, full, n, 4096)
	var they, us []side
	var start []time.Duration
	for range rounds {
		they = append(they, once(b, clamd, exec.Command(clamdscan, "--config-file="+conf, "--multiscan", "--fdpass", "--quiet", full)))
		s, enrol := land(b, clamd, full, n, "--engine", "clamd://"+socket)
		us, start = append(us, s), append(start, enrol)
	}
	fmt.Printf("P1   %d files of 4 KiB, clamd's temporary folder on %s, load %s\n", n, temp, load())
	files := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	figure("P1", "clamdscan", files(median(they, wall)), "files/s", "-")
	figure("P1", "landwaiter", files(median(us, wall)), "files/s", "-")
	figure("P1", "wall", median(they, wall).Seconds()/median(us, wall).Seconds(), "x", ">= 0.95")
	figure("P1", "CPU, with clamd's", median(us, processor).Seconds()/median(they, processor).Seconds(), "x", "<= 1.0")
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	figure("P1", "CPU of clamdscan / of clamd", micros(median(they, own)), fmt.Sprintf("/ %.0f µs", micros(median(they, server))), "-")
	figure("P1", "CPU of landwaiter / of clamd", micros(median(us, own)), fmt.Sprintf("/ %.0f µs", micros(median(us, server))), "-")
	figure("P1", "RSS", float64(median(us, peak))/(1<<20), "MiB", "<= 64")
	figure("P1", "start and enrolment of clamd", median(start, func(d time.Duration) time.Duration { return d }).Seconds(), "s", "-")
	b.ReportMetric(0, "ns/op")
}

// land moves the folder full, which holds n files, into one that is watched,
// and waits for n verdicts. enrol is how long the program took to give the
// first, to a file that was there before.
func land(b *testing.B, clamd int, full string, n int, args ...string) (s side, enrol time.Duration) {
	b.Helper()
	inbox := filepath.Join(filepath.Dir(full), "inbox")
	folder(b, inbox, 1, 100)
	cmd := exec.Command(binary(b), append([]string{"watch", inbox, "-o", "json"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	p := launch(b, cmd)
	lines := bufio.NewReaderSize(out, 1<<20)
	var all []string
	take := func(n int) {
		for range n {
			l, err := lines.ReadString('\n')
			if err != nil {
				b.Fatal(err, p.log.String())
			}
			all = append(all, l)
		}
	}
	take(1)
	enrol = time.Since(start)
	pid := cmd.Process.Pid
	mine, theirs := used(b, pid), used(b, clamd)
	start = time.Now()
	landed := filepath.Join(inbox, "landed")
	if err := os.Rename(full, landed); err != nil {
		b.Fatal(err)
	}
	take(n)
	s = side{wall: time.Since(start), own: used(b, pid) - mine, peak: p.own()}
	s.cpu = s.own + used(b, clamd) - theirs
	p.stop()
	if err := errors.Join(clean(all), os.Rename(landed, full), os.RemoveAll(inbox)); err != nil {
		b.Fatal(err)
	}
	return s, enrol
}

// clean checks the lines of a run.
func clean(lines []string) error {
	seen := map[string]bool{}
	for _, l := range lines {
		var r ledger.Record
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			return err
		}
		if r.Verdict != "clean" || seen[r.Key] {
			return fmt.Errorf("%s is %s (%s) %s, seen before: %v", r.Key, r.Verdict, r.Reason, r.Error, seen[r.Key])
		}
		seen[r.Key] = true
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
	figure("P2", "close to verdict, p50", ms(500), "ms", "<= 3")
	figure("P2", "close to verdict, p90", ms(900), "ms", "-")
	figure("P2", "close to verdict, p99", ms(990), "ms", "<= 25")
	figure("P2", "verdicts before close", float64(early), "", "0")
	b.ReportMetric(0, "ns/op")
}
