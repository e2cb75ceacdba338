package gcs

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"cloud.google.com/go/auth"
	"google.golang.org/api/googleapi"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

var (
	errKeyLength = errors.New("a key has 1 to 1,024 bytes, with the unit's prefix")
	errKeyByte   = errors.New("the key has a carriage return or line feed")
	errKeyText   = errors.New("the key is not UTF-8")
	errKeyName   = errors.New("the name is not allowed by Google")
	errBadToken  = errors.New("not a generation")
	errMoved     = errors.New("the object is another generation now")
	errOther     = errors.New("the server answered with another object than it was asked for")
	errNoVersion = errors.New("an act must name the version it is for")
)

// A class is what an error reply means to us.
type class struct {
	kind   fault.Kind
	reason string // name of a scan.Reason
	hint   string // words for the operator
}

// Words for what may keep an object from being removed or replaced, and others.
const (
	keptTemporary = "a temporary hold is on the object"
	keptEvent     = "an event-based hold is on the object"
	keptBucket    = "the bucket's retention policy keeps the object"
	keptObject    = "the object's own retention keeps it"
	keptSomehow   = "a retention policy of the bucket, or the object's own, keeps it"
	payHint       = "the bucket's requester pays: set the option user_project"
	keyHint       = "the encryption key is not ours to use"
	suppliedHint  = "the object is encrypted with a key that its writer kept: Landwaiter has none"
	noBucketHint  = "the bucket does not exist"
)

// reasons are those of Google's error replies
// (https://cloud.google.com/storage/docs/json_api/v1/status-codes).
var reasons = map[string]class{
	"notFound":        {fault.NotFound, "", ""},
	"conditionNotMet": {fault.Changed, "", ""},

	"required":                                     {fault.Denied, "access_denied", "the server wants credentials"},
	"authError":                                    {fault.Denied, "access_denied", "the credentials are not valid"},
	"forbidden":                                    {fault.Denied, "access_denied", ""},
	"insufficientPermissions":                      {fault.Denied, "access_denied", "the credentials' scope is too small"},
	"lockedDomainExpired":                          {fault.Denied, "access_denied", ""},
	"accountDisabled":                              {fault.Denied, "access_denied", "the project is suspended"},
	"countryBlocked":                               {fault.Denied, "access_denied", ""},
	"sslRequired":                                  {fault.Denied, "access_denied", "the server wants https"},
	"accessNotConfigured":                          {fault.Denied, "access_denied", "Cloud Storage is not enabled in the project"},
	"usageLimits.accessNotConfigured":              {fault.Denied, "access_denied", "Cloud Storage is not enabled in the project"},
	"userProjectAccessDenied":                      {fault.Denied, "access_denied", "we may not bill the project in user_project"},
	"userProjectAccountProblem":                    {fault.Denied, "access_denied", "the project in user_project has no billing account"},
	"userProjectInvalid":                           {fault.Denied, "access_denied", "the project in user_project does not exist"},
	"userProjectInconsistent":                      {fault.Denied, "access_denied", ""},
	"userProjectMissing":                           {fault.Denied, "access_denied", payHint},
	"authenticationRequiredRequesterPays":          {fault.Denied, "access_denied", payHint},
	"orgPolicyConstraintFailed":                    {fault.Denied, "access_denied", "a policy of the organization forbids it"},
	"retentionPolicyNotMet":                        {fault.Denied, "", keptSomehow},
	"objectUnderActiveHold":                        {fault.Denied, "", "a hold is on the object"},
	"cloudKmsBadKey":                               {fault.Denied, "key_denied", keyHint},
	"cloudKmsCannotChangeKeyName":                  {fault.Denied, "key_denied", keyHint},
	"cloudKmsDecryptionKeyNotFound":                {fault.Denied, "key_denied", "the KMS key does not exist"},
	"cloudKmsEncryptionKeyNotFound":                {fault.Denied, "key_denied", "the KMS key does not exist"},
	"cloudKmsDisabledKey":                          {fault.Denied, "key_denied", "the KMS key is disabled or destroyed"},
	"cloudKmsKeyLocationNotAllowed":                {fault.Denied, "key_denied", "the KMS key is in another location than the bucket"},
	"customerEncryptionKeyIsIncorrect":             {fault.Denied, "key_denied", suppliedHint},
	"customerEncryptionAlgorithmIsInvalid":         {fault.Denied, "key_denied", suppliedHint},
	"resourceIsEncryptedWithCustomerEncryptionKey": {fault.Denied, "key_denied", suppliedHint},

	"rateLimitExceeded":             {fault.Throttled, "", ""},
	"userRateLimitExceeded":         {fault.Throttled, "", ""},
	"usageLimits.rateLimitExceeded": {fault.Throttled, "", ""},
	"quotaExceeded":                 {fault.Throttled, "", "a quota of the project is used up"},
	"dailyLimitExceeded":            {fault.Throttled, "", "a quota of the project is used up"},

	"backendError":           {fault.Unavailable, "", ""},
	"internalError":          {fault.Unavailable, "", ""},
	"gatewayTimeout":         {fault.Unavailable, "", ""},
	"uploadBrokenConnection": {fault.Unavailable, "", ""},
	"conflict":               {fault.Unavailable, "", "another change was under way"},
	"methodNotAllowed":       {fault.Unsupported, "", ""},
}

