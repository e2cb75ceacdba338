package s3

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// Codes by which a bucket says that it has no such thing.
var noneSuch = []string{"NoSuchBucketPolicy", "ServerSideEncryptionConfigurationNotFoundError"}

// Checklist asks the bucket how it is set up.
func (d *Driver) Checklist(ctx context.Context) []connectors.Measure {
	policy, perr := d.policy(ctx)
	list := []connectors.Measure{d.https(policy, perr), d.authenticated(ctx, policy, perr), leastPrivilege(policy, perr), d.versioned(ctx), d.logged(ctx), d.encrypted(ctx)}
	for i, item := range connectors.Items() {
		list[i].Item = item
	}
	return list
}

// A statement is one of a bucket's policy; what may be one or many is a list.
type statement struct {
	Effect    string          `json:"Effect"`
	Principal json.RawMessage `json:"Principal"`
	Action    words           `json:"Action"`
	NotAction words           `json:"NotAction"`
	Condition map[string]map[string]words
}

// words are one text or a list of texts.
type words []string

// UnmarshalJSON reads one text (or flag) as a list of one.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	var flag bool
	switch {
	case json.Unmarshal(b, &one) == nil:
		*w = words{one}
	case json.Unmarshal(b, &flag) == nil:
		*w = words{map[bool]string{true: "true", false: "false"}[flag]}
	default:
		return json.Unmarshal(b, (*[]string)(w))
	}
	return nil
}

// policy reads the statements of the bucket's policy; none if it has no policy.
func (d *Driver) policy(ctx context.Context) ([]statement, error) {
	out, err := call(ctx, d, "s3.Checklist", "", d.client.GetBucketPolicy, &s3.GetBucketPolicyInput{Bucket: &d.bucket})
	if err != nil {
		return nil, unlessAbsent(err)
	}
	var doc struct {
		Statement json.RawMessage `json:"Statement"`
	}
	var list []statement
	err = json.Unmarshal([]byte(aws.ToString(out.Policy)), &doc)
	if err == nil && json.Unmarshal(doc.Statement, &list) != nil { // one may stand without a list
		list = make([]statement, 1)
		err = json.Unmarshal(doc.Statement, &list[0])
	}
	if err != nil {
		return nil, fault.New(fault.Unsupported, "s3.Checklist", d.bucket, errors.New("the policy cannot be read"))
	}
	return list, nil
}

// unlessAbsent is nil where the server says that there is none.
func unlessAbsent(err error) error {
	if re := replyOf(err); re != nil && slices.Contains(noneSuch, re.Code) {
		return nil
	}
	return err
}

// anybody reports whether a statement is for everyone.
func (s statement) anybody() bool {
	var one string
	if json.Unmarshal(s.Principal, &one) == nil {
		return one == "*"
	}
	var by map[string]words
	return json.Unmarshal(s.Principal, &by) == nil && slices.Contains(by["AWS"], "*")
}

// plainDenied reports whether a statement refuses everyone who comes without TLS.
func (s statement) plainDenied() bool {
	return s.Effect == "Deny" && s.anybody() && slices.ContainsFunc(s.Action, func(a string) bool { return a == "*" || strings.EqualFold(a, "s3:*") }) &&
		slices.Contains(s.Condition["Bool"]["aws:SecureTransport"], "false")
}

// https: Amazon answers without TLS too unless the policy forbids it; another
// server is asked the way that we are told.
func (d *Driver) https(policy []statement, err error) connectors.Measure {
	switch {
	case !d.amazon && !strings.HasPrefix(aws.ToString(d.client.Options().BaseEndpoint), "https://"):
		return connectors.Measure{Why: "the endpoint is reached over plain HTTP"}
	case !d.amazon:
		return connectors.Measure{Passed: true, Why: "the endpoint is reached over HTTPS"}
	case err != nil:
		return connectors.Measure{Err: err}
	case slices.ContainsFunc(policy, statement.plainDenied):
		return connectors.Measure{Passed: true, Why: "the bucket's policy refuses requests without TLS"}
	}
	return connectors.Measure{Why: "the bucket's policy does not refuse requests without TLS (aws:SecureTransport)"}
}

