package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
)

// An Envelope is what almost every answer of the product carries.
type Envelope struct {
	Result                int               `json:"result" minimum:"0" maximum:"8" doc:"0 success, 1 error, 2 internal error, 3 not found; an import has its own numbers."`
	ResponseKey           string            `json:"responseKey" doc:"A name of the outcome that does not change." example:"SUCCESS"`
	ResponseMessage       string            `json:"responseMessage" doc:"The outcome in words." example:"Success"`
	ResponseMessageParams map[string]string `json:"responseMessageParams,omitempty" doc:"What the words speak of."`
}

// The results of an Envelope.
const (
	resultError    = 1
	resultInternal = 2
	resultNotFound = 3
)

// done is the envelope of a success.
func done() Envelope { return Envelope{ResponseKey: "SUCCESS", ResponseMessage: "Success"} }

// Done is the answer of an operation that has nothing else to say.
type Done struct{ Body Envelope }

// A problem is an answer that is none: a status with an envelope.
type problem struct {
	Envelope
	status int
	header http.Header
}

// Error returns the words of the envelope.
func (p *problem) Error() string { return p.ResponseMessage }

// GetStatus is the HTTP status.
func (p *problem) GetStatus() int { return p.status }

// GetHeaders are what goes with it.
func (p *problem) GetHeaders() http.Header { return p.header }

func newProblem(status int, words string) *problem {
	p := &problem{status: status, Envelope: Envelope{Result: resultError, ResponseMessage: words}, header: http.Header{}}
	switch {
	case status == http.StatusNotFound:
		p.Result = resultNotFound
	case status >= http.StatusInternalServerError:
		p.Result = resultInternal
	}
	p.ResponseKey = strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_"))
	return p
}

// newError is huma's way to an error: what it found wrong with a request.
func newError(status int, msg string, errs ...error) huma.StatusError {
	if status == http.StatusUnprocessableEntity { // the product knows 400 alone
		status = http.StatusBadRequest
	}
	var words []string
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			words = append(words, strings.TrimSpace(d.ErrorDetail().Location+" "+d.ErrorDetail().Message))
		} else if err != nil {
			words = append(words, err.Error())
		}
	}
	if len(words) > 0 {
		msg += ": " + strings.Join(words, "; ")
	}
	const most = 2000
	if len(msg) > most {
		msg = strings.ToValidUTF8(msg[:most], "") + " …"
	}
	return newProblem(status, msg)
}

// statuses says which status an error of a kind has.
var statuses = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Exists: http.StatusConflict, fault.Changed: http.StatusConflict,
	fault.Denied: http.StatusForbidden, fault.Unsupported: http.StatusBadRequest, fault.Throttled: http.StatusTooManyRequests,
	fault.Unavailable: http.StatusServiceUnavailable, fault.Stale: http.StatusServiceUnavailable,
}

// problemOf turns an error into an answer. What is our own fault is logged, and
// its words stay here.
func (a *API) problemOf(ctx context.Context, err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var f *fault.Error
	_ = errors.As(err, &f)
	status, ok := statuses[fault.KindOf(err)]
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "it took too long")
	case !ok:
		a.log.ErrorContext(ctx, "request failed", "err", err)
		return newProblem(http.StatusInternalServerError, "internal error")
	case f != nil && f.Reason == control.Unauthenticated:
		p = newProblem(http.StatusUnauthorized, words(err))
		p.header.Set("WWW-Authenticate", "Bearer")
		return p
	}
	p = newProblem(status, words(err))
	if f != nil && f.After > 0 {
		p.header.Set("Retry-After", strconv.Itoa(int(f.After.Seconds())+1))
	}
	return p
}

// words are what an error says to a caller: its cause, without our own names.
func words(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		switch {
		case f.Err != nil && f.On != "" && !strings.HasPrefix(f.On, "control"):
			return f.On + ": " + words(f.Err)
		case f.Err != nil:
			return words(f.Err)
		}
		return strings.TrimSpace(f.On + " " + f.Kind.String())
	}
	return err.Error()
}

// writeProblem answers a request that reached no operation.
func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p.Envelope) // the caller is gone
}
