package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/test/servers"
)

// TestSecrets plants words that nobody may see wherever a secret can be written,
// in every way of writing it, and looks for them in all that comes out.
func TestSecrets(t *testing.T) {
	s := servers.MinIO(t)
	dir := t.TempDir()
	conf, data, credentials := filepath.Join(dir, "landwaiter.yaml"), filepath.Join(dir, "data"), filepath.Join(dir, "credentials")
	inbox := filepath.Join(dir, "inbox")
	write(t, filepath.Join(inbox, "a"), []byte("x"))
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	var canaries []string
	// plant makes a canary and returns how the configuration names it.
	plant := func(how string) string {
		name := fmt.Sprintf("c%02d", len(canaries))
		word := fmt.Sprintf("CANARY%02dq7xzK", len(canaries))
		canaries = append(canaries, word)
		switch how {
		case "env":
			t.Setenv("TEST_"+name, word)
			return "env:TEST_" + name
		case "file":
			path := filepath.Join(dir, "secrets", name)
			write(t, path, []byte(word+"\n"))
			return "file:" + path
		case "credential":
			write(t, filepath.Join(credentials, name), []byte(word))
			return "credential:" + name
		case "prefixed":
			return "value:" + word
		}
		return word
	}
	hows := []string{"value", "env", "file", "credential", "prefixed"}
	var y strings.Builder
	fmt.Fprintf(&y, "log: {level: debug}\nunits:\n  - {name: inbox, url: 'file://%s'}\n", inbox)
	for i, how := range hows {
		bucket := fmt.Sprintf("bucket%d", i)
		s.MakeBucket(t, bucket, false)
		fmt.Fprintf(&y, "  - name: s3-%s\n    url: %s\n    sweep: 1s\n    options: {access_key: '%s', secret_key: '%s', session_token: '%s', external_id: '%s', role: 'arn:aws:iam::123456789012:role/r'}\n",
			how, s3URL(s, bucket), plant(how), plant(how), plant(how), plant(how))
	}
	y.WriteString("pools:\n  - {name: default, instances: [{url: 'builtin:'}]}\n")
	for _, how := range hows {
		fmt.Fprintf(&y, "  - {name: core-%s, instances: [{url: 'mdcore://127.0.0.1:%d', api_key: '%s'}]}\n", how, servers.FreePort(t), plant(how))
	}
	write(t, conf, []byte(y.String()))
	if len(canaries) < 20 {
		t.Fatalf("only %d canaries", len(canaries))
	}

	var out bytes.Buffer // all that came out
	cases := 0
	say := func(what string, b []byte) {
		cases++
		fmt.Fprintf(&out, "\n== %s\n%s", what, b)
	}
	p := serve(t, data, "--config", conf)
	p.finished("inbox", "a", verdict("clean"))
	command := func(args ...string) {
		t.Helper()
		for _, format := range []string{"table", "json", "yaml", "csv"} {
			o, e, _ := run(t, append(append([]string{"--config", conf, "--data", data, "-o", format}, args...), "--timeout", "20s")...)
			say(strings.Join(args, " ")+" "+format, []byte(o+e))
		}
	}
	for _, args := range [][]string{{"config", "show"}, {"config", "show", "--origin"}, {"config", "validate"}, {"storage", "list"}, {"storage", "coverage"},
		{"engine", "list"}, {"entries"}, {"explain", "inbox", "a"}, {"dlq", "list"}, {"quarantine", "list"}, {"fsck"}} {
		command(args...)
	}
	for _, args := range [][]string{{"doctor"}, {"engine", "test"}, {"scan", inbox}, {"--help"}} {
		o, e, _ := run(t, append([]string{"--config", conf, "--data", data, "--timeout", "30s"}, args...)...)
		say(strings.Join(args, " "), []byte(o+e))
	}
	for _, path := range []string{"/metrics", "/readyz?verbose", "/livez?verbose", "/debug/pprof/cmdline", "/debug/vars"} {
		resp, err := http.Get("http://" + p.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		resp.Body.Close()
		say(path, b.Bytes())
	}
	// A reload, a file that is wrong around secrets, and a database's address.
	for _, broken := range []string{
		y.String() + "nonsense: yes\n",
		strings.Replace(y.String(), "secret_key:", "secret_kye:", 1),
		strings.Replace(y.String(), "session_token: '", "session_token: ['", 1),
		y.String() + "store: {dsn: 'postgres://user:" + plant("value") + "@127.0.0.1:1/x?sslmode=disable'}\n",
		y.String() + "store: {dsn: 'postgres://user:" + plant("value") + "@127.0.0.1:nonsense/x'}\n",
		strings.Replace(y.String(), s3URL(s, "bucket0"), "s3://user:"+plant("value")+"@bucket0?endpoint="+s.Endpoint, 1),
		strings.Replace(y.String(), s3URL(s, "bucket0"), s3URL(s, "bucket0")+"&secret_key="+plant("value"), 1),
		strings.Replace(y.String(), "mdcore://127.0.0.1", "mdcore://user:"+plant("value")+"@127.0.0.1", 1),
		strings.Replace(y.String(), "file://"+inbox, "file://"+inbox+"?secret_key="+plant("value"), 1),
	} {
		write(t, conf, []byte(broken))
		before := len(p.err.String())
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			if l := p.err.String()[before:]; !strings.Contains(l, "reload refused") && !strings.Contains(l, "reloaded") {
				return fmt.Errorf("no reload")
			}
			return nil
		})
		for _, args := range [][]string{{"config", "validate"}, {"config", "show"}, {"doctor"}, {"serve", "--listen", "off", "--timeout", "3s"}} {
			o, e, _ := run(t, append([]string{"--config", conf, "--data", data + "2"}, args...)...)
			say("broken: "+strings.Join(args, " "), []byte(o+e))
		}
		command("storage", "list")
	}
	o, e, _ := run(t, "scan", "s3://user:"+plant("value")+"@bucket0?endpoint="+s.Endpoint)
	say("scan", []byte(o+e))
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	say("log", []byte(p.err.String()))
	for _, root := range []string{data, data + "2"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // not every start made one
			}
			b, err := os.ReadFile(path)
			say(path, b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	hits := 0
	for _, c := range canaries {
		at := bytes.Index(out.Bytes(), []byte(c))
		if at < 0 {
			continue
		}
		hits++
		head := bytes.LastIndex(out.Bytes()[:at], []byte("\n== "))
		line := out.Bytes()[head+4:]
		line = line[:bytes.IndexByte(line, '\n')]
		t.Errorf("%s is shown by %s: …%s…", c, line, out.Bytes()[max(0, at-200):min(out.Len(), at+60)])
	}
	t.Logf("cases=%d violations=%d seed=none: %d canaries in %d bytes of output", cases, hits, len(canaries), out.Len())
}
