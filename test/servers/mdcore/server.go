// Package mdcore is a stand-in for MetaDefender Core and the API Gateway of
// MetaDefender Cluster, which cannot be installed here: a server that speaks
// their REST API in the published shapes and judges content by what is written
// in it. It finds no malware but EICAR. Faults can be injected, and what was
// asked of it is kept for tests to look at.
package mdcore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options set up a Server; the zero value is one with two engines that takes
// anything from anybody and answers at once.
type Options struct {
	APIKey  string            // asked for where set
	Users   map[string]string // name → password, for /login; sessions are asked for where set
	Rules   []Rule            // names that a rule header may have; none = any
	Engines []Engine          // default: two, up to date
	Version string            // default 5.14.0
	TLS     bool

	Latency    time.Duration // from submission to the report; progress grows over it
	MaxQueue   int           // jobs in work before 503; default 4000
	RatePerSec int           // requests to /file before 429; 0 = any number
	MaxDepth   int           // archives in archives; default 5
	MaxEntries int           // members of an archive; default 1000
	MaxExpand  int64         // bytes of an archive unpacked; default 64 MiB
	PageSize   int           // members in one report; default 50

	NoReadyz   bool // a version without the health check
	NestedForm bool // members as whole reports, as newer versions give them
	NotFound   int  // status that comes with "Not Found"; default 200
}

// A Rule is a workflow of the instance.
type Rule struct {
	Name    string `json:"name"`
	MaxSize int64  `json:"max_file_size"` // bytes; 0 = any
}

// An Engine is one that the instance has, as /stat/engines shows it.
type Engine struct {
	ID      string    `json:"eng_id"`
	Name    string    `json:"eng_name"`
	Version string    `json:"eng_ver"`
	Kind    string    `json:"engine_type"` // av, archive, filetype
	Defined time.Time `json:"def_time"`
	Active  bool      `json:"active"`
	Fails   bool      `json:"-"` // answers Failed to everything
}

// A Request is what was asked of the server.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Length              int64 // Content-Length; -1 = unknown
	Chunked             bool
	Size                int64  // of the body that arrived
	SHA256              string // of the body that arrived
}

// A Fault takes over a request before the server looks at it. It returns false
// to let it pass.
type Fault func(w http.ResponseWriter, r *http.Request) bool

// Server is a running stand-in. Its methods may be called at any time.
type Server struct {
	o     Options
	http  *httptest.Server
	start time.Time

	mu       sync.Mutex
	engines  []Engine
	jobs     map[string]*job
	byHash   map[string]*job
	sessions map[string]bool
	requests []Request
	fault    Fault
	full     bool
	license  string
	second   int64 // the second that rate counts in
	rate     int
}

// New makes a server that is a handler only; Start makes one that listens.
func New(o Options) *Server {
	if o.Version == "" {
		o.Version = "5.14.0"
	}
	if len(o.Engines) == 0 {
		now := time.Now().UTC().Truncate(time.Second)
		o.Engines = []Engine{
			{ID: "clamav_1_linux", Name: "ClamAV", Version: "3.0-43", Kind: "av", Defined: now.Add(-3 * time.Hour), Active: true},
			{ID: "avira_1_linux", Name: "Avira", Version: "4.2-7", Kind: "av", Defined: now.Add(-1 * time.Hour), Active: true},
			{ID: "7z_1_linux", Name: "Archive engine", Version: "5.1", Kind: "archive", Defined: now.Add(-90 * 24 * time.Hour), Active: true},
		}
	}
	for _, d := range []struct {
		at *int
		to int
	}{{&o.MaxQueue, 4000}, {&o.MaxDepth, 5}, {&o.MaxEntries, 1000}, {&o.PageSize, 50}, {&o.NotFound, http.StatusOK}} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	if o.MaxExpand == 0 {
		o.MaxExpand = 64 << 20
	}
	return &Server{o: o, start: time.Now(), engines: o.Engines, license: "ok",
		jobs: map[string]*job{}, byHash: map[string]*job{}, sessions: map[string]bool{}}
}

// Start runs a server on a free port of 127.0.0.1 until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := New(o)
	s.http = httptest.NewUnstartedServer(s)
	ctx, cancel := context.WithCancel(context.Background()) // ends what hangs
	s.http.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	t.Cleanup(func() {
		s.SetFault(nil)
		cancel()
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// EngineURL is where an engine finds the server: mdcore://… or mdcores://….
func (s *Server) EngineURL() string {
	scheme := "mdcore"
	if s.o.TLS {
		scheme = "mdcores"
	}
	return scheme + "://" + s.http.Listener.Addr().String()
}

// CAFile writes the certificate of a TLS server to a file and returns its path.
func (s *Server) CAFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SetFault makes f take over requests; nil = none.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// SetFull makes the queue full, or not.
func (s *Server) SetFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// SetEngines replaces the engines, as an update of definitions does. Results
// that were made before are out of date.
func (s *Server) SetEngines(engines []Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines = engines
	for _, j := range s.jobs {
		j.outdated = true
	}
}

// SetLicense sets the license's state: ok, expired, invalid.
func (s *Server) SetLicense(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.license = state
}

// EndSessions ends all sessions that /login gave.
func (s *Server) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Requests are all requests so far whose path has the prefix.
func (s *Server) Requests(method, prefix string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Request
	for _, r := range s.requests {
		if (method == "" || r.Method == method) && strings.HasPrefix(r.Path, prefix) {
			out = append(out, r)
		}
	}
	return out
}

// Jobs says how many jobs there are, and how many of them were cancelled.
func (s *Server) Jobs() (all, cancelled int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j.cancelled {
			cancelled++
		}
	}
	return len(s.jobs), cancelled
}

// Sessions says how many sessions are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

func refuse(w http.ResponseWriter, status int, err string) {
	answer(w, status, map[string]string{"err": err})
}
