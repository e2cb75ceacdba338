package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// An Rsyslog is a running rsyslogd that listens on UDP and writes what it reads
// of each line into a file.
type Rsyslog struct {
	Port int
	file string
}

// A SyslogLine is what rsyslog read of a line.
type SyslogLine struct {
	Facility string `json:"facility"`
	Severity string `json:"severity"`
	Time     string `json:"time"`
	App      string `json:"app"`
	MsgID    string `json:"msgid"`
	Data     string `json:"data"`
	Message  string `json:"message"`
}

const rsyslogConf = `module(load="imudp")
global(workDirectory="%[1]s" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="on")
template(name="json" type="list" option.jsonf="on") {
	property(outname="facility" name="syslogfacility-text" format="jsonf")
	property(outname="severity" name="syslogseverity-text" format="jsonf")
	property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
	property(outname="app" name="app-name" format="jsonf")
	property(outname="msgid" name="msgid" format="jsonf")
	property(outname="data" name="structured-data" format="jsonf")
	property(outname="message" name="msg" format="jsonf")
}
input(type="imudp" address="127.0.0.1" port="%[2]d")
action(type="omfile" file="%[3]s" template="json" asyncWriting="off")
`

// StartRsyslog starts rsyslogd.
func StartRsyslog(t testing.TB) *Rsyslog {
	t.Helper()
	dir := t.TempDir()
	s := &Rsyslog{Port: FreePort(t), file: filepath.Join(dir, "lines")}
	conf := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, rsyslogConf, dir, s.Port, s.file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Binary(t, "rsyslogd"), "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	start(t, cmd, func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "udp", loopback(s.Port))
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("<134>1 - - ready - - - ready")); err != nil {
			return err
		}
		_, err = os.Stat(s.file)
		return err
	})
	return s
}

// Lines are the lines of landwaiter that came so far.
func (s *Rsyslog) Lines(t testing.TB) (list []SyslogLine) {
	t.Helper()
	b, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l SyslogLine
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if l.App == "landwaiter" {
			list = append(list, l)
		}
	}
	return list
}
