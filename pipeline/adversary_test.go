package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/s3"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/test/servers"
	"github.com/landwaiter/landwaiter/workflow"
)

// number is an environment's number, or the one for a normal test run.
func number(name string, normal int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return normal
}

// A prey is where an adversary replaces objects behind our back.
type prey interface {
	put(key string, content []byte, how int) error
	get(key string) []byte // nil if there is none
	keys() int             // what there is, private folders included
}

type preyFolder struct {
	t   testing.TB
	dir string
}

// put replaces by rename, in place, or in place with the old time put back.
func (p preyFolder) put(key string, content []byte, how int) error {
	name := filepath.Join(p.dir, key)
	if how%3 == 0 {
		beside := filepath.Join(p.t.TempDir(), "new")
		return errors.Join(os.WriteFile(beside, content, 0o644), os.Rename(beside, name))
	}
	before, err := os.Stat(name)
	if err == nil {
		err = os.WriteFile(name, content, 0o644)
	} else {
		err = os.WriteFile(name, content, 0o644)
		before = nil
	}
	if err == nil && how%3 == 2 && before != nil {
		err = os.Chtimes(name, before.ModTime(), before.ModTime())
	}
	return err
}

func (p preyFolder) get(key string) []byte {
	b, err := os.ReadFile(filepath.Join(p.dir, key))
	if err != nil {
		return nil
	}
	return b
}

func (p preyFolder) keys() int { return len(files(p.t, p.dir)) }

type preyBucket struct {
	s      servers.S3
	bucket string
}

func (p preyBucket) put(key string, content []byte, _ int) error {
	_, err := p.s.Client().PutObject(context.Background(), &awss3.PutObjectInput{Bucket: &p.bucket, Key: &key, Body: bytes.NewReader(content)})
	return err
}

func (p preyBucket) get(key string) []byte {
	out, err := p.s.Client().GetObject(context.Background(), &awss3.GetObjectInput{Bucket: &p.bucket, Key: &key})
	if err != nil {
		return nil
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		return nil
	}
	return b
}

func (p preyBucket) keys() (n int) {
	pages := awss3.NewListObjectsV2Paginator(p.s.Client(), &awss3.ListObjectsV2Input{Bucket: aws.String(p.bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return -1
		}
		n += len(page.Contents)
	}
	return n
}

// bucket is a unit of a bucket of a real server.
func bucket(t testing.TB, name string, srv servers.S3, versioned bool, flow workflow.Workflow) (unit, preyBucket) {
	t.Helper()
	srv.MakeBucket(t, name, versioned)
	u := unit{flow: flow, Unit: connectors.Unit{Name: name, URL: fmt.Sprintf("s3://%s?endpoint=%s&region=%s", name, srv.Endpoint, srv.Region), SweepEvery: time.Second,
		Options: map[string]string{"access_key": srv.AccessKey, "secret_key": srv.SecretKey}}}
	d, err := s3.Open(t.Context(), u.Unit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	proven, err := connectors.Probe(t.Context(), u.Unit, d)
	if err != nil {
		t.Fatal(err)
	}
	u.driver, u.caps = d, proven.Caps
	return u, preyBucket{srv, name}
}

// TestAdversary replaces infected objects between their verdict and the act,
// at each call that the line makes to the unit and beside it: what is put away
// or removed must be what was scanned, and what replaced it must live, or be
// judged by itself.
func TestAdversary(t *testing.T) {
	trials := number("TEST_TRIALS", 1000)
	remove := workflow.Workflow{Name: "d", Blocked: workflow.Remedy{Handling: workflow.Delete}}
	for _, c := range []struct {
		name string
		flow workflow.Workflow
		n    int
	}{{"folder quarantine", away(), trials * 3 / 10}, {"folder delete", remove, trials * 4 / 10},
		{"bucket quarantine", away(), trials / 10}, {"bucket delete", remove, trials / 10}, {"versioned bucket quarantine", away(), trials / 10}} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "folder") {
				u, dir := folder(t, "prey", c.flow)
				u.SweepEvery = time.Second
				adversary(t, u, preyFolder{t, dir}, c.n)
				return
			}
			u, b := bucket(t, "prey", servers.Versitygw(t), strings.HasPrefix(c.name, "versioned"), c.flow)
			adversary(t, u, b, c.n)
		})
	}
}

// A trial is one object and what the adversary made of it.
type trial struct {
	judged  bool   // the engine called it infected
	swapped bool   // and it was replaced since
	old     []byte // what was there first
	content []byte // what must be there in the end, or be put away if evil
	chance  *rand.Rand
}

