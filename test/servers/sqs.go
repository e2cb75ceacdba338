package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// An SQS is a running fauxqs: queues in memory, gone when it stops.
type SQS struct {
	Endpoint  string // http://127.0.0.1:port
	Region    string
	AccessKey string
	SecretKey string
	port      int
	process   *stoppable
	client    *sqs.Client
}

// fauxqs is what node runs. The program's own command listens on all addresses.
const fauxqs = `
import {buildApp} from 'fauxqs';
const app = buildApp({logger: false, host: '127.0.0.1'});
await app.listen({port: Number(process.argv[1]), host: '127.0.0.1'});
process.on('SIGTERM', () => process.exit(0));
`

// StartSQS starts fauxqs.
func StartSQS(t testing.TB) *SQS {
	t.Helper()
	s := &SQS{Region: "us-east-1", AccessKey: "landwaiter", SecretKey: "landwaiter-secret", port: FreePort(t)}
	s.Endpoint = "http://" + loopback(s.port)
	s.client = sqs.New(sqs.Options{BaseEndpoint: &s.Endpoint, Region: s.Region, Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")})
	s.Start(t)
	return s
}

// Start starts it again, without the queues it had.
func (s *SQS) Start(t testing.TB) {
	t.Helper()
	node := Binary(t, "node")
	if _, err := os.Stat(filepath.Join(npmDir(), "fauxqs")); err != nil {
		Missing(t, "fauxqs")
	}
	cmd := exec.Command(node, "--input-type=module", "-e", fauxqs, fmt.Sprint(s.port))
	cmd.Dir = npmDir() // node looks for modules from there
	s.process = newStoppable(t)
	start(s.process, cmd, listens(s.port))
}

// Stop stops it.
func (s *SQS) Stop() { s.process.Stop() }

// Client returns a plain SDK client.
func (s *SQS) Client() *sqs.Client { return s.client }

// MakeQueue makes a queue and returns its URL without the scheme:
// host:port/ACCOUNT/NAME, where the host is the server's word for itself.
func (s *SQS) MakeQueue(t testing.TB, name string) string {
	t.Helper()
	out, err := s.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(aws.ToString(out.QueueUrl), "http://")
}

// listens is a readiness check: somebody accepts connections at the port.
func listens(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", loopback(port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
