package mdcore

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// On limits a fault to a method and the paths with a prefix.
func On(method, prefix string, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == method && strings.HasPrefix(r.URL.Path, prefix) && f(w, r)
	}
}

// First limits a fault to the first n requests that reach it.
func First(n int, f Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		return seen.Add(1) <= int64(n) && f(w, r)
	}
}

// Any tries several faults in order.
func Any(faults ...Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		for _, f := range faults {
			if f(w, r) {
				return true
			}
		}
		return false
	}
}

// Raw answers with these bytes, after reading the request.
func Raw(status int, body string) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// Status answers {"err": …}, with Retry-After where it is not "".
func Status(status int, err, retryAfter string) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		refuse(w, status, err)
		return true
	}
}

// Hang reads the request and never answers.
func Hang(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return true
}

// Deaf never reads the request, and never answers.
func Deaf(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

// Reset breaks the connection off without an answer.
func Reset(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// ResetAfter reads so many bytes of the request, then breaks off.
func ResetAfter(n int64) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(io.Discard, r.Body, n)
		panic(http.ErrAbortHandler)
	}
}

// Cut promises the whole body and breaks off after n bytes of it.
func Cut(body string, n int) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body[:n])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// Huge answers with n bytes of one JSON string.
func Huge(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"data_id":"`)
		chunk := strings.Repeat("a", 32<<10)
		for ; n > 0; n -= int64(len(chunk)) {
			if _, err := io.WriteString(w, chunk); err != nil {
				return true
			}
		}
		_, _ = io.WriteString(w, `"}`)
		return true
	}
}
