// Package kafka writes notices to a topic: a record of JSON for each, with its
// id as the key.
package kafka

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/outbound"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
)

// Options say where to write.
type Options struct {
	Servers        []string
	Topic          string
	SASL           string // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	User, Password string
	TLS            bool
	Guard          outbound.Guard
}

// A Kafka is one topic.
type Kafka struct {
	topic  string
	client *kgo.Client
}

// New returns the channel; it connects at the first Deliver.
func New(o Options) (*Kafka, error) {
	opts := []kgo.Opt{kgo.ClientID("landwaiter"), kgo.SeedBrokers(o.Servers...), kgo.DefaultProduceTopic(o.Topic), kgo.DisableClientMetrics(),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordRetries(2), kgo.RecordDeliveryTimeout(15 * time.Second), kgo.MaxBufferedRecords(1000),
		kgo.Dialer(o.Guard.DialContext)}
	if o.TLS {
		opts = append(opts, kgo.Dialer((&tlsDialer{o.Guard}).dial))
	}
	switch o.SASL {
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: o.User, Pass: o.Password}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: o.Password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: o.Password}.AsSha512Mechanism()))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "kafka.New", o.Topic, err)
	}
	return &Kafka{topic: o.Topic, client: c}, nil
}

// Close ends the connections.
func (k *Kafka) Close() error {
	k.client.Close()
	return nil
}

// A record is what a record holds.
type record struct {
	ID   ledger.ID         `json:"id"`
	Kind ledger.NoticeKind `json:"kind"`
	Time time.Time         `json:"time"`
	Body any               `json:"body"`
}

// An audit is the body of a record of the audit.
type audit struct {
	N        int64     `json:"n"`
	Time     time.Time `json:"time"`
	Who      string    `json:"who"`
	Type     string    `json:"type"`
	Category string    `json:"category"`
	Level    string    `json:"level"`
	Action   string    `json:"action"`
	Target   string    `json:"target"`
	Detail   string    `json:"detail"`
}

// Deliver writes one record and waits until all replicas in sync have it.
func (k *Kafka) Deliver(ctx context.Context, n ledger.Notice) error {
	const op = "kafka.Deliver"
	r := record{ID: n.ID, Kind: n.Kind, Time: n.Created, Body: n.Body}
	if n.Kind == ledger.NoticeAudit {
		a, err := notify.Body[ledger.AuditRow](n)
		if err != nil {
			return err
		}
		r.Body = audit{a.N, a.At, a.Who, a.Type.String(), a.Category.String(), a.Level.String(), a.Action, a.Target, a.Detail}
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fault.New(fault.Corrupt, op, n.ID.String(), err)
	}
	if err := k.client.ProduceSync(ctx, &kgo.Record{Key: []byte(n.ID.String()), Value: value}).FirstErr(); err != nil {
		return fault.New(fault.Unavailable, op, k.topic, err)
	}
	return nil
}

// A tlsDialer dials through the guard and speaks TLS.
type tlsDialer struct{ guard outbound.Guard }

func (d *tlsDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.guard.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}
