package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A check is one thing that must be well for the daemon to be ready.
type check struct {
	name string
	run  func(context.Context) error
	// advisory: shown, but does not make the daemon unready. A unit that cannot
	// be reached does not stop the others.
	advisory bool
}

// checkWithin bounds how long all checks may take.
const checkWithin = 5 * time.Second

// live answers /livez: the process runs and its ledger can be read.
func live(checks func() []check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { report(w, r, checks()[:1]) }
}

// ready answers /readyz, with ?verbose a line for each check.
func ready(checks func() []check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { report(w, r, checks()) }
}

func report(w http.ResponseWriter, r *http.Request, checks []check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkWithin)
	defer cancel()
	var b strings.Builder
	failed := 0
	for _, c := range checks {
		err := c.run(ctx)
		switch {
		case err == nil:
			fmt.Fprintf(&b, "[+] %s ok\n", c.name)
		case c.advisory:
			fmt.Fprintf(&b, "[!] %s: %v\n", c.name, err)
		default:
			failed++
			fmt.Fprintf(&b, "[-] %s: %v\n", c.name, err)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if failed > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if _, verbose := r.URL.Query()["verbose"]; verbose || failed > 0 {
		_, _ = io.WriteString(w, b.String()) // the caller may be gone
		return
	}
	_, _ = io.WriteString(w, "ok\n") // likewise
}
