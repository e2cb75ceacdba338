package file_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/connectors/file"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

const patience = 20 * time.Second

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// watching opens a unit, watches it, and returns once the watch is on.
func watching(t *testing.T, u connectors.Unit) (*file.Driver, *connectortest.Collector, func() error) {
	t.Helper()
	d := open(t, u)
	c, stop := connectortest.Watching(t, d, "")
	ready(t, u.URL, c)
	return d, c, stop
}

// ready waits until the watch tells of a file. It writes seldom enough for the
// file to settle in between, also where clocks are coarse.
func ready(t *testing.T, dir string, c *connectortest.Collector) {
	t.Helper()
	var written time.Time
	until(t, "the watch is on", func() bool {
		if now := time.Now(); now.Sub(written) > 200*time.Millisecond {
			write(t, dir+"/.ready", []byte(now.String()))
			written = now
		}
		return c.Saw(".ready", object.Look)
	})
}

func count(c *connectortest.Collector, key string, op object.Op) (n int) {
	for _, e := range c.Events() {
		if e.Key == key && e.Op == op && e.Cause != "overflow" {
			n++
		}
	}
	return n
}

func overflowed(c *connectortest.Collector, prefix string) bool {
	return slices.ContainsFunc(c.Events(), func(e object.Event) bool { return e.Cause == "overflow" && e.Key == prefix })
}

// A sweep may pass between Open and the moment that the watch stands, or after
// a watch ended. What is written behind its back is told all the same.
func TestWrittenBeforeTheWatch(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/old", nil)
	pause := func() { time.Sleep(3 * 10 * time.Millisecond) } // past the coarsest clock that stamps files
	pause()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	write(t, dir+"/sub/first", nil)
	pause()
	c, stop := connectortest.Watching(t, d, "")
	until(t, "what was written before the watch", func() bool { return c.Saw("sub/first", object.Look) })
	if c.Saw("old", object.Look) {
		t.Error("what was there before Open is told: that is for the sweep")
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	write(t, dir+"/second", nil)
	pause()
	c, _ = connectortest.Watching(t, d, "")
	until(t, "what was written between two watches", func() bool { return c.Saw("second", object.Look) })
}

// A file is told when its writer closes it: never before, and soon after.
func TestCloseToEvent(t *testing.T) {
	n := 300
	dir := t.TempDir()
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	var mu sync.Mutex
	seen := map[string]time.Time{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, "", func(_ context.Context, events []object.Event, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				if _, ok := seen[e.Key]; !ok {
					seen[e.Key] = time.Now()
				}
			}
			return nil
		})
	}()
	at := func(key string) time.Time {
		mu.Lock()
		defer mu.Unlock()
		return seen[key]
	}
	until(t, "the watch is on", func() bool { write(t, dir+"/.ready", nil); return !at(".ready").IsZero() })
	begun, closed := make([]time.Time, n), make([]time.Time, n)
	var wg sync.WaitGroup
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for i := range n {
		<-pace.C
		wg.Go(func() {
			f, err := os.Create(fmt.Sprintf("%s/%03d", dir, i))
			if err != nil {
				t.Error(err)
				return
			}
			for range 1 + i%4 { // some writers take their time
				_, _ = f.Write(make([]byte, 1024))
				time.Sleep(time.Duration(i%4) * 3 * time.Millisecond)
			}
			begun[i] = time.Now()
			_ = f.Close()
			closed[i] = time.Now()
		})
	}
	wg.Wait()
	for i := range n {
		until(t, "an event for each file", func() bool { return !at(fmt.Sprintf("%03d", i)).IsZero() })
	}
	cancel()
	<-ended
	early := 0
	var took, quick []time.Duration
	for i := range n {
		when := at(fmt.Sprintf("%03d", i))
		if when.Before(begun[i]) {
			early++
		}
		took = append(took, when.Sub(closed[i]))
		if i%4 == 0 {
			quick = append(quick, when.Sub(closed[i]))
		}
	}
	slices.Sort(took)
	slices.Sort(quick)
	p50, p99 := took[n/2], took[n*99/100]
	t.Logf("cases=%d violations=%d close→event p50=%v p99=%v, of files written at once p50=%v", n, early, p50, p99, quick[len(quick)/2])
	if early > 0 || p50 > 20*time.Millisecond {
		t.Errorf("%d events before close, p50 %v", early, p50)
	}
}

