package azureblob

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
)

// A standIn is NOT Azure: it is what Microsoft's documents say of accounts that
// no emulator has, in a few lines. It keeps versions
// (https://learn.microsoft.com/azure/storage/blobs/versioning-overview), or is an
// account with a hierarchical namespace, which has neither versions nor tags and
// lists folders before what sorts between them and their content.
type standIn struct {
	t           *testing.T
	hns         bool
	versionless bool // it keeps no versions, and is nothing else
	soft        bool // soft delete is on
	// immutable says of a version's id whether a policy or hold keeps it, in the
	// service's words.
	immutable func(id string) string
	pending   int // polls that a copy takes
	abort     int // copies that were aborted

	mu     sync.Mutex
	is     func(*http.Request) bool
	before func() // what a stranger does once, right before a request that is is true for
	clock  int64
	blobs  map[string]*standInBlob
	blocks map[string][]byte
	names  map[string]string // of metadata, by lower case: Go's server loses the case
}

type standInBlob struct {
	versions []*standInVersion // oldest first
	current  *standInVersion
	lease    string
}

type standInVersion struct {
	id, etag, ctype, copyID string
	polls                   int
	body                    []byte
	meta, tags              map[string]string
	mod                     time.Time
}

func newStandIn(t *testing.T) *standIn {
	return &standIn{t: t, blobs: map[string]*standInBlob{}, blocks: map[string][]byte{}, names: map[string]string{}}
}

// start serves it until the test ends, and returns a unit on it.
func (s *standIn) start() connectors.Unit {
	srv := httptest.NewUnstartedServer(s)
	srv.Listener = namesListener{srv.Listener, s}
	srv.Start()
	s.t.Cleanup(srv.Close)
	return connectors.Unit{Name: "stand-in", URL: "azblob://account/container/in?endpoint=" + srv.URL + "/account", Options: map[string]string{"key": "c2VjcmV0"}}
}

func (s *standIn) open(lim limits) *Driver {
	s.t.Helper()
	d, err := open(s.t.Context(), s.start(), lim)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = d.Close() })
	return d
}

// namesListener notes how the names of metadata are spelt on the wire.
type namesListener struct {
	net.Listener
	s *standIn
}

func (l namesListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return namesConn{c, l.s}, err
}

type namesConn struct {
	net.Conn
	s *standIn
}

var metaHeader = regexp.MustCompile(`(?i)\r\nx-ms-meta-([a-z0-9_]+):`)

func (c namesConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, m := range metaHeader.FindAllSubmatch(p[:n], -1) {
		c.s.mu.Lock()
		c.s.names[strings.ToLower(string(m[1]))] = string(m[1])
		c.s.mu.Unlock()
	}
	return n, err
}

