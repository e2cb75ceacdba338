package sqs

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/logging"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// settings are what a source's URL and options say.
type settings struct {
	queue    string // its URL, as the server has it
	endpoint string // http(s)://host:port; "" = Amazon
	region   string

	accessKey, secretKey, sessionToken string

	wait        time.Duration // of a long poll
	visibility  time.Duration // how long a message is ours between two heartbeats
	retry       time.Duration // until a message that the sink refused comes again
	inHand      int           // messages received and not yet acknowledged
	maxReceives int
}

// maxVisibility is Amazon's own bound.
const maxVisibility = 12 * time.Hour

// amazonHost matches sqs.REGION.amazonaws.com and its like.
var amazonHost = regexp.MustCompile(`^sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$`)

// Check says what is wrong with the URL and options of o: fault.Invalid.
func Check(o events.Options) error {
	_, err := parse(o)
	return err
}

// parse reads sqs://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE: the queue's URL with
// another scheme. With ?endpoint=… the calls go there, and the URL says only
// what that server calls the queue.
func parse(o events.Options) (settings, error) {
	const op = "sqs.Open"
	var s settings
	p, err := events.Parse(o)
	if err == nil && (p.Scheme != "sqs" || len(p.Hosts) != 1 || len(p.Path) != 2) {
		err = errors.New("want sqs://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")
	}
	if err != nil {
		return s, fault.New(fault.Invalid, op, o.Name, err)
	}
	s.endpoint, s.region = strings.TrimRight(p.Text("endpoint", ""), "/"), p.Text("region", "")
	s.accessKey, s.secretKey, s.sessionToken = p.Text("access_key", ""), p.Text("secret_key", ""), p.Text("session_token", "")
	s.wait = p.Span("wait", 20*time.Second, 0, 20*time.Second)
	s.visibility = p.Span("visibility", time.Minute, 2*time.Second, maxVisibility)
	s.retry = p.Span("retry", 5*time.Second, time.Second, 15*time.Minute)
	s.inHand = p.Number("in_hand", 100, 1, 10_000)
	s.maxReceives = p.Number("max_receives", 10, 1, 1000)

	host, scheme := p.Hosts[0], "https"
	if s.endpoint != "" {
		e, err := url.Parse(s.endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || e.Path != "" {
			p.Fault("endpoint", errors.New("want http://host:port or https://host:port"))
		} else {
			scheme = e.Scheme
		}
	}
	if m := amazonHost.FindStringSubmatch(host); m != nil && s.region == "" {
		s.region = m[1]
	}
	if s.region == "" {
		p.Fault("region", errors.New("the host does not tell it: name it"))
	}
	if (s.accessKey == "") != (s.secretKey == "") || s.sessionToken != "" && s.accessKey == "" {
		p.Fault("access_key", errors.New("access_key and secret_key go together, and session_token with them"))
	}
	s.queue = scheme + "://" + host + "/" + url.PathEscape(p.Path[0]) + "/" + url.PathEscape(p.Path[1])
	return s, p.End(op, o.Name)
}

// client makes the SDK's client. Credentials are those of the options, else
// those that the SDK finds in environment, files and instance.
func (s settings) client(transport *http.Transport) (*sqs.Client, error) {
	var cfg aws.Config
	if s.accessKey != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(s.accessKey, s.secretKey, s.sessionToken)
	} else {
		var err error
		if cfg, err = config.LoadDefaultConfig(context.Background()); err != nil { // reads files, calls nobody
			return nil, err
		}
	}
	cfg.Region = s.region
	cfg.HTTPClient = events.NewClient(transport, maxReply)
	return sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		o.Retryer = aws.NopRetryer{} // the loops here retry
		o.Logger = logging.Nop{}
		if s.endpoint != "" {
			o.BaseEndpoint = &s.endpoint
		} else if u, err := url.Parse(s.queue); err == nil {
			o.BaseEndpoint = aws.String("https://" + u.Host)
		}
	}), nil
}

// maxReply bounds a reply, in bytes: ten messages, together 1 MiB at most, in
// JSON that may escape each byte.
const maxReply = 16 << 20
