package api

import (
	"bytes"
	"embed"
	"net/http"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// documents are what the API says of itself: its OpenAPI document and a page to
// read it with, which asks nobody but us.
func (a *API) documents() error {
	doc, err := a.OpenAPI()
	if err != nil {
		return err
	}
	a.static = map[string][]byte{"/api/openapi.json": doc}
	for at, name := range map[string]string{"/api/docs": "index.html", "/api/docs/page.js": "page.js", "/api/docs/page.css": "page.css"} {
		if a.static[at], err = page.ReadFile("page/" + name); err != nil {
			return err
		}
	}
	return nil
}

// document answers a request for one of them.
func (a *API) document(w http.ResponseWriter, r *http.Request) bool {
	at := strings.ToLower(r.URL.Path)
	data, ok := a.static[at]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	name := at[strings.LastIndexByte(at, '/')+1:]
	if name == "docs" {
		name += ".html"
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	return true
}
