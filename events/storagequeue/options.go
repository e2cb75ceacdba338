package storagequeue

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// settings are what a source's URL and options say.
type settings struct {
	account, queue string
	endpoint       string // of the queue service

	tenant, clientID, clientSecret string // of the service principal
	managedIdentity                bool
	key, sas, connection           string

	visibility  time.Duration // how long a message is ours between two heartbeats
	poll        time.Duration // the longest pause between two polls that find nothing
	retry       time.Duration // until a message that the sink refused comes again
	inHand      int           // messages received and not yet deleted
	maxReceives int
}

// on names the queue in errors.
func (s *settings) on() string { return s.account + "/" + s.queue }

// The names that Azure allows.
var (
	accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	queueName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]$`)
)

// Check says what is wrong with the URL and options of o: fault.Invalid.
func Check(o events.Options) error {
	_, err := parse(o)
	return err
}

// parse reads azqueue://ACCOUNT/QUEUE?endpoint=….
func parse(o events.Options) (settings, error) {
	const op = "storagequeue.Open"
	var s settings
	p, err := events.Parse(o)
	if err == nil && (p.Scheme != "azqueue" || len(p.Hosts) != 1 || len(p.Path) != 1 || !accountName.MatchString(p.Hosts[0]) || !queueName.MatchString(p.Path[0])) {
		err = errors.New("want azqueue://account/queue, in lower case as Azure has them")
	}
	if err == nil {
		err = secretsInURL(o.URL)
	}
	if err != nil {
		return s, fault.New(fault.Invalid, op, o.Name, err)
	}
	s.account, s.queue = p.Hosts[0], p.Path[0]
	s.endpoint = p.Text("endpoint", "")
	s.tenant, s.clientID, s.clientSecret = p.Text("tenant_id", ""), p.Text("client_id", ""), p.Text("client_secret", "")
	s.managedIdentity = p.Flag("managed_identity")
	s.key, s.sas, s.connection = p.Text("key", ""), strings.TrimPrefix(p.Text("sas", ""), "?"), p.Text("connection_string", "")
	s.visibility = p.Span("visibility", time.Minute, 2*time.Second, 7*24*time.Hour)
	s.poll = p.Span("poll", 5*time.Second, 100*time.Millisecond, 10*time.Minute)
	s.retry = p.Span("retry", 5*time.Second, time.Second, 15*time.Minute)
	s.inHand = p.Number("in_hand", 64, 1, 1000)
	s.maxReceives = p.Number("max_receives", 10, 1, 1000)
	if err := s.connect(); err != nil {
		p.Fault("connection_string", err)
	}
	s.validate(p)
	return s, p.End(op, o.Name)
}

// secretsInURL refuses those secrets in a URL's query that events.Parse does not know.
func secretsInURL(raw string) error {
	_, query, _ := strings.Cut(raw, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the query is not NAME=VALUE&…")
	}
	for _, name := range []string{"sas", "connection_string"} {
		if values.Has(name) {
			return &events.OptionError{Name: name, Err: errors.New("must not stand in the URL, which is shown: make it an option")}
		}
	}
	return nil
}

// connect takes what a connection string says, as Azure's portal shows it. Its
// errors do not show it: it holds a secret.
func (s *settings) connect() error {
	if s.connection == "" {
		return nil
	}
	said := make(map[string]string)
	for part := range strings.SplitSeq(strings.Trim(s.connection, "; \n"), ";") {
		name, v, ok := strings.Cut(part, "=")
		if !ok {
			return errors.New("want NAME=VALUE;NAME=VALUE…")
		}
		said[name] = v
	}
	if a := said["AccountName"]; a != "" && a != s.account {
		return fmt.Errorf("it is for the account %q, the URL for %q", a, s.account)
	}
	if s.key != "" || s.sas != "" {
		return errors.New("it excludes key and sas")
	}
	if s.key = said["AccountKey"]; s.key == "" { // the key can do all that the signature can
		s.sas = strings.TrimPrefix(said["SharedAccessSignature"], "?")
	}
	if s.key == "" && s.sas == "" {
		return errors.New("it has neither AccountKey nor SharedAccessSignature")
	}
	switch {
	case s.endpoint != "":
	case said["QueueEndpoint"] != "":
		s.endpoint = said["QueueEndpoint"]
	case said["EndpointSuffix"] != "":
		scheme := said["DefaultEndpointsProtocol"]
		if scheme == "" {
			scheme = "https"
		}
		s.endpoint = scheme + "://" + s.account + ".queue." + said["EndpointSuffix"]
	}
	return nil
}

func (s *settings) validate(p *events.Place) {
	if s.endpoint == "" {
		s.endpoint = "https://" + s.account + ".queue.core.windows.net"
	}
	e, err := url.Parse(s.endpoint)
	if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || e.Fragment != "" {
		p.Fault("endpoint", errors.New("want http(s)://host[:port][/account]"))
		return
	}
	s.endpoint = strings.TrimRight(s.endpoint, "/")
	if s.sas != "" {
		if q, err := url.ParseQuery(s.sas); err != nil || q.Get("sig") == "" {
			p.Fault("sas", errors.New("want the query of a shared access signature: sv=…&sig=…"))
		}
	}
	if s.key != "" {
		if _, err := azqueue.NewSharedKeyCredential(s.account, s.key); err != nil {
			p.Fault("key", errors.New("want the account's key, in base64"))
		}
	}
	given := 0
	for _, has := range []bool{s.key != "", s.sas != "", s.clientSecret != "", s.managedIdentity} {
		if has {
			given++
		}
	}
	switch {
	case given > 1:
		p.Fault("key", errors.New("more than one credential: give key, sas, connection_string, client_secret or managed_identity"))
	case s.clientSecret != "" && (s.clientID == "" || s.tenant == ""):
		p.Fault("client_secret", errors.New("needs client_id and tenant_id"))
	case s.tenant != "" && s.clientSecret == "":
		p.Fault("tenant_id", errors.New("needs client_secret"))
	case s.clientID != "" && s.clientSecret == "" && !s.managedIdentity:
		p.Fault("client_id", errors.New("needs client_secret or managed_identity"))
	case s.key == "" && s.sas == "" && e.Scheme != "https":
		p.Fault("endpoint", errors.New("credentials of Entra ID need https; else give key, sas or connection_string"))
	}
}

// client makes the SDK's client; it calls nobody.
func (s *settings) client(transport *http.Transport) (*azqueue.QueueClient, error) {
	core := azcore.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: -1}, // the loops here retry
		Telemetry: policy.TelemetryOptions{Disabled: true},
		Transport: events.NewClient(transport, maxReply),
	}
	opt := &azqueue.ClientOptions{ClientOptions: core}
	at := s.endpoint + "/" + s.queue
	var c *azqueue.QueueClient
	var err error
	switch {
	case s.key != "":
		var key *azqueue.SharedKeyCredential
		if key, err = azqueue.NewSharedKeyCredential(s.account, s.key); err == nil {
			c, err = azqueue.NewQueueClientWithSharedKeyCredential(at, key, opt)
		}
	case s.sas != "":
		c, err = azqueue.NewQueueClientWithNoCredential(at+"?"+s.sas, opt)
	default:
		var token azcore.TokenCredential
		if token, err = s.entra(core); err == nil {
			c, err = azqueue.NewQueueClient(at, token, opt)
		}
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "storagequeue.Open", s.on(), errors.New(events.Plain(err.Error())))
	}
	return c, nil
}

// entra is a credential of Entra ID: the one named, else what the SDK finds in
// environment, workload identity, managed identity and command line tools.
func (s *settings) entra(core azcore.ClientOptions) (azcore.TokenCredential, error) {
	switch {
	case s.clientSecret != "":
		return azidentity.NewClientSecretCredential(s.tenant, s.clientID, s.clientSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: core})
	case s.managedIdentity:
		opt := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: core}
		if s.clientID != "" {
			opt.ID = azidentity.ClientID(s.clientID)
		}
		return azidentity.NewManagedIdentityCredential(opt)
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: core})
}

// maxReply bounds a reply, in bytes: 32 messages of 64 KiB, escaped.
const maxReply = 16 << 20