func adversary(t *testing.T, u unit, p prey, n int) {
	seed := uint64(number("TEST_SEED", int(time.Now().UnixNano()%1e9)))
	w := newWorld(t, u)
	var mu sync.Mutex
	var beside sync.WaitGroup
	all := map[string]*trial{}
	for i := range n {
		c := fmt.Appendf([]byte(evil), "%06d first", i)
		all[fmt.Sprintf("k%06d", i)] = &trial{old: c, content: c, chance: rand.New(rand.NewPCG(seed, uint64(i)))}
	}
	w.engine.after = func(s scan.Sample, _ []byte, rep *scan.Report) error {
		mu.Lock()
		defer mu.Unlock()
		if tr := all[s.Name]; tr != nil && rep.Verdict == scan.Infected {
			tr.judged = true
		}
		return nil
	}
	swap := func(key string) {
		mu.Lock()
		tr := all[key]
		if tr == nil || !tr.judged || tr.swapped || tr.chance.IntN(5) > 0 {
			mu.Unlock()
			return
		}
		tr.swapped = true
		// The same length, so that only the version tells; one in four is evil too.
		word := "harmless "[:len(evil)]
		if tr.chance.IntN(4) == 0 {
			word = evil
		}
		tr.content = append([]byte(word), bytes.Replace(tr.old[len(evil):], []byte("first"), []byte("other"), 1)...)
		content, how, delay := tr.content, tr.chance.IntN(3), time.Duration(-1)
		// Inside a call to a bucket the race is the server's own: the test server's
		// check of a version and its removal are not one step.
		if _, local := p.(preyFolder); local && tr.chance.IntN(2) == 0 {
			delay = time.Duration(tr.chance.IntN(500)) * time.Microsecond
		}
		mu.Unlock()
		replace := func() {
			if err := p.put(key, content, how); err != nil {
				t.Errorf("%s: the adversary failed: %v", key, err)
			}
		}
		if delay < 0 {
			replace()
			return
		}
		beside.Go(func() {
			time.Sleep(delay) // to hit the middle of a call
			replace()
		})
	}
	w.hook = func(unit, op, key string) error {
		if unit == "prey" && op != "List" && op != "Watch" {
			swap(strings.TrimPrefix(key, ".landwaiter/"))
		}
		return nil
	}
	for key, tr := range all {
		if err := p.put(key, tr.old, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	w.idle()
	beside.Wait()
	w.until("at rest", func() bool { // replacements that came last are found by the sweep
		w.pipe.Sweep(w.ids["prey"], "")
		for range 3 {
			w.idle()
		}
		for key, tr := range all {
			row, ok, err := w.db.Row(context.Background(), w.ids["prey"], key)
			if err != nil || bytes.HasPrefix(tr.content, []byte(evil)) == ok || ok && row.Verdict != scan.Clean {
				w.about = fmt.Sprintf("\n  %s: swapped %v, wanted %q, there %q, row %v %+v %v\n%s", key, tr.swapped, tr.content, p.get(key), ok, row, err, w.history("prey", key))
				return false
			}
		}
		return true
	})
	kept := map[string]int{}
	v := w.vault.(*quarantine.Vault)
	for item, err := range v.List(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		r, _, err := v.Open(context.Background(), item)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&b, r); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		kept[b.String()]++
	}
	violations, swapped, left := 0, 0, 0
	for key, tr := range all {
		bad := ""
		there := p.get(key)
		if tr.swapped {
			swapped++
		}
		if bytes.HasPrefix(tr.content, []byte(evil)) {
			if there != nil {
				bad = fmt.Sprintf("infected content is still there: %q", there)
			}
		} else {
			left++
			if !bytes.Equal(there, tr.content) {
				bad = fmt.Sprintf("the replacement is %q, want %q", there, tr.content)
			}
		}
		if kept[string(tr.content)] > 0 && tr.swapped && !bytes.HasPrefix(tr.content, []byte(evil)) || kept[string(tr.old)] > 1 || kept[string(tr.content)] > 1 {
			bad = "the vault holds what was not infected, or twice"
		}
		if bad != "" {
			violations++
			t.Errorf("%s: %s", key, bad)
		}
	}
	if got := p.keys(); got != left {
		violations++
		t.Errorf("there are %d objects, want %d: something is left aside", got, left)
	}
	if swapped < n/4 {
		t.Errorf("only %d of %d were replaced", swapped, n)
	}
	w.consistent()
	told("adversary "+t.Name(), n, violations, fmt.Sprint(seed, " swapped=", swapped))
}
