package azureblob

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

var (
	errKeyLength = errors.New("a key has 1 to 1,024 characters, with the unit's prefix")
	errKeyByte   = errors.New("the key has a zero byte, or a backslash, which the service takes for a slash")
	errKeyText   = errors.New("the key is not UTF-8")
	errKeyPath   = errors.New(`the service resolves "." and ".." between slashes as a path`)
	errMoved     = errors.New("the blob is another version now")
	errOther     = errors.New("the server answered with another version than it was asked for")
	errNoVersion = errors.New("an act must name the version it is for")
	errFolder    = errors.New("it is a folder")
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

// A replyError is what the service said.
type replyError struct{ connectors.Reply }

// locked reports whether a policy or hold forbids what was tried.
func (e *replyError) locked() bool { return e != nil && (e.Hint == policyHint || e.Hint == holdHint) }

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
	re := &replyError{connectors.Reply{Status: resp.StatusCode, Code: connectors.Plain(resp.ErrorCode, 80), Message: message(resp.RawResponse)}}
	c := classify(re)
	var after time.Duration
	if resp.RawResponse != nil {
		after = connectors.RetryAfter(resp.RawResponse.Header)
	}
	return &fault.Error{Op: op, On: on, Kind: c.kind, Reason: c.reason, After: after, Err: re}
}

// failUnanswered is fail for a call that the service did not answer. A URL may
// hold a signature: it is left out.
func failUnanswered(op, on string, err error, auth *azidentity.AuthenticationFailedError) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	msg := connectors.Plain(err.Error(), 300)
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
	return connectors.Plain(strings.TrimSpace(line), 300)
}

// classify finds the class of a reply by code, then by status, and completes re.
func classify(re *replyError) class {
	c, known := codes[re.Code]
	for _, f := range families {
		if !known && strings.HasPrefix(re.Code, f.begin) {
			c, known = f.class, true
		}
	}
	if !known {
		c.kind, c.reason = connectors.ByStatus(re.Status)
	}
	if c.hint == policyHint && strings.Contains(strings.ToLower(re.Message), "legal hold") {
		c.hint = holdHint
	}
	re.Hint = c.hint
	return c
}

// replyOf returns the service's reply in err, or nil.
func replyOf(err error) *replyError {
	var re *replyError
	errors.As(err, &re)
	return re
}
