package pubsub

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// settings are what a source's URL and options say.
type settings struct {
	subscription string // projects/PROJECT/subscriptions/NAME
	endpoint     string

	keyFile     string // path of a credentials file
	credentials string // such a file's content
	anonymous   bool

	deadline    time.Duration // how long a message is ours between two heartbeats
	retry       time.Duration // the first pause after the sink refused a message
	inHand      int           // messages received and not yet acknowledged
	maxReceives int
}

const google = "https://pubsub.googleapis.com"

// What projects and subscriptions may be called. A project of the old form
// example.com:name must be named by its number.
var (
	projectName      = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{2,99}$`)
	subscriptionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)
)

// Check says what is wrong with the URL and options of o: fault.Invalid.
func Check(o events.Options) error {
	_, err := parse(o)
	return err
}

// parse reads pubsub://PROJECT/SUBSCRIPTION?endpoint=….
func parse(o events.Options) (settings, error) {
	const op = "pubsub.Open"
	var s settings
	p, err := events.Parse(o)
	if err == nil && (p.Scheme != "pubsub" || len(p.Hosts) != 1 || len(p.Path) != 1 || !projectName.MatchString(p.Hosts[0]) || !subscriptionName.MatchString(p.Path[0])) {
		err = errors.New("want pubsub://PROJECT/SUBSCRIPTION")
	}
	if _, query, _ := strings.Cut(o.URL, "?"); err == nil && strings.Contains(query, "credentials_json") {
		err = &events.OptionError{Name: "credentials_json", Err: errors.New("must not stand in the URL, which is shown: make it an option")}
	}
	if err != nil {
		return s, fault.New(fault.Invalid, op, o.Name, err)
	}
	s.subscription = "projects/" + p.Hosts[0] + "/subscriptions/" + url.PathEscape(p.Path[0])
	s.endpoint = strings.TrimRight(p.Text("endpoint", google), "/")
	s.keyFile, s.credentials, s.anonymous = p.Text("key_file", ""), p.Text("credentials_json", ""), p.Flag("anonymous")
	// The keeper looks every twelfth of the deadline; the first look must come
	// before the subscription's own deadline, 10 s at least, is over.
	s.deadline = p.Span("deadline", time.Minute, 2*time.Second, 90*time.Second)
	s.retry = p.Span("retry", 5*time.Second, time.Second, 15*time.Minute)
	s.inHand = p.Number("in_hand", 100, 1, 10_000)
	s.maxReceives = p.Number("max_receives", 10, 1, 1000)

	e, err := url.Parse(s.endpoint)
	if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || e.Path != "" {
		p.Fault("endpoint", errors.New("want http://host:port or https://host:port"))
	} else if e.Scheme == "http" && !s.anonymous {
		p.Fault("endpoint", errors.New("over plain http the token could be read: use https, or anonymous: true"))
	}
	switch {
	case s.anonymous && (s.keyFile != "" || s.credentials != ""):
		p.Fault("anonymous", errors.New("excludes credentials"))
	case s.keyFile != "" && s.credentials != "":
		p.Fault("key_file", errors.New("excludes credentials_json"))
	case s.credentials != "":
		if _, err := typeOf([]byte(s.credentials)); err != nil {
			p.Fault("credentials_json", err)
		}
	}
	return s, p.End(op, o.Name)
}

// typeOf says what sort of credentials content holds. Its errors never quote
// content.
func typeOf(content []byte) (credentials.CredType, error) {
	var c struct {
		Type credentials.CredType `json:"type"`
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return "", errors.New("the credentials are not JSON")
	}
	if !slices.Contains([]credentials.CredType{credentials.ServiceAccount, credentials.AuthorizedUser, credentials.ExternalAccount, credentials.ImpersonatedServiceAccount}, c.Type) {
		return "", errors.New("the credentials are of no known type: want a service account's key, or a workload identity's configuration")
	}
	return c.Type, nil
}

// A login gets tokens: by the credentials of the options, else by those that
// Google's library finds in environment, files and machine. It looks for them
// at the first call, since that may ask the machine's metadata server.
type login struct {
	set  settings
	http *http.Client

	mu    sync.Mutex
	found *auth.Credentials
}

// sign puts a token on req.
func (l *login) sign(ctx context.Context, req *http.Request) error {
	if l.set.anonymous {
		return nil
	}
	c, err := l.find()
	if err != nil {
		return err
	}
	token, err := c.Token(ctx)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Value)
	return nil
}

func (l *login) find() (*auth.Credentials, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found != nil {
		return l.found, nil
	}
	const op = "pubsub.login"
	opts := &credentials.DetectOptions{Scopes: []string{"https://www.googleapis.com/auth/pubsub"}, Client: l.http,
		DisableAsyncRefresh: true} // it would start goroutines that nobody waits for
	content := []byte(l.set.credentials)
	var err error
	if l.set.keyFile != "" {
		if content, err = os.ReadFile(l.set.keyFile); err != nil {
			return nil, fault.New(fault.Denied, op, l.set.keyFile, err)
		}
	}
	if len(content) == 0 {
		if l.found, err = credentials.DetectDefault(opts); err != nil {
			return nil, fault.New(fault.Denied, op, l.set.subscription, errors.New(events.Plain(err.Error())))
		}
		return l.found, nil
	}
	kind, err := typeOf(content)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, l.set.subscription, err)
	}
	if l.found, err = credentials.NewCredentialsFromJSON(kind, content, opts); err != nil {
		return nil, fault.New(fault.Invalid, op, l.set.subscription, errors.New("the credentials are incomplete"))
	}
	return l.found, nil
}

// maxReply bounds a reply, in bytes. Google answers a pull with 10 MB of
// messages at most, in base64.
const maxReply = 32 << 20
