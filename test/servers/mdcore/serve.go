package mdcore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := &counter{r: r.Body, sum: sha256.New()}
	r.Body = in
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(),
		Length: r.ContentLength, Chunked: slices.Contains(r.TransferEncoding, "chunked")})
	fault := s.fault
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests[n].Size, s.requests[n].SHA256 = in.n, hex.EncodeToString(in.sum.Sum(nil))
	}()
	if fault != nil && fault(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path != "login" && path != "readyz" && path != "version" && !s.known(r.Header.Get("apikey")) {
		refuse(w, http.StatusForbidden, "Access denied")
		return
	}
	head, rest, _ := strings.Cut(path, "/")
	switch {
	case r.Method == http.MethodPost && path == "login":
		s.login(w, r)
	case r.Method == http.MethodPost && path == "logout":
		s.logout(w, r)
	case r.Method == http.MethodPost && path == "file":
		s.submit(w, r)
	case r.Method == http.MethodGet && path == "file/rules":
		answer(w, http.StatusOK, s.rules())
	case r.Method == http.MethodGet && strings.HasPrefix(path, "file/converted/"):
		s.converted(w, strings.TrimPrefix(path, "file/converted/"))
	case r.Method == http.MethodPost && head == "file" && strings.HasSuffix(rest, "/cancel"):
		s.cancel(w, strings.TrimSuffix(rest, "/cancel"))
	case r.Method == http.MethodGet && head == "file" && rest != "":
		s.result(w, r, rest)
	case r.Method == http.MethodGet && head == "hash" && rest != "":
		s.lookup(w, r, rest)
	case r.Method == http.MethodGet && path == "version":
		answer(w, http.StatusOK, map[string]string{"product_id": "MSCL", "version": s.o.Version})
	case r.Method == http.MethodGet && path == "stat/engines":
		s.stat(w)
	case r.Method == http.MethodGet && path == "readyz" && !s.o.NoReadyz:
		s.readyz(w)
	default:
		refuse(w, http.StatusNotFound, "Requested resource was not found.")
	}
}

// known reports whether an apikey may ask.
func (s *Server) known(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.o.APIKey == "" && len(s.o.Users) == 0:
		return true
	case key == "":
		return false
	}
	return key == s.o.APIKey || s.sessions[key]
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ User, Password string }
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "Error while parsing input JSON")
		return
	}
	if want, ok := s.o.Users[in.User]; !ok || want != in.Password {
		refuse(w, http.StatusForbidden, "Failed to login")
		return
	}
	id := newID()
	s.mu.Lock()
	s.sessions[id] = true
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]string{"session_id": id, "oms-csrf-token": newID()})
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	delete(s.sessions, r.Header.Get("apikey"))
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]string{"response": "Logout success"})
}

// submit is POST /file.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) {
	rule, err := url.PathUnescape(r.Header.Get("rule"))
	limit, known := s.rule(rule)
	switch {
	case r.ContentLength < 0:
		refuse(w, http.StatusLengthRequired, "Missing Content-Length header.")
		return
	case r.ContentLength == 0:
		refuse(w, http.StatusUnprocessableEntity, "File is empty.")
		return
	case s.busy():
		refuse(w, http.StatusServiceUnavailable, "Server is too busy. Try again later.")
		return
	case s.limited():
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "Too many requests")
		return
	case !s.licensed():
		refuse(w, http.StatusInternalServerError, "License is expired.")
		return
	case err != nil || !known:
		refuse(w, http.StatusBadRequest, "No available rule is present for scanning.")
		return
	case limit > 0 && r.ContentLength > limit:
		refuse(w, http.StatusBadRequest, "File size exceeds configured maximum")
		return
	}
	name, err := url.PathUnescape(r.Header.Get("filename"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Bad Request")
		return
	}
	j, err := s.judge(r.Body, name)
	if err != nil {
		return // the client broke off: there is no job
	}
	j.profile, j.userAgent = rule, r.Header.Get("user_agent")
	if rule == "" {
		j.profile = "File process"
	}
	s.mu.Lock()
	s.jobs[j.id], s.byHash[j.sha256] = j, j
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]string{"data_id": j.id})
}

func (s *Server) rule(name string) (limit int64, known bool) {
	if name == "" || len(s.o.Rules) == 0 {
		return 0, true
	}
	for _, r := range s.o.Rules {
		if r.Name == name {
			return r.MaxSize, true
		}
	}
	return 0, false
}

