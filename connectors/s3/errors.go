package s3

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

var (
	errKeyLength  = errors.New("a key has 1 to 1,024 bytes, with the unit's prefix")
	errKeyByte    = errors.New("the key has a zero byte")
	errKeyText    = errors.New("the key is not UTF-8")
	errKeyPath    = errors.New(`compatible servers may resolve "", "." and ".." between slashes as a path`)
	errBadToken   = errors.New("not a version of this storage")
	errMoved      = errors.New("the object is another version now")
	errNoVersion  = errors.New("an act must name the version it is for")
	errAccount    = errors.New("want s3://?endpoint=…&region=…, without a bucket")
	errIncomplete = errors.New("the reply ended early")
)

// A class is what an error code means to us.
type class struct {
	kind   fault.Kind
	reason string // name of a scan.Reason
	hint   string // words for the operator
}

// codes are the error codes of S3 and of servers that are compatible with it
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
var codes = map[string]class{
	"NoSuchBucket":      {fault.NotFound, "", "the bucket does not exist"},
	"NoSuchKey":         {fault.NotFound, "", ""},
	"NotFound":          {fault.NotFound, "", ""},
	"NoSuchVersion":     {fault.NotFound, "", ""},
	"NoSuchUpload":      {fault.Unavailable, "", "the multipart upload was ended by someone else"},
	"NoSuchTagSet":      {fault.NotFound, "", ""},
	"NoSuchTagSetError": {fault.NotFound, "", ""},
	"DeleteMarker":      {fault.NotFound, "", ""},

	"PreconditionFailed":         {fault.Changed, "", ""},
	"ConditionalRequestConflict": {fault.Unavailable, "", "another write was under way"},
	"OperationAborted":           {fault.Unavailable, "", "another write was under way"},

	"AccessDenied":          {fault.Denied, "access_denied", ""},
	"AccessForbidden":       {fault.Denied, "access_denied", ""},
	"AllAccessDisabled":     {fault.Denied, "access_denied", ""},
	"AccountProblem":        {fault.Denied, "access_denied", ""},
	"UnauthorizedAccess":    {fault.Denied, "access_denied", ""},
	"Forbidden":             {fault.Denied, "access_denied", ""},
	"InvalidAccessKeyId":    {fault.Denied, "access_denied", "the access key is unknown to the server"},
	"SignatureDoesNotMatch": {fault.Denied, "access_denied", "the secret key is wrong, or a proxy changes requests"},
	"InvalidToken":          {fault.Denied, "access_denied", "the session token is wrong"},
	"ExpiredToken":          {fault.Denied, "access_denied", "the session token has expired"},
	"TokenRefreshRequired":  {fault.Denied, "access_denied", "the session token has expired"},
	"XAdminUserNotFound":    {fault.Denied, "access_denied", "the access key is unknown to the server"},
	"InvalidSecurity":       {fault.Denied, "access_denied", "the credentials are not valid"},
	"NotSignedUp":           {fault.Denied, "access_denied", "the account has no S3"},

	"KMS.AccessDeniedException":          {fault.Denied, "key_denied", "the KMS key may not be used"},
	"KMS.DisabledException":              {fault.Denied, "key_denied", "the KMS key is disabled"},
	"KMS.KMSInvalidStateException":       {fault.Denied, "key_denied", "the KMS key cannot be used now"},
	"KMS.InvalidStateException":          {fault.Denied, "key_denied", "the KMS key cannot be used now"},
	"KMS.NotFoundException":              {fault.Denied, "key_denied", "the KMS key does not exist"},
	"ServerSideEncryptionKeyNotFound":    {fault.Denied, "key_denied", ""},
	"SSECustomerKeyNotFound":             {fault.Denied, "key_denied", ""},
	"InvalidObjectState":                 {fault.Denied, "cold_tier", "the object is archived and must be restored first"},
	"RestoreAlreadyInProgress":           {fault.Denied, "cold_tier", ""},
	"ObjectLocked":                       {fault.Denied, "", lockHint},
	"XMinioObjectLocked":                 {fault.Denied, "", lockHint},
	"RequestTimeTooSkewed":               {fault.Unavailable, "", "this machine's clock differs from the server's by more than 15 minutes"},
	"PermanentRedirect":                  {fault.Invalid, "", "wrong region"},
	"MovedPermanently":                   {fault.Invalid, "", "wrong region"},
	"AuthorizationHeaderMalformed":       {fault.Invalid, "", "wrong region"},
	"IllegalLocationConstraintException": {fault.Invalid, "", "wrong region"},
	"TemporaryRedirect":                  {fault.Unavailable, "", "the bucket is still moving"},

	"SlowDown":                   {fault.Throttled, "", ""},
	"SlowDownRead":               {fault.Throttled, "", ""},
	"SlowDownWrite":              {fault.Throttled, "", ""},
	"ServiceUnavailable":         {fault.Throttled, "", ""},
	"Throttling":                 {fault.Throttled, "", ""},
	"ThrottlingException":        {fault.Throttled, "", ""},
	"RequestLimitExceeded":       {fault.Throttled, "", ""},
	"RequestThrottled":           {fault.Throttled, "", ""},
	"TooManyRequests":            {fault.Throttled, "", ""},
	"BandwidthLimitExceeded":     {fault.Throttled, "", ""},
	"InternalError":              {fault.Unavailable, "", ""},
	"RequestTimeout":             {fault.Unavailable, "", ""},
	"IncompleteBody":             {fault.Unavailable, "", ""},
	"XMinioServerNotInitialized": {fault.Unavailable, "", ""},
	"XMinioStorageFull":          {fault.Unavailable, "", "the storage is full"},
	"QuotaExceeded":              {fault.Unavailable, "", "the storage is full"},

	"NotImplemented":       {fault.Unsupported, "", ""},
	"MethodNotAllowed":     {fault.Unsupported, "", ""},
	"UnsupportedOperation": {fault.Unsupported, "", ""},

	"BadDigest":                   {fault.Changed, "", "the content is not what was announced"},
	"InvalidDigest":               {fault.Changed, "", "the content is not what was announced"},
	"XAmzContentSHA256Mismatch":   {fault.Changed, "", "the content is not what was announced"},
	"XAmzContentChecksumMismatch": {fault.Changed, "", "the content is not what was announced"},
	"InvalidTag":                  {fault.Invalid, "", "tags: at most 10, keys to 128 and values to 256 characters"},
	"KeyTooLongError":             {fault.Invalid, "", ""},
	"InvalidRange":                {fault.Invalid, "", ""},
}

