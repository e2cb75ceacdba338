package azureblob

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

var (
	errKeyLength  = errors.New("a key has 1 to 1,024 characters, with the unit's prefix")
	errKeyByte    = errors.New("the key has a zero byte, or a backslash, which the service takes for a slash")
	errKeyText    = errors.New("the key is not UTF-8")
	errKeyPath    = errors.New(`the service resolves "." and ".." between slashes as a path`)
	errMoved      = errors.New("the blob is another version now")
	errOther      = errors.New("the server answered with another version than it was asked for")
	errNoVersion  = errors.New("an act must name the version it is for")
	errFolder     = errors.New("it is a folder")
	errIncomplete = errors.New("the reply ended early")
)

// A class is what an error code means to us.
type class struct {
	kind   fault.Kind
	reason string // name of a scan.Reason
	hint   string // words for the operator
}

const (
	policyHint = "an immutability policy keeps it until it expires"
	holdHint   = "a legal hold keeps it until it is lifted"
	leaseHint  = "someone else holds a lease on it"
)

// codes are the error codes of the service
// (https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
// and …/common-rest-api-error-codes).
var codes = map[string]class{
	"BlobNotFound":           {fault.NotFound, "", ""},
	"ResourceNotFound":       {fault.NotFound, "", ""},
	"PathNotFound":           {fault.NotFound, "", ""},
	"ContainerNotFound":      {fault.Unavailable, "", "the container does not exist"}, // or all its blobs would count as gone
	"ContainerBeingDeleted":  {fault.Unavailable, "", "the container is being deleted"},
	"ContainerDisabled":      {fault.Denied, "access_denied", "the container is disabled"},
	"BlobAlreadyExists":      {fault.Exists, "", ""},
	"ResourceAlreadyExists":  {fault.Exists, "", ""},
	"PathAlreadyExists":      {fault.Exists, "", ""},
	"ConditionNotMet":        {fault.Changed, "", ""},
	"TargetConditionNotMet":  {fault.Changed, "", ""},
	"SourceConditionNotMet":  {fault.Changed, "", ""},
	"BlobOverwritten":        {fault.Changed, "", ""},
	"Md5Mismatch":            {fault.Unavailable, "", "the content was damaged on its way"},
	"Crc64Mismatch":          {fault.Unavailable, "", "the content was damaged on its way"},
	"InvalidBlockList":       {fault.Unavailable, "", "another upload to the same name ended this one"},
	"InvalidBlobOrBlock":     {fault.Unavailable, "", "another upload to the same name is under way"},
	"InvalidBlockId":         {fault.Unavailable, "", "another upload to the same name is under way"},
	"InvalidBlobType":        {fault.Invalid, "", "a page blob or append blob has this name"},
	"ResourceTypeMismatch":   {fault.Invalid, "", "a folder has this name"},
	"BlockCountExceedsLimit": {fault.Unavailable, "", "uploads to this name that were never ended fill it up: they expire within a week"},

	"AuthenticationFailed":               {fault.Denied, "access_denied", "the key or signature is wrong or has expired, or this machine's clock is"},
	"AuthorizationFailure":               {fault.Denied, "access_denied", "a firewall rule of the account, or a key or signature that is wrong or not enough"},
	"AuthorizationPermissionMismatch":    {fault.Denied, "access_denied", "the role or signature does not allow this"},
	"AuthorizationProtocolMismatch":      {fault.Denied, "access_denied", "the signature is for https"},
	"AuthorizationResourceTypeMismatch":  {fault.Denied, "access_denied", "the signature is for another type of resource"},
	"AuthorizationServiceMismatch":       {fault.Denied, "access_denied", "the signature is for another service"},
	"AuthorizationSourceIPMismatch":      {fault.Denied, "access_denied", "the signature is for another address than ours"},
	"InsufficientAccountPermissions":     {fault.Denied, "access_denied", ""},
	"InvalidAuthenticationInfo":          {fault.Denied, "access_denied", "the credential is not valid here"},
	"KeyBasedAuthenticationNotPermitted": {fault.Denied, "access_denied", "the account forbids shared keys: use Entra ID"},
	"NoAuthenticationInformation":        {fault.Denied, "access_denied", ""},
	"PublicAccessNotPermitted":           {fault.Denied, "access_denied", ""},
	"UnauthorizedBlobOverwrite":          {fault.Denied, "access_denied", "the signature allows to create, not to replace"},
	"AccountIsDisabled":                  {fault.Denied, "access_denied", "the account is disabled"},
	"AccountRequiresHttps":               {fault.Invalid, "", "the account wants https"},

	"BlobUsesCustomerSpecifiedEncryption":       {fault.Denied, "key_denied", "it is encrypted with a key that its writer keeps"},
	"BlobDoesNotUseCustomerSpecifiedEncryption": {fault.Denied, "key_denied", ""},
	"BlobCustomerSpecifiedEncryptionMismatch":   {fault.Denied, "key_denied", "it is encrypted with another key"},

	"BlobArchived":        {fault.Denied, "cold_tier", "it is in the archive tier and must be rehydrated first"},
	"BlobBeingRehydrated": {fault.Denied, "cold_tier", "it is being rehydrated from the archive tier"},

	"BlobImmutableDueToPolicy":               {fault.Denied, "", policyHint},
	"ImmutabilityPolicyDeleteOnLockedPolicy": {fault.Denied, "", policyHint},
	"BlobImmutableDueToLegalHold":            {fault.Denied, "", holdHint},
	"SnapshotsPresent":                       {fault.Denied, "", "it has snapshots, which go with it only where the unit says delete_snapshots: include"},

	"LeaseAlreadyPresent":                {fault.Unavailable, "locked", leaseHint},
	"LeaseIdMissing":                     {fault.Unavailable, "locked", leaseHint},
	"LeaseIsBreakingAndCannotBeAcquired": {fault.Unavailable, "locked", leaseHint},
	"LeaseIdMismatchWithBlobOperation":   {fault.Unavailable, "locked", leaseHint},
	"LeaseIdMismatchWithLeaseOperation":  {fault.Unavailable, "locked", leaseHint},
	"LeaseLost":                          {fault.Unavailable, "locked", "our lease ran out"},
	"LeaseNotPresentWithBlobOperation":   {fault.Unavailable, "locked", "our lease was broken"},
	"LeaseNotPresentWithLeaseOperation":  {fault.Unavailable, "locked", "our lease was broken"},
	"PendingCopyOperation":               {fault.Unavailable, "locked", "a copy to it is under way"},
	"NoPendingCopyOperation":             {fault.Changed, "", ""},
	"OperationNotAllowedOnRootBlob":      {fault.Unavailable, "", "it became the current version meanwhile"},

	"ServerBusy":        {fault.Throttled, "", ""},
	"TooManyRequests":   {fault.Throttled, "", ""},
	"InternalError":     {fault.Unavailable, "", ""},
	"OperationTimedOut": {fault.Unavailable, "", ""},
	"SystemInUse":       {fault.Unavailable, "", ""},

	"CannotVerifyCopySource":       {fault.Unavailable, "", "the service could not read the source"},
	"InvalidRange":                 {fault.Invalid, "", ""},
	"InvalidVersionId":             {fault.NotFound, "", ""},
	"UnsupportedHttpVerb":          {fault.Unsupported, "", ""},
	"UnsupportedHeader":            {fault.Unsupported, "", ""},
	"UnsupportedQueryParameter":    {fault.Unsupported, "", ""},
	"FeatureVersionMismatch":       {fault.Unsupported, "", ""},
	"ConditionHeadersNotSupported": {fault.Unsupported, "", ""},
	"APINotImplemented":            {fault.Unsupported, "", ""},
}

