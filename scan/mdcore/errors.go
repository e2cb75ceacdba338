package mdcore

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

var (
	errIdentity = errors.New("the identity was refused") // 401, 403: a session may have ended
	errTooLarge = errors.New("the object is larger than the instance takes")
	errLost     = errors.New("the instance does not know the job")
	errTimeout  = errors.New("the scan took too long")
)

// maxRetryAfter bounds what an instance can make us wait.
const maxRetryAfter = 5 * time.Minute

// texts are the instance's words that say more than the status they come with.
var texts = []struct {
	has    string // in lower case
	kind   fault.Kind
	reason scan.Reason
	mark   error
}{
	{"license", fault.Unavailable, scan.EngineUnavailable, nil},
	{"exceeds configured maximum", fault.Unsupported, scan.TooLarge, errTooLarge},
	{"insufficient disk space", fault.Throttled, scan.EngineUnavailable, nil},
	{"try again later", fault.Unavailable, scan.EngineUnavailable, nil},
	{"apikey", fault.Denied, "", errIdentity},
	{"no available rule", fault.Unavailable, scan.EngineError, nil},
}

// refused turns a status other than 200 into an error. 405 means in this family
// that the user has no right; 403 that there is no, or no known, user.
func (e *Engine) refused(op string, r reply) error {
	var body struct {
		Err string `json:"err"`
	}
	said := http.StatusText(r.status)
	if decode(r.body, &body) == nil && body.Err != "" {
		said = body.Err
	}
	f := &fault.Error{Op: op, On: e.name, Err: e.words(strconv.Itoa(r.status) + " " + said)}
	f.Kind, f.Reason = fault.Unavailable, string(scan.EngineUnavailable)
	var mark error
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.Kind, f.Reason, mark = fault.Denied, "", errIdentity
	case http.StatusMethodNotAllowed:
		f.Kind, f.Reason = fault.Denied, ""
	case http.StatusRequestEntityTooLarge:
		f.Kind, f.Reason, mark = fault.Unsupported, string(scan.TooLarge), errTooLarge
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.Kind, f.After = fault.Throttled, retryAfter(r.header)
	case http.StatusBadRequest:
		f.Kind, f.Reason = fault.Invalid, string(scan.EngineError)
	case http.StatusNotFound, http.StatusLengthRequired, http.StatusUnprocessableEntity:
		f.Reason = string(scan.EngineError) // we never give cause for these: something in between does
	default:
		if r.status < 400 {
			f.Reason = string(scan.EngineError)
			f.Err = e.words(strconv.Itoa(r.status) + " " + http.StatusText(r.status) + ": only 200 is an answer, and redirects are not followed")
		}
	}
	if r.status >= 400 && f.Kind != fault.Throttled {
		low := strings.ToLower(said)
		for _, t := range texts {
			if strings.Contains(low, t.has) {
				f.Kind, f.Reason, mark = t.kind, string(t.reason), t.mark
				break
			}
		}
	}
	if mark != nil {
		f.Err = fmt.Errorf("%w: %w", mark, f.Err)
	}
	return f
}

// retryAfter reads the header of that name, RFC 9110 10.2.3; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(t), 0), maxRetryAfter)
	}
	return 0
}
