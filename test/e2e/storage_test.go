package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/test/servers"
)

func s3URL(s servers.S3, bucket string) string {
	return fmt.Sprintf("s3://%s?endpoint=%s&region=%s", bucket, s.Endpoint, s.Region)
}

func s3Unit(name string, s servers.S3, bucket, workflow string) string {
	return fmt.Sprintf("  - name: %s\n    url: %s\n    workflow: %s\n    sweep: 2s\n    options:\n      access_key: %s\n      secret_key: %s\n",
		name, s3URL(s, bucket), workflow, s.AccessKey, s.SecretKey)
}

func put(t *testing.T, s servers.S3, bucket, key string, content []byte) {
	t.Helper()
	_, err := s.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
}

func object(t *testing.T, s servers.S3, bucket, key string) ([]byte, bool) {
	t.Helper()
	out, err := s.Client().GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if none := new(types.NoSuchKey); errors.As(err, &none) {
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b, true
}

// TestBuckets watches a bucket and a folder of a real S3 server and this
// machine: tags, quarantine and restore, and moves across vendors both ways.
func TestBuckets(t *testing.T) {
	s := servers.Versitygw(t)
	s.MakeBucket(t, "landing", false)
	s.MakeBucket(t, "archive", true)
	dir := t.TempDir()
	folder, back := filepath.Join(dir, "folder"), filepath.Join(dir, "back")
	for _, d := range []string{folder, back} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "landwaiter.yaml")
	write(t, conf, []byte("units:\n"+s3Unit("landing", s, "landing", "tag-and-quarantine")+s3Unit("archive", s, "archive", "to-back")+
		"  - name: folder\n    url: file://"+folder+"\n    workflow: to-archive\n"+
		"  - name: back\n    url: file://"+back+"\n    workflow: tags\n"+
		`workflows:
  - name: tag-and-quarantine
    tagging: {enabled: true}
    quarantine: {enabled: true}
  - name: tags
    tagging: {enabled: true}
  - name: to-archive
    allowed: {handling: move, destinations: [{unit: archive, folder: in}]}
  - name: to-back
    allowed: {handling: copy, destinations: [{unit: back, folder: got}]}
`))
	p := serve(t, filepath.Join(dir, "data"), "--config", conf)

	put(t, s, "landing", "a b+c/clean.txt", []byte("clean"))
	put(t, s, "landing", "bad.com", eicar())
	p.finished("landing", "a b+c/clean.txt", verdict("clean"))
	p.finished("landing", "bad.com", verdict("infected"))
	tags, err := s.Client().GetObjectTagging(t.Context(), &awss3.GetObjectTaggingInput{Bucket: aws.String("landing"), Key: aws.String("a b+c/clean.txt")})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, tag := range tags.TagSet {
		found[*tag.Key] = *tag.Value
	}
	if found["MetaDefenderResult"] != "No Threat Detected" || found["MetaDefenderFileId"] == "" {
		t.Errorf("tags %v", found)
	}
	if _, there := object(t, s, "landing", "bad.com"); there {
		t.Error("the infected object is still in the bucket")
	}
	items := p.quarantined()
	if len(items) != 1 {
		t.Fatalf("quarantine %+v", items)
	}
	if out, errs, code := run(t, "--data", p.data, "--config", conf, "quarantine", "restore", items[0].ID); code != 0 {
		t.Fatalf("restore: exit %d\n%s%s", code, out, errs)
	}
	p.finished("landing", "bad.com", func(r ledger.Record) bool { return r.Decision == "allowed" })
	if b, there := object(t, s, "landing", "bad.com"); !there || !bytes.Equal(b, eicar()) {
		t.Errorf("restored: %v %q", there, b)
	}

	// folder → archive (S3), and from there a copy → back (local).
	write(t, filepath.Join(folder, "x", "doc.txt"), []byte("a document"))
	p.finished("folder", "x/doc.txt", func(r ledger.Record) bool { return len(r.Actions) == 2 && r.Actions[1].State == "done" })
	if exists(filepath.Join(folder, "x", "doc.txt")) {
		t.Error("the moved file is still there")
	}
	if b, there := object(t, s, "archive", "in/x/doc.txt"); !there || string(b) != "a document" {
		t.Errorf("moved object: %v %q", there, b)
	}
	// What we wrote ourselves is not processed again; what others write there is.
	put(t, s, "archive", "foreign.txt", []byte("from outside"))
	p.finished("archive", "foreign.txt", verdict("clean"))
	if b, err := os.ReadFile(filepath.Join(back, "got", "foreign.txt")); err != nil || string(b) != "from outside" {
		t.Errorf("copied file: %q, %v", b, err)
	}
	time.Sleep(5 * time.Second) // two sweeps of every bucket
	for unit, keys := range map[string]int{"landing": 2, "archive": 1, "back": 0, "folder": 1} {
		l, err := p.entries(unit)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, r := range l {
			seen[r.Key]++
		}
		if len(seen) != keys {
			t.Errorf("unit %s: %d keys have entries, want %d: %v", unit, len(seen), keys, seen)
		}
	}
}

