package servers

import (
	"fmt"
	"os/exec"
	"testing"
)

// A NATS is a running nats-server with JetStream. What its streams hold
// outlives Stop and Start.
type NATS struct {
	URL     string // nats://127.0.0.1:port
	Address string // 127.0.0.1:port
	port    int
	monitor int
	args    []string
	process *stoppable
}

// StartNATS starts a server with JetStream in a private folder. More arguments
// go to the server as they are: --user, --pass, --auth.
func StartNATS(t testing.TB, args ...string) *NATS {
	t.Helper()
	n := &NATS{port: FreePort(t), monitor: FreePort(t)}
	n.Address = loopback(n.port)
	n.URL = "nats://" + n.Address
	n.args = append([]string{"-a", "127.0.0.1", "-p", fmt.Sprint(n.port), "-m", fmt.Sprint(n.monitor), "-js", "-sd", t.TempDir()}, args...)
	n.Start(t)
	return n
}

// Start starts it again.
func (n *NATS) Start(t testing.TB) {
	t.Helper()
	n.process = newStoppable(t)
	start(n.process, exec.Command(Binary(t, "nats-server"), n.args...), answersHTTP("http://"+loopback(n.monitor)+"/healthz?js-enabled-only=true"))
}

// Stop stops it.
func (n *NATS) Stop() { n.process.Stop() }
