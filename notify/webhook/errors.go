package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// failed is the error of a call that got no answer, without the URL in it.
func failed(op string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if fault.Is(err, fault.Invalid) { // the guard's refusal
		return fault.New(fault.Invalid, op, "", err)
	}
	return fault.New(fault.Unavailable, op, "", err)
}

// answered is nil if the receiver took the notice.
func answered(op string, res *http.Response) error {
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	e := &fault.Error{Op: op, Kind: fault.Unavailable, Err: fmt.Errorf("the receiver answered %d", res.StatusCode)}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		e.Err = fmt.Errorf("%w: redirects are not followed", e.Err)
	}
	if e.After = retryAfter(res.Header.Get("Retry-After")); e.After > 0 || res.StatusCode == http.StatusTooManyRequests {
		e.Kind = fault.Throttled
	}
	return e
}

// retryAfter reads the header in both of its forms; 0 if there is none.
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