func (s *standIn) say(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:1\nTime:2</Message></Error>", code, message)
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	act := s.before
	if act != nil && s.is(r) {
		s.before = nil
		s.mu.Unlock()
		act()
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	q := r.URL.Query()
	name, ok := strings.CutPrefix(r.URL.Path, "/account/container/")
	switch {
	case q.Get("comp") == "list":
		s.list(w, q)
	case q.Get("comp") == "properties" && q.Get("restype") == "account":
		w.Header().Set("x-ms-is-hns-enabled", fmt.Sprint(s.hns))
	case !ok:
		s.say(w, 400, "InvalidUri", r.URL.Path)
	default:
		s.blob(w, r, name, body)
	}
}

// find returns the version that the request names.
func (s *standIn) find(r *http.Request, name string) (*standInBlob, *standInVersion) {
	b := s.blobs[name]
	if b == nil {
		return nil, nil
	}
	id := r.URL.Query().Get("versionid")
	if id == "" {
		return b, b.current
	}
	for _, v := range b.versions {
		if v.id == id {
			return b, v
		}
	}
	return b, nil
}

func (s *standIn) blob(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	b, v := s.find(r, name)
	comp, h := r.URL.Query().Get("comp"), r.Header
	if comp == "block" {
		s.blocks[name+"|"+r.URL.Query().Get("blockid")] = body
		w.WriteHeader(201)
		return
	}
	write := r.Method == http.MethodPut && (comp == "" || comp == "blocklist")
	match, none := h.Get("If-Match"), h.Get("If-None-Match")
	if comp == "tags" {
		match = h.Get("x-ms-blob-if-match")
	}
	switch {
	case v == nil && !write:
		s.say(w, 404, "BlobNotFound", "The specified blob does not exist.")
	case none == "*" && v != nil:
		s.say(w, 409, "BlobAlreadyExists", "The specified blob already exists.")
	case match != "" && (v == nil || match != `"`+v.etag+`"`):
		s.say(w, 412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead && comp != "lease" && b != nil && b.lease != "" && v == b.current && h.Get("x-ms-lease-id") != b.lease:
		s.say(w, 412, "LeaseIdMissing", "There is currently a lease on the blob and no lease ID was specified in the request.")
	case s.hns && (comp == "tags" || h.Get("x-ms-tags") != ""):
		s.say(w, 409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts", "Blob tags are not yet supported for hierarchical namespace accounts.")
	case comp == "tags":
		s.tags(w, r, v, body)
	case comp == "lease":
		s.lease(w, h, b)
	case comp == "copy":
		s.abort++
		b.current.polls, b.current.body = -1, nil
		w.WriteHeader(204)
	case comp == "metadata":
		s.write(w, name, &standInVersion{body: v.body, ctype: v.ctype, meta: s.meta(h), tags: v.tags}, 200)
	case r.Method == http.MethodDelete:
		s.delete(w, name, b, v, r.URL.Query().Get("versionid"))
	case write:
		s.put(w, r, name, body)
	default:
		s.read(w, r, b, v)
	}
}

func (s *standIn) meta(h http.Header) map[string]string {
	meta := map[string]string{}
	for k := range h {
		if name, ok := strings.CutPrefix(strings.ToLower(k), "x-ms-meta-"); ok {
			meta[s.names[name]] = h.Get(k)
		}
	}
	return meta
}

func (s *standIn) put(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	h := r.Header
	v := &standInVersion{body: body, ctype: cmp.Or(h.Get("x-ms-blob-content-type"), "application/octet-stream"), meta: s.meta(h), tags: map[string]string{}}
	if tags, err := url.ParseQuery(h.Get("x-ms-tags")); err == nil {
		for k := range tags {
			v.tags[k] = tags.Get(k)
		}
	}
	if r.URL.Query().Get("comp") == "blocklist" {
		var list struct{ Latest []string }
		_ = xml.Unmarshal(body, &list)
		v.body = nil
		for _, id := range list.Latest {
			v.body = append(v.body, s.blocks[name+"|"+id]...)
		}
	}
	status := 201
	if from := h.Get("x-ms-copy-source"); from != "" {
		u, err := url.Parse(from)
		if err != nil {
			s.t.Error(err)
		}
		src := strings.TrimPrefix(u.Path, "/account/container/")
		_, old := s.find(&http.Request{URL: u}, src)
		switch {
		case old == nil:
			s.say(w, 404, "BlobNotFound", "The specified blob does not exist.")
			return
		case h.Get("x-ms-source-if-match") != `"`+old.etag+`"`:
			s.say(w, 412, "SourceConditionNotMet", "The source condition specified using HTTP conditional header(s) is not met.")
			return
		}
		v.body, v.ctype, v.polls = old.body, old.ctype, s.pending
		if len(v.meta) == 0 {
			v.meta = old.meta
		}
		v.copyID, status = fmt.Sprint("copy-", s.clock), 202
		w.Header().Set("x-ms-copy-id", v.copyID)
		w.Header().Set("x-ms-copy-status", map[bool]string{true: "pending", false: "success"}[s.pending > 0])
	}
	s.write(w, name, v, status)
}

// write makes v the current version; the one before stays as a previous one.
func (s *standIn) write(w http.ResponseWriter, name string, v *standInVersion, status int) {
	s.clock++
	v.mod = time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC).Add(time.Duration(s.clock) * 100)
	v.etag = fmt.Sprintf("0x8DE%012X", s.clock)
	b := s.blobs[name]
	if b == nil {
		b = &standInBlob{}
		s.blobs[name] = b
	}
	if b.current = v; s.hns || s.versionless {
		b.versions = []*standInVersion{v}
	} else {
		v.id = v.mod.Format("2006-01-02T15:04:05.0000000Z")
		b.versions = append(b.versions, v)
		w.Header().Set("x-ms-version-id", v.id)
	}
	w.Header().Set("ETag", `"`+v.etag+`"`)
	w.Header().Set("Last-Modified", v.mod.Format(http.TimeFormat))
	w.WriteHeader(status)
}

func (s *standIn) read(w http.ResponseWriter, r *http.Request, b *standInBlob, v *standInVersion) {
	h := w.Header()
	h.Set("ETag", `"`+v.etag+`"`)
	h.Set("Content-Type", v.ctype)
	for k, val := range v.meta {
		h["x-ms-meta-"+k] = []string{val}
	}
	if v.id != "" {
		h.Set("x-ms-version-id", v.id)
		h.Set("x-ms-is-current-version", fmt.Sprint(v == b.current))
	}
	if v.copyID != "" {
		status := "success"
		if v.polls > 0 {
			v.polls--
			status = "pending"
		} else if v.polls < 0 {
			status = "aborted"
		}
		h.Set("x-ms-copy-id", v.copyID)
		h.Set("x-ms-copy-status", status)
	}
	if from := r.Header.Get("x-ms-range"); from != "" {
		r.Header.Set("Range", from)
	}
	r.Header.Del("If-Match") // looked at already
	http.ServeContent(w, r, "", v.mod, bytes.NewReader(v.body))
}

func (s *standIn) delete(w http.ResponseWriter, name string, b *standInBlob, v *standInVersion, id string) {
	if id != "" && v == b.current {
		s.say(w, 403, "OperationNotAllowedOnRootBlob", "The specified operation is not allowed on root blob.")
		return
	}
	if why := ""; id != "" && s.immutable != nil {
		if why = s.immutable(id); why != "" {
			s.say(w, 409, "BlobImmutableDueToPolicy", why)
			return
		}
	}
	if b.lease = ""; id == "" {
		b.current = nil
	}
	if id != "" || s.hns || s.versionless {
		b.versions = slices.DeleteFunc(b.versions, func(o *standInVersion) bool { return o == v })
	}
	if len(b.versions) == 0 {
		delete(s.blobs, name)
	}
	w.Header().Set("x-ms-delete-type-permanent", fmt.Sprint(!s.soft))
	w.WriteHeader(202)
}

func (s *standIn) lease(w http.ResponseWriter, h http.Header, b *standInBlob) {
	switch {
	case h.Get("x-ms-lease-action") == "release":
		b.lease = ""
	case b.lease != "":
		s.say(w, 409, "LeaseAlreadyPresent", "There is already a lease present.")
		return
	default:
		b.lease = h.Get("x-ms-proposed-lease-id")
		w.Header().Set("x-ms-lease-id", b.lease)
		w.WriteHeader(201)
	}
}

type standInTags struct {
	XMLName xml.Name                      `xml:"Tags"`
	Tag     []struct{ Key, Value string } `xml:"TagSet>Tag"`
}

func (s *standIn) tags(w http.ResponseWriter, r *http.Request, v *standInVersion, body []byte) {
	var x standInTags
	if r.Method == http.MethodPut {
		if err := xml.Unmarshal(body, &x); err != nil {
			s.t.Error(err)
		}
		v.tags = map[string]string{}
		for _, t := range x.Tag {
			for _, text := range []string{t.Key, t.Value} {
				if strings.Trim(text, " +-./:=_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
					s.say(w, 400, "InvalidTag", "The tags specified are invalid.")
					return
				}
			}
			v.tags[t.Key] = t.Value
		}
		w.WriteHeader(204)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(v.tags)) {
		x.Tag = append(x.Tag, struct{ Key, Value string }{k, v.tags[k]})
	}
	out, _ := xml.Marshal(x)
	_, _ = w.Write(out)
}

// list lists by name, versions oldest first. In a hierarchical namespace '/'
// comes before all else.
func (s *standIn) list(w http.ResponseWriter, q url.Values) {
	include := strings.Split(q.Get("include"), ",")
	versions := slices.Contains(include, "versions")
	if versions && s.hns {
		s.say(w, 400, "InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid.")
		return
	}
	prefix, from, delimiter := q.Get("prefix"), q.Get("startFrom"), q.Get("delimiter")
	if prefix != "" && from != "" {
		s.t.Error("what startFrom means with a prefix is not documented")
	}
	order := func(name string) string {
		if s.hns {
			return strings.ReplaceAll(name, "/", "\x00")
		}
		return name
	}
	names := slices.SortedFunc(maps.Keys(s.blobs), func(a, b string) int { return strings.Compare(order(a), order(b)) })
	limit := 1000
	_, _ = fmt.Sscan(q.Get("maxresults"), &limit)
	var out strings.Builder
	n, next, seen := 0, "", map[string]bool{}
	skip := 0
	_, _ = fmt.Sscan(q.Get("marker"), &skip) // how many items came before
	item := func(write func()) {
		if n++; n > skip+limit {
			next = fmt.Sprint(skip + limit)
		} else if n > skip {
			write()
		}
	}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || order(name) < order(from) {
			continue
		}
		if s.hns { // folders are entries too
			for i := range rest {
				if dir := prefix + rest[:i]; rest[i] == '/' && i > 0 && delimiter == "" && !seen[dir] {
					seen[dir] = true
					item(func() {
						fmt.Fprintf(&out, "<Blob>%s<Properties><Etag>0x1</Etag><ResourceType>directory</ResourceType></Properties></Blob>", spell(dir))
					})
				}
			}
		}
		if delimiter != "" {
			if i := strings.Index(rest, delimiter); i >= 0 {
				if dir := prefix + rest[:i+1]; !seen[dir] {
					seen[dir] = true
					item(func() { fmt.Fprintf(&out, "<BlobPrefix>%s</BlobPrefix>", spell(dir)) })
				}
				continue
			}
		}
		b := s.blobs[name]
		for _, v := range b.versions {
			if v == b.current || versions {
				item(func() { s.item(&out, name, b, v, versions) })
			}
		}
	}
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="container"><Blobs>%s</Blobs><NextMarker>%s</NextMarker></EnumerationResults>`, out.String(), next)
}

func (s *standIn) item(out *strings.Builder, name string, b *standInBlob, v *standInVersion, versions bool) {
	fmt.Fprintf(out, "<Blob>%s", spell(name))
	if versions && v.id != "" {
		fmt.Fprintf(out, "<VersionId>%s</VersionId>", v.id)
		if v == b.current {
			out.WriteString("<IsCurrentVersion>true</IsCurrentVersion>")
		}
	}
	fmt.Fprintf(out, "<Properties><Last-Modified>%s</Last-Modified><Etag>%s</Etag><Content-Length>%d</Content-Length><BlobType>BlockBlob</BlobType>", v.mod.Format(http.TimeFormat), v.etag, len(v.body))
	if s.hns {
		out.WriteString("<ResourceType>file</ResourceType>")
	}
	out.WriteString("</Properties><Metadata>")
	for k, val := range v.meta {
		fmt.Fprintf(out, "<%s>", k)
		_ = xml.EscapeText(out, []byte(val))
		fmt.Fprintf(out, "</%s>", k)
	}
	out.WriteString("</Metadata></Blob>")
}

// spell writes a name as the service does: percent-encoded where XML cannot
// hold it.
func spell(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == '\r' }) {
		return `<Name Encoded="true">` + url.PathEscape(name) + "</Name>"
	}
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(name))
	return "<Name>" + b.String() + "</Name>"
}

// stranger makes a request as someone else does.
func (s *standIn) stranger(t *testing.T, method, name string, content []byte) {
	t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, "http://stand-in/account/container/x", bytes.NewReader(content))
	r.URL.Path = "/account/container/" + name
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code >= 300 {
		t.Errorf("%s %q: %d %s", method, name, w.Code, w.Body)
	}
}
