package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// options are what a unit's URL and options say. Those of the first block may
// stand in the URL's query too; credentials may not, since URLs are shown.
type options struct {
	bucket, root string

	endpoint      string // http(s)://host[:port]; "" = Amazon
	region        string // "" = the SDK's, else us-east-1
	pathStyle     bool   // http://host/bucket instead of http://bucket.host; default with an endpoint
	requesterPays bool
	bucketOwner   string // account id that must own the bucket
	profile       string // of the shared configuration files
	role          string // ARN to assume
	externalID    string // for role
	anonymous     bool

	accessKey, secretKey, sessionToken string
}

// Check says what is wrong with the unit's URL and options, all unknown names
// of them, without talking to anybody: fault.Invalid, or Unsupported.
func Check(u connectors.Unit) error {
	_, err := parseOptions(u)
	if err != nil && fault.KindOf(err) == fault.Other {
		return fault.New(fault.Invalid, "s3.Open", u.Name, err)
	}
	return err
}

// parseOptions reads s3://bucket/prefix?endpoint=…&region=…&path_style=… and
// the unit's options, which win.
func parseOptions(u connectors.Unit) (options, error) {
	var o options
	at, err := u.Locate("s3", "want s3://bucket/prefix?endpoint=…&region=…, and credentials as options", func(name string) bool {
		return strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "_token")
	})
	if err != nil {
		return o, err
	}
	o.bucket, o.root = at.Host, connectors.Root(at.Path)
	if strings.HasSuffix(o.bucket, "--x-s3") {
		return o, fault.New(fault.Unsupported, "s3.Open", o.bucket, errors.New("directory buckets list in no order"))
	}
	o.pathStyle = at.Values["endpoint"] != ""
	if err := o.set(at.Values); err != nil {
		return o, err
	}
	return o, o.validate()
}

// set takes values by name.
func (o *options) set(values map[string]string) error {
	text, flag := connectors.Text, connectors.Flag
	return errors.Join(connectors.SetOptions(values, map[string]connectors.Option{
		"endpoint": text(&o.endpoint), "region": text(&o.region), "bucket_owner": text(&o.bucketOwner), "profile": text(&o.profile),
		"role": text(&o.role), "external_id": text(&o.externalID),
		"access_key": text(&o.accessKey), "secret_key": text(&o.secretKey), "session_token": text(&o.sessionToken),
		"path_style": flag(&o.pathStyle), "requester_pays": flag(&o.requesterPays), "anonymous": flag(&o.anonymous),
	})...)
}

func (o *options) validate() error {
	if o.endpoint != "" {
		e, err := url.Parse(o.endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || strings.Trim(e.Path, "/") != "" {
			return &connectors.OptionError{Name: "endpoint", Err: fmt.Errorf("%q: want http://host:port or https://host:port", o.endpoint)}
		}
		o.endpoint = strings.TrimRight(o.endpoint, "/")
	}
	switch {
	case (o.accessKey == "") != (o.secretKey == ""):
		return errors.New("access_key and secret_key go together")
	case o.sessionToken != "" && o.accessKey == "":
		return errors.New("session_token needs access_key and secret_key")
	case o.anonymous && (o.accessKey != "" || o.role != "" || o.profile != ""):
		return errors.New("anonymous excludes credentials")
	case o.accessKey != "" && o.profile != "":
		return errors.New("profile excludes access_key")
	case o.externalID != "" && o.role == "":
		return errors.New("external_id needs role")
	}
	return nil
}

// maxSmallReply bounds, in bytes, a reply that is not content: a page of 1,000
// keys of 1,024 bytes, escaped, is below 5 MiB.
const maxSmallReply = 16 << 20

// newDriver makes the client; it calls nobody yet but the sources of credentials.
func newDriver(ctx context.Context, o options, lim limits) (*Driver, error) {
	transport := connectors.NewTransport()
	httpClient := &http.Client{Transport: connectors.Bounded{Next: transport, Most: maxSmallReply}, CheckRedirect: connectors.NoRedirects}
	cfg, err := o.awsConfig(ctx, httpClient)
	if err != nil {
		return nil, fault.New(fault.Denied, "s3.Open", o.bucket, errors.New(connectors.Plain(err.Error(), 300)))
	}
	d := &Driver{transport: transport, bucket: o.bucket, root: o.root, amazon: o.endpoint == "", limits: lim}
	if d.amazon {
		// Amazon honours them (user guide, "Conditional requests").
		d.honours.put.Set(true)
		d.honours.copy.Set(true)
		d.honours.complete.Set(true)
	}
	d.client = s3.NewFromConfig(cfg, func(so *s3.Options) {
		so.UsePathStyle = o.pathStyle
		so.Retryer = aws.NopRetryer{} // Storage retries
		so.Logger = logging.Nop{}
		// Checksums of our own choice: SHA-256, known ahead where it matters.
		// Those the SDK adds by itself break compatible servers, and on reading
		// cost processor time for what the engine's hash tells anyway.
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		so.DisableLogOutputChecksumValidationSkipped = true
		if !d.amazon {
			so.BaseEndpoint = &o.endpoint
			so.DisableS3ExpressSessionAuth = aws.Bool(true)
		}
		if o.requesterPays {
			so.APIOptions = append(so.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Request-Payer", "requester"))
		}
		if o.bucketOwner != "" {
			so.APIOptions = append(so.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Expected-Bucket-Owner", o.bucketOwner))
		}
	})
	return d, nil
}

// awsConfig finds region and credentials: those of the options, else those that
// the SDK finds in environment, files and instance.
func (o *options) awsConfig(ctx context.Context, httpClient *http.Client) (aws.Config, error) {
	var cfg aws.Config
	switch {
	case o.anonymous:
		cfg.Credentials = aws.AnonymousCredentials{}
	case o.accessKey != "":
		// Nothing is taken from the environment: it may be about another account.
		cfg.Credentials = credentials.NewStaticCredentialsProvider(o.accessKey, o.secretKey, o.sessionToken)
	default:
		var opts []func(*config.LoadOptions) error
		if o.profile != "" {
			opts = append(opts, config.WithSharedConfigProfile(o.profile))
		}
		var err error
		if cfg, err = config.LoadDefaultConfig(ctx, opts...); err != nil {
			return cfg, err
		}
	}
	if o.region != "" {
		cfg.Region = o.region
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if o.role != "" {
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.role, func(a *stscreds.AssumeRoleOptions) {
			a.RoleSessionName = "landwaiter"
			if o.externalID != "" {
				a.ExternalID = &o.externalID
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(provider)
	}
	cfg.HTTPClient = httpClient
	return cfg, nil
}