// The name of a folder may carry files before anyone can watch it.
func TestNewFolders(t *testing.T) {
	dir := t.TempDir()
	_, c, _ := watching(t, connectors.Unit{Name: "u", URL: dir})
	const n = 200
	for i := range n {
		write(t, fmt.Sprintf("%s/new%d/a/b/c/leaf", dir, i), []byte("x")) // at once, without a pause
	}
	outside := t.TempDir()
	for i := range 50 {
		write(t, fmt.Sprintf("%s/tree/%d/leaf", outside, i), []byte("x"))
	}
	if err := os.Rename(outside+"/tree", dir+"/moved-in"); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		until(t, "files of a new folder", func() bool { return c.Saw(fmt.Sprintf("new%d/a/b/c/leaf", i), object.Look) })
	}
	for i := range 50 {
		until(t, "files of a folder moved in", func() bool { return c.Saw(fmt.Sprintf("moved-in/%d/leaf", i), object.Look) })
	}
	// A new file in each shows that all of them are watched now.
	for i := range n {
		write(t, fmt.Sprintf("%s/new%d/a/b/c/later", dir, i), []byte("x"))
	}
	for i := range n {
		until(t, "a later file", func() bool { return c.Saw(fmt.Sprintf("new%d/a/b/c/later", i), object.Look) })
	}
}

func TestRenamesAndDeletes(t *testing.T) {
	dir := t.TempDir()
	_, c, _ := watching(t, connectors.Unit{Name: "u", URL: dir})
	write(t, dir+"/old/sub/file", []byte("x"))
	until(t, "the file", func() bool { return c.Saw("old/sub/file", object.Look) })
	for i := range 20 { // back and forth: the watches must go along
		from, to := "old", "new"
		if i%2 == 1 {
			from, to = to, from
		}
		if err := os.Rename(dir+"/"+from, dir+"/"+to); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("sub/after-%d", i)
		write(t, dir+"/"+to+"/"+name, []byte("x"))
		until(t, "a file in a renamed folder, "+to+"/"+name, func() bool { return c.Saw(to+"/"+name, object.Look) })
		until(t, "a sweep of the old name", func() bool { return overflowed(c, from+"/") })
		until(t, "the file under its new name", func() bool { return c.Saw(to+"/sub/file", object.Look) })
	}
	if err := os.Rename(dir+"/old/sub/file", dir+"/old/sub/renamed"); err != nil {
		t.Fatal(err)
	}
	until(t, "the old name goes", func() bool { return c.Saw("old/sub/file", object.Delete) })
	until(t, "the new name comes", func() bool { return c.Saw("old/sub/renamed", object.Look) })
	if err := os.RemoveAll(dir + "/old"); err != nil {
		t.Fatal(err)
	}
	until(t, "what was below goes", func() bool { return c.Saw("old/sub/renamed", object.Delete) })
	// The same name again, at once: another folder, which must be watched too.
	write(t, dir+"/old/sub/again", []byte("x"))
	until(t, "a folder made again", func() bool { return c.Saw("old/sub/again", object.Look) })
	if err := os.Symlink("/etc/passwd", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "a link is named", func() bool { return c.Saw("link", object.Look) })
	until(t, "a pipe is named", func() bool { return c.Saw("pipe", object.Look) })
	// A change of mode is a new version by its ctime.
	if err := os.Chmod(dir+"/old/sub/again", 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "a change of mode", func() bool { return count(c, "old/sub/again", object.Look) >= 2 })
}

// While somebody writes, nothing is told, whatever the file is called; but not
// for ever.
func TestUnsettled(t *testing.T) {
	for name, leaseless := range map[string]bool{"lease": false, "window": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := open(t, connectors.Unit{Name: "u", URL: dir, Settle: 300 * time.Millisecond, SettleMax: 1500 * time.Millisecond})
			if leaseless {
				d.WithoutLeases()
			}
			c, _ := connectortest.Watching(t, d, "")
			ready(t, dir, c)
			started := time.Now()
			f, err := os.Create(dir + "/endless")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			temp, err := os.Create(dir + "/upload.part")
			if err != nil {
				t.Fatal(err)
			}
			_ = temp.Close()
			tempClosed := time.Now()
			until(t, "an endless append is told after all", func() bool {
				_, _ = f.Write([]byte("x"))
				return c.Saw("endless", object.Look)
			})
			if took := time.Since(started); took < 1400*time.Millisecond {
				t.Errorf("told after %v, with its writer at work", took)
			}
			info, err := d.Stat(t.Context(), object.Ref{Key: "endless"})
			if err != nil {
				t.Fatal(err)
			}
			if wait, err := d.Settled(t.Context(), info); err != nil || wait == 0 {
				t.Errorf("Settled of a file being written = %v, %v", wait, err)
			}
			until(t, "the upload is told", func() bool { return c.Saw("upload.part", object.Look) })
			for _, e := range c.Events() {
				if took := e.Time.Sub(tempClosed); e.Key == "upload.part" && leaseless && took < 1200*time.Millisecond {
					t.Errorf("the temporary name was told after %v, want five windows or the maximum", took)
				}
			}
			_ = f.Close()
			until(t, "it settles once closed", func() bool {
				wait, err := d.Settled(t.Context(), info)
				return err == nil && wait == 0
			})
		})
	}
}