const lockHint = "an object lock holds this version"

// wrongKey are words of replies 400 and 403 that speak of an encryption key.
var wrongKey = []string{"kms:", "kms key", "server side encryption", "customer-provided", "customer provided"}

// locked are words of replies that refuse because of an object lock.
var locked = []string{"worm protected", "object lock", "legal hold", "retention"}

// A replyError is an error reply of the server.
type replyError struct {
	connectors.Reply
	region string // of the bucket, if the reply told it
	marker bool   // the reply says that the version is a delete marker
	locked bool   // an object lock is the cause
}

var expecting = regexp.MustCompile(`expecting ['"]([a-z0-9-]{1,40})['"]`)

// fail gives err, which a call for key returned, its kind. ctx is the caller's:
// its end is passed through untouched, that of our own time limit is not.
func (d *Driver) fail(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	on := d.bucket + "/" + object.FormatKey(d.root+key)
	var resp *awshttp.ResponseError
	if !errors.As(err, &resp) || resp.Response == nil || resp.Response.Response == nil {
		return d.failUnanswered(op, on, err)
	}
	h := resp.Response.Header
	re := &replyError{Reply: connectors.Reply{Status: resp.HTTPStatusCode()},
		region: h.Get("X-Amz-Bucket-Region"), marker: h.Get("X-Amz-Delete-Marker") == "true"}
	var api smithy.APIError
	if errors.As(err, &api) {
		re.Code, re.Message = connectors.Plain(api.ErrorCode(), 80), connectors.Plain(api.ErrorMessage(), 300)
	} else if re.Status < 300 {
		// A good status whose body made no sense.
		return &fault.Error{Op: op, On: on, Kind: fault.Unavailable, Err: errors.New(connectors.Plain(err.Error(), 300))}
	}
	c := classify(re)
	return &fault.Error{Op: op, On: on, Kind: c.kind, Reason: c.reason, After: connectors.RetryAfter(h), Err: re}
}

// failUnanswered is fail for a call that got no reply.
func (d *Driver) failUnanswered(op, on string, err error) error {
	msg := connectors.Plain(err.Error(), 300)
	lower := strings.ToLower(msg)
	if strings.Contains(lower, "credential") || strings.Contains(lower, "assumerole") {
		return &fault.Error{Op: op, On: on, Kind: fault.Denied, Reason: "access_denied", Err: errors.New("no usable credentials: " + msg)}
	}
	var invalid *smithy.SerializationError
	if errors.As(err, &invalid) {
		return &fault.Error{Op: op, On: on, Kind: fault.Invalid, Err: errors.New(msg)}
	}
	return &fault.Error{Op: op, On: on, Kind: fault.Unavailable, Err: errors.New(msg)}
}

// classify finds the class of a reply by code, then by its words, then by
// status, and completes re.
func classify(re *replyError) class {
	c, known := codes[re.Code]
	words := strings.ToLower(re.Message)
	if re.Status == http.StatusForbidden || re.Status == http.StatusBadRequest {
		switch {
		case containsAny(words, locked):
			c, known = class{fault.Denied, "", lockHint}, true
		case containsAny(words, wrongKey):
			c, known = class{fault.Denied, "key_denied", "the encryption key is not ours to use"}, true
		}
	}
	if !known {
		c = byStatus(re.Status)
		if c.kind == fault.NotFound && re.Code != "" {
			// Only a reply that says so makes an object count as gone; this may come
			// from a proxy, or be about something else.
			c.kind = fault.Unavailable
		}
	}
	if re.marker && (re.Status == http.StatusNotFound || re.Status == http.StatusMethodNotAllowed) {
		c = class{kind: fault.NotFound}
	}
	if c.hint == "wrong region" || re.Status == http.StatusMovedPermanently {
		if m := expecting.FindStringSubmatch(re.Message); m != nil {
			re.region = m[1]
		}
		c.kind, c.hint = fault.Invalid, "wrong region or endpoint"
		if re.region != "" {
			c.hint = "wrong region: the bucket is in " + connectors.Plain(re.region, 40)
		}
	} else {
		re.region = ""
	}
	re.Hint, re.locked = c.hint, c.hint == lockHint
	return c
}

// byStatus is the class of an unknown code, or of a reply to HEAD, which has none.
func byStatus(status int) (c class) {
	if status == http.StatusNotFound || status == http.StatusGone {
		return class{kind: fault.NotFound}
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

// regionOf returns the region that err says the bucket is in, or "".
func regionOf(err error) string {
	if re := replyOf(err); re != nil {
		return re.region
	}
	return ""
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