func (s *Server) rules() []Rule {
	if len(s.o.Rules) == 0 {
		return []Rule{{"File process", 200_000_000}}
	}
	return s.o.Rules
}

func (s *Server) queue() int {
	n := 0
	for _, j := range s.jobs {
		if !j.cancelled && j.progress() < 100 {
			n++
		}
	}
	return n
}

func (s *Server) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full || s.queue() >= s.o.MaxQueue
}

func (s *Server) limited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now().Unix(); now != s.second {
		s.second, s.rate = now, 0
	}
	s.rate++
	return s.o.RatePerSec > 0 && s.rate > s.o.RatePerSec
}

func (s *Server) licensed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.license == "ok"
}

// result is GET /file/{data_id}.
func (s *Server) result(w http.ResponseWriter, r *http.Request, id string) {
	first, err1 := number(r.URL.Query().Get("first"), 0)
	size, err2 := number(r.URL.Query().Get("size"), s.o.PageSize)
	if err1 != nil || err2 != nil || size > 2000 {
		refuse(w, http.StatusBadRequest, "Bad Request")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil {
		answer(w, s.o.NotFound, map[string]string{id: "Not Found"})
		return
	}
	answer(w, http.StatusOK, j.report(s.o.NestedForm, first, size))
}

func number(s string, absent int) (int, error) {
	if s == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

// lookup is GET /hash/{hash}.
func (s *Server) lookup(w http.ResponseWriter, r *http.Request, sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.byHash[strings.ToLower(sum)]
	rule, _ := url.PathUnescape(r.Header.Get("rule"))
	if j == nil || rule != "" && rule != j.profile || j.progress() < 100 && r.Header.Get("include-inprogress") != "true" {
		answer(w, http.StatusNotFound, map[string]string{strings.ToUpper(sum): "Not Found"})
		return
	}
	answer(w, http.StatusOK, j.report(s.o.NestedForm, 0, s.o.PageSize))
}

// converted is GET /file/converted/{data_id}.
func (s *Server) converted(w http.ResponseWriter, id string) {
	s.mu.Lock()
	j := s.jobs[id]
	s.mu.Unlock()
	if j == nil || j.copy == nil {
		answer(w, http.StatusNotFound, map[string]string{"err": "Requested resource was not found."})
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(j.copy)))
	_, _ = io.Copy(w, bytes.NewReader(j.copy)) // the client may be gone
}

// cancel is POST /file/{data_id}/cancel.
func (s *Server) cancel(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil {
		refuse(w, http.StatusNotFound, "Data ID not found (invalid id)")
		return
	}
	if j.progress() < 100 {
		j.cancelled = true
	}
	answer(w, http.StatusOK, map[string]string{id: "cancelled"})
}

// stat is GET /stat/engines.
func (s *Server) stat(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]map[string]any, 0, len(s.engines))
	for _, g := range s.engines {
		out = append(out, map[string]any{"active": g.Active, "def_time": stamp(g.Defined), "download_progress": 100,
			"download_time": stamp(g.Defined), "eng_id": g.ID, "eng_name": g.Name, "eng_type": "Bundled engine",
			"eng_ver": g.Version, "engine_type": g.Kind, "state": "production"})
	}
	answer(w, http.StatusOK, out)
}

// readyz is GET /readyz.
func (s *Server) readyz(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, active := s.queue(), 0
	if s.full {
		n = s.o.MaxQueue
	}
	engines := make([]map[string]any, 0, len(s.engines))
	for _, g := range s.engines {
		if g.Active && g.Kind == "av" {
			active++
		}
		engines = append(engines, map[string]any{"engine_id": g.ID, "required": g.Kind == "archive", "status": g.Active})
	}
	queued, licensed := n < s.o.MaxQueue, s.license == "ok"
	status := http.StatusOK
	if !queued || !licensed || active == 0 {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]any{
		"database":                 map[string]any{"status": true},
		"engines":                  engines,
		"license":                  map[string]any{"status": s.license},
		"number_active_av_engines": map[string]any{"status": active > 0, "threshold": 1},
		"scan_queue": map[string]any{"status": queued, "threshold": 100, "number_in_queue": n,
			"max_number_in_queue": s.o.MaxQueue},
	})
}

// stamp is a time as the API writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// counter measures a body.
type counter struct {
	r   io.ReadCloser
	n   int64
	sum hash.Hash
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

func (c *counter) Close() error { return c.r.Close() }