// The kernel drops what nobody reads. The watch says so and is whole again.
func TestOverflow(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 { // folders that are watched before it begins
		write(t, fmt.Sprintf("%s/%d/.old", dir, i), nil)
	}
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	var mu sync.Mutex
	seen := map[string]bool{}
	var stuck sync.Mutex // held: Emit blocks
	overflow := false
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, "", func(_ context.Context, events []object.Event, _ string) error {
			stuck.Lock()
			defer stuck.Unlock()
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				if e.Cause == "overflow" {
					overflow = overflow || e.Key == ""
				} else {
					seen[e.Key] = true
				}
			}
			return nil
		})
	}()
	has := func(key string) bool {
		mu.Lock()
		defer mu.Unlock()
		return seen[key]
	}
	const n = 30_000 // three events each: far more than the queues hold
	for i := range n / 100 {
		name := fmt.Sprintf("%d/.ready", i)
		until(t, "the watch is on", func() bool { write(t, dir+"/"+name, []byte(time.Now().String())); return has(name) })
	}
	stuck.Lock()
	write(t, dir+"/.stuck", nil)
	for i := range n {
		f, err := os.Create(fmt.Sprintf("%s/%d/%d", dir, i/100, i))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	start := time.Now()
	stuck.Unlock()
	until(t, "an overflow is told", func() bool { mu.Lock(); defer mu.Unlock(); return overflow })
	healed := time.Since(start)
	// What was lost is what a sweep, started at the event, finds.
	swept := 0
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		seen[info.Key] = true
		mu.Unlock()
		swept++
	}
	missed := 0
	for i := range n {
		if !has(fmt.Sprintf("%d/%d", i/100, i)) {
			missed++
		}
	}
	// Every folder is watched again.
	for i := range n / 100 {
		write(t, fmt.Sprintf("%s/%d/later", dir, i), nil)
	}
	for i := range n / 100 {
		until(t, "a file made after the overflow", func() bool { return has(fmt.Sprintf("%d/later", i)) })
	}
	cancel()
	<-ended
	t.Logf("cases=%d violations=%d swept=%d time to heal=%v", n, missed, swept, healed)
	if missed > 0 {
		t.Errorf("%d files were missed", missed)
	}
}

func TestRootGone(t *testing.T) {
	for name, do := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"moved":   func(dir string) error { return os.Rename(dir, dir+".away") },
		"another in its place": func(dir string) error {
			if err := os.Rename(dir, dir+".away"); err != nil {
				return err
			}
			return os.Mkdir(dir, 0o755)
		},
		"its parent moved": func(dir string) error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+".away") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/parent/root"
			write(t, dir+"/file", nil)
			d := open(t, connectors.Unit{Name: "u", URL: dir})
			c := &connectortest.Collector{}
			ended := make(chan error, 1)
			go func() { ended <- d.Watch(t.Context(), "", c.Emit) }()
			ready(t, dir, c)
			if err := do(dir); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if !fault.Is(err, fault.NotFound) {
					t.Errorf("Watch ended with %v, want not found", err)
				}
			case <-time.After(patience):
				t.Error("Watch goes on")
			}
			// A folder that is gone is not an empty one.
			var last error
			for _, err := range d.List(t.Context(), "", "") {
				last = err
			}
			if !fault.Is(last, fault.NotFound) {
				t.Errorf("List ended with %v, want not found", last)
			}
			if _, err := d.Stat(t.Context(), object.Ref{Key: "file"}); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "folder is gone") {
				t.Errorf("Stat: %v, want not found", err)
			}
			if _, err := d.Open(t.Context(), object.Ref{Key: "file"}, 0); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "folder is gone") {
				t.Errorf("Open: %v, want not found", err)
			}
		})
	}
}