// families are beginnings of codes of which there are many.
var families = []struct {
	begin string
	class class
}{
	{"KeyVault", class{fault.Denied, "key_denied", "the account's key in the key vault may not be used"}},
	{"FeatureNot", class{fault.Unsupported, "", "this kind of account does not have it"}},
	{"BlobImmutable", class{fault.Denied, "", policyHint}},
}

// A replyError is what the service said, with a hint where we know one.
type replyError struct {
	status  int
	code    string
	message string
	hint    string
}

func (e *replyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d", e.status)
	if e.code != "" {
		b.WriteString(" " + e.code)
	}
	if e.message != "" && e.message != e.code {
		b.WriteString(": " + e.message)
	}
	if e.hint != "" {
		b.WriteString(" (" + e.hint + ")")
	}
	return b.String()
}

// locked reports whether a policy or hold forbids what was tried.
func (e *replyError) locked() bool { return e != nil && (e.hint == policyHint || e.hint == holdHint) }

// fail gives err, which a call for key returned, its kind. ctx is the caller's:
// its end is passed through untouched, that of our own time limit is not.
func (d *Driver) fail(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	on := d.name + "/" + object.FormatKey(d.root+key)
	var auth *azidentity.AuthenticationFailedError
	var resp *azcore.ResponseError
	if errors.As(err, &auth) || !errors.As(err, &resp) {
		return failUnanswered(op, on, err, auth)
	}
	re := &replyError{status: resp.StatusCode, code: printable(resp.ErrorCode, 80), message: message(resp.RawResponse)}
	c := classify(re)
	return &fault.Error{Op: op, On: on, Kind: c.kind, Reason: c.reason, After: retryAfter(resp.RawResponse), Err: re}
}

