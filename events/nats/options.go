package nats

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// settings are what a source's URL and options say.
type settings struct {
	servers          string // nats://host:port,…
	stream, consumer string
	subject          string // what a consumer that is made here takes; "" = all of the stream
	parse            func([]byte) ([]events.Notice, error)
	login            []nats.Option

	ackWait     time.Duration // of a consumer that is made here
	retry       time.Duration // until a message that the sink refused comes again
	inHand      int
	maxReceives int
}

// Check says what is wrong with the URL and options of o: fault.Invalid.
func Check(o events.Options) error {
	_, err := parse(o)
	return err
}

// parse reads nats://host:port[,host:port…]/STREAM/CONSUMER?subject=….
func parse(o events.Options) (settings, error) {
	const op = "nats.Open"
	var s settings
	p, err := events.Parse(o)
	if err == nil && (p.Scheme != "nats" || len(p.Path) != 2 || strings.ContainsAny(p.Path[0]+p.Path[1], ".*> ")) {
		err = errors.New("want nats://host:port/STREAM/CONSUMER")
	}
	if err != nil {
		return s, fault.New(fault.Invalid, op, o.Name, err)
	}
	for i, h := range p.Hosts {
		p.Hosts[i] = "nats://" + h
	}
	s.servers = strings.Join(p.Hosts, ",")
	s.stream, s.consumer, s.subject = p.Path[0], p.Path[1], p.Text("subject", "")
	s.parse = p.Format()
	s.ackWait = p.Span("ack_wait", time.Minute, 2*time.Second, 12*time.Hour)
	s.retry = p.Span("retry", 5*time.Second, 100*time.Millisecond, 15*time.Minute)
	s.inHand = p.Number("in_hand", 100, 1, 10_000)
	s.maxReceives = p.Number("max_receives", 10, 1, 1000)
	s.logins(p)
	return s, p.End(op, o.Name)
}

// logins reads how to be let in.
func (s *settings) logins(p *events.Place) {
	user, password, token, file := p.Text("user", ""), p.Text("password", ""), p.Text("token", ""), p.Text("credentials", "")
	ways := 0
	if user != "" || password != "" {
		ways++
		s.login = append(s.login, nats.UserInfo(user, password))
	}
	if token != "" {
		ways++
		s.login = append(s.login, nats.Token(token))
	}
	if file != "" {
		ways++
		if _, err := os.Stat(file); err != nil {
			p.Fault("credentials", errors.New("the file cannot be read"))
		}
		s.login = append(s.login, nats.UserCredentials(file))
	}
	if ways > 1 {
		p.Fault("user", errors.New("user and password, token, credentials: one of them"))
	}
	if c := p.TLS(); c != nil {
		s.login = append(s.login, nats.Secure(c))
	}
}

// dial is a dialer that nats.go calls, with a context.
type dial func(network, address string) (net.Conn, error)

// Dial dials.
func (d dial) Dial(network, address string) (net.Conn, error) { return d(network, address) }

// connect connects once. The connection comes back by itself, for ever, when it
// breaks, and tells the meter.
func (s *Source) connect(ctx context.Context) (*nats.Conn, error) {
	dialer := net.Dialer{Timeout: callLimit, KeepAlive: 30 * time.Second}
	delays := func(attempts int) time.Duration {
		b := events.Backoff{First: 100 * time.Millisecond, Most: 30 * time.Second}
		for range min(attempts-1, 10) {
			b.Next()
		}
		return b.Next()
	}
	opts := append([]nats.Option{
		nats.Name("landwaiter " + s.name), nats.Timeout(callLimit), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.CustomReconnectDelay(delays),
		nats.PingInterval(15 * time.Second), nats.MaxPingsOutstanding(2), nats.ReconnectBufSize(-1),
		nats.SetCustomDialer(dial(func(network, address string) (net.Conn, error) { return dialer.DialContext(ctx, network, address) })),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				err = nats.ErrDisconnected
			}
			if ctx.Err() == nil { // else we ended it
				s.meter.Lost(fail(ctx, "nats.Connect", s.set.servers, err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { s.meter.Connected() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if ctx.Err() == nil {
				s.meter.Refused(fail(ctx, "nats.Receive", s.set.stream, err))
			}
		}),
	}, s.set.login...)
	conn, err := nats.Connect(s.set.servers, opts...)
	if err != nil {
		return nil, fail(ctx, "nats.Connect", s.set.servers, err)
	}
	return conn, nil
}