// Paths longer than the kernel takes at once: listed, read, watched, removed.
func TestDeep(t *testing.T) {
	dir := t.TempDir()
	d, c, _ := watching(t, connectors.Unit{Name: "u", URL: dir})
	const levels = 60 // of 200 bytes: three times PATH_MAX
	name := strings.Repeat("d", 200)
	fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	for range levels {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		fd, key = next, key+name+"/"
	}
	defer unix.Close(fd)
	create := func(base string) {
		f, err := unix.Openat(fd, base, unix.O_CREAT|unix.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = unix.Write(f, []byte("deep"))
		_ = unix.Close(f)
	}
	create("first")
	until(t, "a deep file", func() bool { return c.Saw(key+"first", object.Look) })
	create("second")
	until(t, "another", func() bool { return c.Saw(key+"second", object.Look) })
	var listed []string
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, info.Key)
	}
	if want := []string{".ready", key + "first", key + "second"}; !slices.Equal(listed, want) {
		t.Errorf("listed %d keys, want %d", len(listed), len(want))
	}
	info, err := d.Stat(t.Context(), object.Ref{Key: key + "first"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Remove(t.Context(), object.Ref{Key: key + "first", Version: info.Version}, connectors.Fence{Aside: "deep", SHA256: sum("deep")}); err != nil {
		t.Error(err)
	}
	put, err := d.Put(t.Context(), key+"put/put", strings.NewReader("put"), connectors.PutOptions{Size: 3})
	if err != nil {
		t.Error(err)
	}
	until(t, "a deep put", func() bool { return c.Saw(key+"put/put", object.Look) })
	if _, err := d.Remove(t.Context(), object.Ref{Key: key + "put/put", Version: put.Version}, connectors.Fence{Aside: "deep2", SHA256: sum("put")}); err != nil {
		t.Error(err)
	}
	if n, err := d.Prune(t.Context(), key+"put/put"); n != 1 || err != nil {
		t.Errorf("Prune = %d, %v", n, err)
	}
}

// A thousand levels are listed with bounded descriptors.
func TestThousandLevels(t *testing.T) {
	dir := t.TempDir()
	key := strings.Repeat("d/", 1000) + "leaf"
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	if _, err := d.Put(t.Context(), key, strings.NewReader("x"), connectors.PutOptions{Size: 1}); err != nil {
		t.Fatal(err)
	}
	for _, stepwise := range []bool{false, true} {
		if stepwise {
			d.Stepwise()
		}
		var listed []string
		for info, err := range d.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, info.Key)
		}
		if len(listed) != 1 || listed[0] != key {
			t.Errorf("listed %d keys", len(listed))
		}
	}
}

// Where watches run out, the tree is swept instead, and the operator is told.
func TestUnwatchable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/one/file", nil)
	write(t, dir+"/two/"+strings.Repeat("x", 200)+"/file", nil)
	d := open(t, connectors.Unit{Name: "u", URL: dir})
	d.LimitWatches(4*len(dir) + 100)
	c, stop := connectortest.Watching(t, d, "")
	ready(t, dir, c)
	until(t, "the tree is to be swept", func() bool { return overflowed(c, "two/"+strings.Repeat("x", 200)+"/") })
	if err := d.Degraded(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "swept") {
		t.Errorf("Degraded = %v", err)
	}
	write(t, dir+"/one/later", nil)
	until(t, "the others are watched", func() bool { return c.Saw("one/later", object.Look) })
	_ = stop()
	if err := d.Degraded(); err != nil {
		t.Errorf("after the watch: %v", err)
	}
}

func TestPartitionsAndExclusions(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"in/a", "in/b", "out", "data"} {
		write(t, dir+"/"+sub+"/old", nil)
	}
	if err := os.Mkdir(dir+"/.landwaiter", 0o700); err != nil {
		t.Fatal(err)
	}
	d := open(t, connectors.Unit{Name: "u", URL: dir, Partitions: []string{"in/a/"}, Exclude: []string{dir + "/data"}})
	c, _ := connectortest.Watching(t, d, "")
	ready(t, dir, c)
	write(t, dir+"/data/secret", nil)
	write(t, dir+"/out/file", nil)
	write(t, dir+"/in/b/file", nil)
	write(t, dir+"/.landwaiter/aside/x", nil)
	write(t, dir+"/in/a/file", nil)
	until(t, "the partition", func() bool { return c.Saw("in/a/file", object.Look) })
	for _, e := range c.Events() {
		if e.Key != ".ready" && !strings.HasPrefix(e.Key, "in/a/") {
			t.Errorf("an event of %q", e.Key)
		}
	}
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil || strings.HasPrefix(info.Key, "data") || strings.HasPrefix(info.Key, ".landwaiter") {
			t.Errorf("listed %q, %v", info.Key, err)
		}
	}
	for _, key := range []string{"data/old", ".landwaiter/aside/x", ".landwaiter"} {
		if _, err := d.Stat(t.Context(), object.Ref{Key: key}); !fault.Is(err, fault.NotFound) {
			t.Errorf("Stat(%q): %v", key, err)
		}
		if _, err := d.Put(t.Context(), key, strings.NewReader(""), connectors.PutOptions{}); !fault.Is(err, fault.Denied) {
			t.Errorf("Put(%q): %v", key, err)
		}
	}
	for _, x := range []string{dir, filepath.Dir(dir)} {
		if _, err := file.Open(t.Context(), connectors.Unit{URL: dir, Exclude: []string{x}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a unit that excludes itself: %v", err)
		}
	}
}
