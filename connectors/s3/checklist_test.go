package s3

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/landwaiter/landwaiter/fault"
)

// What policies say, in the forms that Amazon writes and takes
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html).
func TestPolicyStatements(t *testing.T) {
	for name, c := range map[string]struct {
		statement    string
		anybody      bool
		plainDenied  bool
		leastAllowed bool
	}{
		"everybody":       {`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}`, true, false, false},
		"every account":   {`{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"]}`, true, false, false},
		"one account":     {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:GetObject"}`, false, false, true},
		"every action":    {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:*"}`, false, false, false},
		"all but one":     {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"NotAction":"s3:DeleteObject"}`, false, false, false},
		"a service":       {`{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject"}`, false, false, true},
		"TLS alone":       {`{"Effect":"Deny","Principal":"*","Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, true, true, true},
		"TLS, a flag":     {`{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["s3:*"],"Condition":{"Bool":{"aws:SecureTransport":[false]}}}`, true, false, true},
		"TLS of reads":    {`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, true, false, true},
		"TLS the reverse": {`{"Effect":"Deny","Principal":"*","Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`, true, false, true},
	} {
		var s statement
		err := json.Unmarshal([]byte(c.statement), &s)
		if name == "TLS, a flag" { // Amazon takes no flags in lists
			if err == nil {
				t.Errorf("%s: taken", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.anybody() != c.anybody || s.plainDenied() != c.plainDenied || leastPrivilege([]statement{s}, nil).Passed != c.leastAllowed {
			t.Errorf("%s: anybody %v, plain denied %v, least %+v", name, s.anybody(), s.plainDenied(), leastPrivilege([]statement{s}, nil))
		}
		amazon := Driver{amazon: true}
		if got := amazon.https([]statement{s}, nil); got.Passed != c.plainDenied || got.Why == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	unknown := fault.New(fault.Denied, "s3.Checklist", "b", errors.New("no right to read the policy"))
	if got := leastPrivilege(nil, unknown); got.Err == nil || got.Passed {
		t.Errorf("a policy that cannot be read: %+v", got)
	}
}
