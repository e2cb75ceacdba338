package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// CheckedGCS starts fake-gcs-server with a checking proxy in front: a stand-in
// for what Google does with preconditions and fake-gcs-server does not. It
// counts metagenerations, answers 412 where a precondition of a read, delete,
// patch or copy does not hold, and makes each change at one instant.
// https://cloud.google.com/storage/docs/request-preconditions
func CheckedGCS(t testing.TB) GCS {
	t.Helper()
	behind := FakeGCS(t)
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	c := &gcsChecker{behind: behind.Endpoint, client: &http.Client{Transport: transport}, meta: make(map[string]int64)}
	srv := httptest.NewServer(c)
	t.Cleanup(func() { srv.Close(); transport.CloseIdleConnections() })
	return GCS{Endpoint: srv.URL}
}

// gcsChecker is the checking proxy.
type gcsChecker struct {
	behind string
	client *http.Client

	mu   sync.RWMutex     // held by what changes an object, shared by reads
	meta map[string]int64 // changes of metadata, by bucket, name and generation
}

// gcsObject is what the proxy needs to know of an object.
type gcsObject struct {
	Bucket     string            `json:"bucket"`
	Name       string            `json:"name"`
	Generation int64             `json:"generation,string"`
	Metadata   map[string]string `json:"metadata"`
}

func (o gcsObject) id() string {
	return o.Bucket + "\x00" + o.Name + "\x00" + strconv.FormatInt(o.Generation, 10)
}

// ServeHTTP takes a request in whole, before it is checked and passed on: one
// that breaks off never happened.
func (c *gcsChecker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	object := strings.Contains(r.URL.EscapedPath(), "/storage/v1/b/") && strings.Contains(r.URL.EscapedPath(), "/o/")
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		c.mu.RLock()
		defer c.mu.RUnlock()
	} else {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	if object {
		if status := c.check(r); status != 0 {
			refuse(w, status)
			return
		}
		if r.Method == http.MethodPatch {
			c.patch(w, r, body)
			return
		}
	}
	c.forward(w, r, body)
}

// check returns the status that a request for an object must be refused with, 0
// if none.
func (c *gcsChecker) check(r *http.Request) int {
	path, q := r.URL.EscapedPath(), r.URL.Query()
	from, to, copies := strings.Cut(path, "/rewriteTo/")
	current, there := c.find(r.Context(), from, "")
	if copies {
		if !holds(q, "ifSourceGenerationMatch", current.Generation) && there {
			return http.StatusPreconditionFailed
		}
		at, _ := c.find(r.Context(), "/storage/v1/"+to, "")
		if !holds(q, "ifGenerationMatch", at.Generation) {
			return http.StatusPreconditionFailed
		}
		return 0
	}
	named := current
	if gen := q.Get("generation"); gen != "" {
		if named, there = c.find(r.Context(), from, gen); there && r.Method == http.MethodPatch && named.Generation != current.Generation {
			return http.StatusNotImplemented // the server behind would patch the current one
		}
	}
	if there && (!holds(q, "ifGenerationMatch", current.Generation) || !holds(q, "ifMetagenerationMatch", 1+c.meta[named.id()])) {
		return http.StatusPreconditionFailed
	}
	return 0
}

// holds reports whether the precondition is met or was not made.
func holds(q url.Values, name string, is int64) bool {
	return q.Get(name) == "" || q.Get(name) == strconv.FormatInt(is, 10)
}

// find asks the server behind for an object.
func (c *gcsChecker) find(ctx context.Context, path, generation string) (o gcsObject, there bool) {
	status, reply, _ := c.ask(ctx, http.MethodGet, path+"?generation="+url.QueryEscape(generation), nil, nil)
	return o, status == http.StatusOK && json.Unmarshal(reply, &o) == nil
}

// patch changes an object's custom metadata as Google does: what is null is
// taken off, what is not named stays. The server behind only knows how to
// replace all of it.
func (c *gcsChecker) patch(w http.ResponseWriter, r *http.Request, body []byte) {
	path := r.URL.EscapedPath()
	var change struct{ Metadata map[string]*string }
	if err := json.Unmarshal(body, &change); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	o, there := c.find(r.Context(), path, r.URL.Query().Get("generation"))
	if !there {
		refuse(w, http.StatusNotFound)
		return
	}
	all := map[string]string{}
	maps.Copy(all, o.Metadata)
	for k, v := range change.Metadata {
		if v == nil {
			delete(all, k)
		} else {
			all[k] = *v
		}
	}
	update, err := json.Marshal(map[string]any{"metadata": all})
	if err != nil {
		refuse(w, http.StatusInternalServerError)
		return
	}
	if status, _, _ := c.ask(r.Context(), http.MethodPut, path, update, http.Header{"Content-Type": {"application/json"}}); status != http.StatusOK {
		refuse(w, status)
		return
	}
	c.meta[o.id()]++
	get := r.Clone(r.Context())
	get.Method, get.URL.RawQuery = http.MethodGet, ""
	c.forward(w, get, nil)
}

// forward passes a request on, and the reply back with our metagenerations.
func (c *gcsChecker) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	path := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	status, reply, header := c.ask(r.Context(), r.Method, path, body, r.Header)
	if strings.HasPrefix(header.Get("Content-Type"), "application/json") && r.URL.Query().Get("alt") != "media" {
		var v any
		decoder := json.NewDecoder(bytes.NewReader(reply))
		decoder.UseNumber()
		if decoder.Decode(&v) == nil && c.number(v) {
			if changed, err := json.Marshal(v); err == nil {
				reply = changed
			}
		}
	}
	maps.Copy(w.Header(), header)
	if at := header.Get("Location"); at != "" { // of an upload's session
		w.Header().Set("Location", strings.Replace(at, c.behind, "http://"+r.Host, 1))
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(reply)
}

// number writes our metageneration into each object in v, and reports whether
// there was one.
func (c *gcsChecker) number(v any) (changed bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			changed = c.number(e) || changed
		}
	case map[string]any:
		if v["kind"] == "storage#object" {
			var o gcsObject
			if b, err := json.Marshal(v); err == nil && json.Unmarshal(b, &o) == nil {
				v["metageneration"] = strconv.FormatInt(1+c.meta[o.id()], 10)
				return true
			}
		}
		for _, e := range v {
			changed = c.number(e) || changed
		}
	}
	return changed
}

// ask makes a request to the server behind.
func (c *gcsChecker) ask(ctx context.Context, method, path string, body []byte, header http.Header) (int, []byte, http.Header) {
	failed := http.Header{}
	req, err := http.NewRequestWithContext(ctx, method, c.behind+path, bytes.NewReader(body))
	if err != nil {
		return http.StatusBadGateway, nil, failed
	}
	maps.Copy(req.Header, header)
	resp, err := c.client.Do(req)
	if err != nil {
		return http.StatusBadGateway, nil, failed
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return http.StatusBadGateway, nil, failed
	}
	return resp.StatusCode, reply, resp.Header
}

// refuse answers as Google does.
func refuse(w http.ResponseWriter, status int) {
	reason := map[int]string{http.StatusPreconditionFailed: "conditionNotMet", http.StatusNotFound: "notFound", http.StatusNotImplemented: "notImplemented"}[status]
	message := http.StatusText(status)
	reply, _ := json.Marshal(map[string]any{"error": map[string]any{"code": status, "message": message,
		"errors": []map[string]string{{"domain": "global", "reason": reason, "message": message}}}})
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(reply)
}