// failUnanswered is fail for a call that the service did not answer. A URL may
// hold a signature: it is left out.
func failUnanswered(op, on string, err error, auth *azidentity.AuthenticationFailedError) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	msg := printable(err.Error(), 300)
	// The SDK marks so what is no use to try again: credentials that there are not.
	var final interface{ NonRetriable() }
	refused := auth != nil && auth.RawResponse != nil && auth.RawResponse.StatusCode < 500 && auth.RawResponse.StatusCode != http.StatusTooManyRequests
	if refused || auth == nil && errors.As(err, &final) {
		return &fault.Error{Op: op, On: on, Kind: fault.Denied, Reason: "access_denied", Err: errors.New("no usable credentials: " + msg)}
	}
	return &fault.Error{Op: op, On: on, Kind: fault.Unavailable, Err: errors.New(msg)}
}

// message is the first line of what the service says in words; behind it come
// an id and a time. Details of a refused signature are left out.
func message(resp *http.Response) string {
	if resp == nil {
		return ""
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return ""
	}
	var said struct{ Message string }
	if xml.Unmarshal([]byte(strings.TrimPrefix(string(body), "\ufeff")), &said) != nil {
		return ""
	}
	line, _, _ := strings.Cut(said.Message, "\n")
	return printable(strings.TrimSpace(line), 300)
}

// classify finds the class of a reply by code, then by status, and completes re.
func classify(re *replyError) class {
	c, known := codes[re.code]
	for _, f := range families {
		if !known && strings.HasPrefix(re.code, f.begin) {
			c, known = f.class, true
		}
	}
	if !known {
		c = byStatus(re.status)
	}
	if c.hint == policyHint && strings.Contains(strings.ToLower(re.message), "legal hold") {
		c.hint = holdHint
	}
	re.hint = c.hint
	return c
}

// byStatus is the class of an unknown code.
func byStatus(status int) class {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return class{kind: fault.Denied, reason: "access_denied"}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return class{kind: fault.Unsupported}
	case http.StatusPreconditionFailed:
		return class{kind: fault.Changed}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return class{kind: fault.Throttled}
	case http.StatusNotFound, http.StatusConflict, http.StatusRequestTimeout:
		// The service says which 404 it is; only then a blob counts as gone. One
		// that does not may come from a proxy.
		return class{kind: fault.Unavailable}
	}
	if status >= 300 && status < 500 {
		return class{kind: fault.Invalid}
	}
	return class{kind: fault.Unavailable}
}

// retryAfter reads the header Retry-After, in seconds or as a date, up to an hour.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	s := resp.Header.Get("Retry-After")
	var after time.Duration
	if n, err := strconv.Atoi(s); err == nil {
		after = time.Duration(min(max(n, 0), 3600)) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		after = time.Until(t)
	}
	return min(max(after, 0), time.Hour)
}

// replyOf returns the service's reply in err, or nil.
func replyOf(err error) *replyError {
	var re *replyError
	errors.As(err, &re)
	return re
}

// as returns err with the kind k and its cause kept, if its kind is from.
func as(err error, from, k fault.Kind) error {
	if !fault.Is(err, from) {
		return err
	}
	var f *fault.Error
	errors.As(err, &f)
	g := *f
	g.Kind = k
	return &g
}

// printable returns s without control characters, at most n bytes of it: it
// comes from a server.
func printable(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
