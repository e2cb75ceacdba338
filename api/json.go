package api

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"net/http"
)

// asJSON takes a body that is JSON for what it is where its sender did not say
// so: curl -d calls it a form, and others say nothing.
func asJSON(r *http.Request) {
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "", "application/x-www-form-urlencoded", "text/plain":
	default:
		return
	}
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := bufio.NewReaderSize(r.Body, 64)
	first, _ := b.Peek(64) // what cannot be read is found out by who reads it
	first = bytes.TrimLeft(first, " \t\r\n")
	if len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{b, r.Body}
}