// authenticated: neither policy nor access list may let in everybody. A server
// that does not tell what its policy amounts to has it read here.
func (d *Driver) authenticated(ctx context.Context, policy []statement, err error) connectors.Measure {
	if err != nil {
		return connectors.Measure{Err: err}
	}
	open := slices.ContainsFunc(policy, func(s statement) bool { return s.Effect == "Allow" && s.anybody() && len(s.Condition) == 0 })
	if status, serr := call(ctx, d, "s3.Checklist", "", d.client.GetBucketPolicyStatus, &s3.GetBucketPolicyStatusInput{Bucket: &d.bucket}); serr == nil && status.PolicyStatus != nil {
		open = open || aws.ToBool(status.PolicyStatus.IsPublic)
	}
	if open {
		return connectors.Measure{Why: "the bucket's policy lets in everybody"}
	}
	acl, err := call(ctx, d, "s3.Checklist", "", d.client.GetBucketAcl, &s3.GetBucketAclInput{Bucket: &d.bucket})
	if err != nil && !fault.Is(err, fault.Unsupported) {
		return connectors.Measure{Err: err}
	}
	if err == nil {
		for _, g := range acl.Grants {
			if g.Grantee != nil && g.Grantee.Type == types.TypeGroup && strings.Contains(aws.ToString(g.Grantee.URI), "/global/") {
				return connectors.Measure{Why: "the bucket's access list grants " + connectors.Plain(string(g.Permission), 40) + " to everybody"}
			}
		}
	}
	return connectors.Measure{Passed: true, Why: "neither the policy nor the access list lets in everybody"}
}

// leastPrivilege: no statement allows everything, or anything to everybody.
func leastPrivilege(policy []statement, err error) connectors.Measure {
	if err != nil {
		return connectors.Measure{Err: err}
	}
	for _, s := range policy {
		if s.Effect != "Allow" {
			continue
		}
		wide := slices.ContainsFunc(s.Action, func(a string) bool { return a == "*" || strings.EqualFold(a, "s3:*") })
		switch {
		case s.anybody():
			return connectors.Measure{Why: "a statement of the bucket's policy has the principal *"}
		case wide || len(s.NotAction) > 0:
			return connectors.Measure{Why: "a statement of the bucket's policy allows every action"}
		}
	}
	return connectors.Measure{Passed: true, Why: "no statement of the bucket's policy has a wildcard for principal or action"}
}

func (d *Driver) versioned(ctx context.Context) connectors.Measure {
	out, err := call(ctx, d, "s3.Checklist", "", d.client.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: &d.bucket})
	if err != nil {
		return connectors.Measure{Err: err}
	}
	return measured(out.Status == types.BucketVersioningStatusEnabled, "versioning is on", "versioning is off")
}

func (d *Driver) logged(ctx context.Context) connectors.Measure {
	out, err := call(ctx, d, "s3.Checklist", "", d.client.GetBucketLogging, &s3.GetBucketLoggingInput{Bucket: &d.bucket})
	if err != nil {
		return connectors.Measure{Err: err}
	}
	return measured(out.LoggingEnabled != nil, "accesses are logged", "accesses are not logged")
}

func (d *Driver) encrypted(ctx context.Context) connectors.Measure {
	out, err := call(ctx, d, "s3.Checklist", "", d.client.GetBucketEncryption, &s3.GetBucketEncryptionInput{Bucket: &d.bucket})
	if err != nil {
		if err = unlessAbsent(err); err != nil {
			return connectors.Measure{Err: err}
		}
		return measured(false, "", "objects are not encrypted by default")
	}
	has := out.ServerSideEncryptionConfiguration != nil && len(out.ServerSideEncryptionConfiguration.Rules) > 0
	return measured(has, "objects are encrypted by default", "objects are not encrypted by default")
}

func measured(passed bool, yes, no string) connectors.Measure {
	if passed {
		return connectors.Measure{Passed: true, Why: yes}
	}
	return connectors.Measure{Why: no}
}