// TestDeleteIgnored removes from a server that ignores If-Match on DELETE: the
// removal is refused, and nothing is lost.
func TestDeleteIgnored(t *testing.T) {
	s := servers.MinIO(t)
	s.MakeBucket(t, "plain", false)
	dir := t.TempDir()
	conf := filepath.Join(dir, "landwaiter.yaml")
	write(t, conf, []byte("units:\n"+s3Unit("plain", s, "plain", "quarantine")))
	p := serve(t, filepath.Join(dir, "data"), "--config", conf)
	put(t, s, "plain", "bad.com", eicar())
	r := p.finished("plain", "bad.com", verdict("infected"))
	for _, a := range r.Actions {
		if a.State != "refused" || a.Detail == "" {
			t.Errorf("action %+v, want it refused with the reason", a)
		}
	}
	if len(r.Actions) == 0 {
		t.Error("no action is listed")
	}
	if _, there := object(t, s, "plain", "bad.com"); !there {
		t.Error("the object is gone")
	}
}

// TestClamdStopsAndComes starts with clamd down, lets it come, kills it and
// starts another: entries wait and are never clean without it.
func TestClamdStopsAndComes(t *testing.T) {
	servers.Binary(t, "clamd")
	dir := t.TempDir()
	inbox, sock := filepath.Join(dir, "inbox"), filepath.Join(dir, "clamd.sock")
	write(t, filepath.Join(inbox, "one.txt"), []byte("one"))
	conf := filepath.Join(dir, "landwaiter.yaml")
	write(t, conf, []byte("pools:\n  - name: default\n    max_definitions_age: 0\n    instances: [{url: 'clamd://"+sock+"'}]\n"))
	p := start(t, nil, "serve", "--config", conf, "--data", filepath.Join(dir, "data"), "--listen", "off", "--watch", inbox)
	p.data = filepath.Join(dir, "data")
	pending := func(key string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			l, err := p.entries("inbox")
			if err != nil {
				return err
			}
			for _, r := range l {
				if r.Key == key && r.State == "pending" && r.Attempts == 0 {
					return nil
				}
			}
			return fmt.Errorf("%s does not wait: %+v", key, l)
		})
	}
	pending("one.txt")
	socket, _ := servers.Clamd(t, servers.ClamdOptions{})
	if err := os.Symlink(socket, sock); err != nil {
		t.Fatal(err)
	}
	p.finished("inbox", "one.txt", verdict("clean"))
	if err := os.Remove(sock); err != nil {
		t.Fatal(err)
	}
	pid := clamdPID(t, socket)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(inbox, "two.com"), eicar())
	eventually(t, 20*time.Second, func() error {
		l, err := p.entries("inbox")
		if err != nil {
			return err
		}
		for _, r := range l {
			if r.Key == "two.com" && r.State == "pending" {
				return nil
			}
			if r.Key == "two.com" && r.Verdict == "clean" {
				t.Fatal("clean without an engine")
			}
		}
		return errors.New("two.com is not there yet")
	})
	socket, _ = servers.Clamd(t, servers.ClamdOptions{})
	if err := os.Symlink(socket, sock); err != nil {
		t.Fatal(err)
	}
	p.finished("inbox", "two.com", verdict("infected"))
}

// clamdPID finds the process that listens on the socket, by its command line's configuration.
func clamdPID(t *testing.T, socket string) int {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range procs {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(b, []byte("clamd")) || !strings.Contains(string(b), filepath.Dir(socket)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/cmdline", &pid); err == nil {
			return pid
		}
	}
	t.Fatal("no clamd listens on " + socket)
	return 0
}
