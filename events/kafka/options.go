package kafka

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// settings are what a source's URL and options say.
type settings struct {
	brokers []string
	topic   string
	group   string
	parse   func([]byte) ([]events.Notice, error)
	login   sasl.Mechanism
	tls     *tls.Config

	session   time.Duration // without a sign of life, until the group gives our partitions to others
	rebalance time.Duration // until the group goes on without us when partitions move
	retry     time.Duration // until what the sink refused is tried again, the first time
	inHand    int           // records of one poll
}

// Check says what is wrong with the URL and options of o: fault.Invalid.
func Check(o events.Options) error {
	_, err := parse(o)
	return err
}

// parse reads kafka://host:port[,host:port…]/TOPIC?group=….
func parse(o events.Options) (settings, error) {
	const op = "kafka.Open"
	var s settings
	p, err := events.Parse(o)
	if err == nil && (p.Scheme != "kafka" || len(p.Path) != 1) {
		err = errors.New("want kafka://host:port,host:port/TOPIC?group=…")
	}
	if err != nil {
		return s, fault.New(fault.Invalid, op, o.Name, err)
	}
	s.brokers, s.topic, s.group = p.Hosts, p.Path[0], p.Text("group", "")
	if s.group == "" {
		p.Fault("group", errors.New("name the consumer group"))
	}
	s.parse = p.Format()
	s.session = p.Span("session", 45*time.Second, time.Second, 30*time.Minute)
	s.rebalance = p.Span("rebalance", time.Minute, time.Second, time.Hour)
	s.retry = p.Span("retry", time.Second, 50*time.Millisecond, 15*time.Minute)
	s.inHand = p.Number("in_hand", 500, 1, 10_000)
	s.logins(p)
	return s, p.End(op, o.Name)
}

// logins reads how to be let in.
func (s *settings) logins(p *events.Place) {
	user, password := p.Text("user", ""), p.Text("password", "")
	switch way := strings.ToLower(p.Text("sasl", "")); way {
	case "":
		if user != "" || password != "" {
			p.Fault("sasl", errors.New("user and password need it: plain, scram-sha-256 or scram-sha-512"))
		}
	case "plain":
		s.login = plain.Auth{User: user, Pass: password}.AsMechanism()
	case "scram-sha-256":
		s.login = scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case "scram-sha-512":
		s.login = scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	default:
		p.Fault("sasl", errors.New("want plain, scram-sha-256 or scram-sha-512"))
	}
	if s.login != nil && (user == "" || password == "") {
		p.Fault("user", errors.New("sasl needs user and password"))
	}
	s.tls = p.TLS()
}

// What the client may hold, in bytes. Kafka's own bound of a record is 1 MiB by
// default.
const (
	fetchBytes     = 16 << 20
	partitionBytes = 2 << 20
	replyBytes     = 64 << 20
)

// clientOptions are those of the SDK's client.
func (s settings) clientOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ClientID("landwaiter"),
		kgo.SeedBrokers(s.brokers...),
		kgo.ConsumerGroup(s.group),
		kgo.ConsumeTopics(s.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // a new group misses nothing
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableClientMetrics(),
		kgo.SessionTimeout(s.session),
		kgo.HeartbeatInterval(s.session / 10),
		kgo.RebalanceTimeout(s.rebalance),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(partitionBytes),
		kgo.BrokerMaxReadBytes(replyBytes),
		kgo.MaxConcurrentFetches(1),
		kgo.DialTimeout(10 * time.Second),
	}
	if s.login != nil {
		opts = append(opts, kgo.SASL(s.login))
	}
	if s.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(s.tls))
	}
	return opts
}