// told are words of refusals, in lower case, the more telling ones first.
var told = []struct {
	words string
	class class
}{
	{"is under active temporary hold", class{fault.Denied, "", keptTemporary}},
	{"is under active event-based hold", class{fault.Denied, "", keptEvent}},
	{"bucket's retention policy or object retention", class{fault.Denied, "", keptSomehow}},
	{"subject to bucket's retention policy", class{fault.Denied, "", keptBucket}},
	{"subject to object's retention", class{fault.Denied, "", keptObject}},
	{"subject to object retention", class{fault.Denied, "", keptObject}},
	{"customer-supplied encryption key", class{fault.Denied, "key_denied", suppliedHint}},
	{"cloud kms key", class{fault.Denied, "key_denied", keyHint}},
	{"cloudkms", class{fault.Denied, "key_denied", keyHint}},
	{"requester pays", class{fault.Denied, "access_denied", payHint}},
}

// A replyError is an error reply of the server; its Code is Google's reason.
type replyError struct {
	connectors.Reply
	kept bool // a hold or retention is the cause
}

// fail gives err, which a call for key returned, its kind. ctx is the caller's:
// its end is passed through untouched, that of our own time limit is not. The
// library's ErrObjectNotExist and ErrBucketNotExist stand for any reply 404; the
// reply inside, which says of what, decides.
func (d *Driver) fail(ctx context.Context, op, key string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	on := d.bucket + "/" + object.FormatKey(d.root+key)
	var reply *googleapi.Error
	if !errors.As(err, &reply) {
		return failUnanswered(op, on, err)
	}
	re := &replyError{Reply: connectors.Reply{Status: reply.Code, Message: connectors.Plain(reply.Message, 300)}}
	switch {
	case len(reply.Errors) > 0:
		re.Code = connectors.Plain(reply.Errors[0].Reason, 80)
	case re.Message == "":
		re.Message = connectors.Plain(reply.Body, 300) // a download's, or a proxy's
	}
	c := classify(re)
	return &fault.Error{Op: op, On: on, Kind: c.kind, Reason: c.reason, After: connectors.RetryAfter(reply.Header), Err: re}
}

// failUnanswered is fail for a call that got no reply, from the server or from
// whoever gives out tokens.
func failUnanswered(op, on string, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // the URL says nothing that op and on do not
	}
	msg := connectors.Plain(err.Error(), 300)
	var network net.Error
	var token *auth.Error
	refused := errors.As(err, &token) && !token.Temporary()
	if !refused && token == nil && !errors.As(err, &network) {
		lower := strings.ToLower(msg)
		refused = strings.Contains(lower, "credential") || strings.Contains(lower, "private key") || strings.Contains(lower, "token")
	}
	if refused {
		return &fault.Error{Op: op, On: on, Kind: fault.Denied, Reason: "access_denied", Err: errors.New("no usable credentials: " + msg)}
	}
	return &fault.Error{Op: op, On: on, Kind: fault.Unavailable, Err: errors.New(msg)}
}

// classify finds the class of a reply by its words, then by reason, then by
// status, and completes re.
func classify(re *replyError) class {
	words := strings.ToLower(re.Message)
	c, known := byWords(re.Status, words)
	if re.kept = known && c.reason == ""; !known {
		c, known = reasons[re.Code]
		re.kept = re.Code == "retentionPolicyNotMet" || re.Code == "objectUnderActiveHold"
		// "required" is also said of a parameter, and "notFound" of what is not an object.
		known = known && !(re.Code == "required" && re.Status != http.StatusUnauthorized) && !(re.Code == "notFound" && re.Status != http.StatusNotFound)
	}
	if !known {
		c = byStatus(re.Status)
	}
	if c.kind == fault.NotFound {
		switch {
		case strings.Contains(words, "bucket does not exist"):
			c.hint = noBucketHint
		case re.Code != "notFound":
			// Only a reply that says so makes an object count as gone; this may come
			// from a proxy.
			c.kind = fault.Unavailable
		}
	}
	re.Hint = c.hint
	return c
}

// byWords is the class of a refusal that only its words tell apart: a hold has
// the reason of a missing permission, and a download is refused in words alone.
func byWords(status int, words string) (class, bool) {
	if status != http.StatusForbidden && status != http.StatusBadRequest {
		return class{}, false
	}
	for _, w := range told {
		if strings.Contains(words, w.words) {
			return w.class, true
		}
	}
	return class{}, false
}

// byStatus is the class of an unknown reason, or of a reply without one.
func byStatus(status int) (c class) {
	switch status {
	case http.StatusNotFound:
		return class{kind: fault.NotFound}
	case http.StatusGone, http.StatusServiceUnavailable: // of an upload; and Google slows down by 429
		return class{kind: fault.Unavailable}
	}
	c.kind, c.reason = connectors.ByStatus(status)
	return c
}

// replyOf returns the server's reply in err, or nil.
func replyOf(err error) *replyError {
	var re *replyError
	errors.As(err, &re)
	return re
}

// refusedBy reports whether err is a reply with this status.
func refusedBy(err error, status int) bool {
	re := replyOf(err)
	return re != nil && re.Status == status
}

// bucketGone keeps a missing bucket from looking like a missing object: with a
// wrong endpoint, all objects would count as gone.
func bucketGone(err error) error {
	if re := replyOf(err); re != nil && re.Hint == noBucketHint {
		return connectors.Recast(err, fault.NotFound, fault.Unavailable)
	}
	return err
}
