package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names are what the tests' resolver knows.
var names = map[string][]string{
	"localhost": {"127.0.0.1", "::1"}, "loop.example": {"127.0.0.1"}, "a.localhost": {"127.0.0.1"}, "private.example": {"10.1.2.3"}, "mixed.example": {"93.184.216.34", "127.0.0.1"},
	"mapped.example": {"::ffff:127.0.0.1"}, "nat64.example": {"64:ff9b::7f00:1"}, "metadata.google.internal": {"169.254.169.254"}, "ula.example": {"fd00::1"},
	"public.example": {"93.184.216.34"}, "xn--lcalhost-75a.example": {"127.0.0.1"}, "zone.example": {"fe80::1%lo"}, "zero.example": {"0.0.0.0"},
}

func lookup(_ context.Context, host string) (addrs []netip.Addr, err error) {
	for _, s := range names[strings.ToLower(host)] {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// spellings are hosts that lead to this machine or its network, if anybody reads
// them so; P stands for a port where something listens.
var spellings = []string{
	"http://127.0.0.1:P/", "http://127.0.0.2:P/", "http://127.1:P/", "http://127.0.1:P/", "http://2130706433:P/", "http://017700000001:P/", "http://0x7f000001:P/",
	"http://0x7F.0.0.1:P/", "http://0177.0.0.1:P/", "http://127.0.0.01:P/", "http://127.0.0.0x1:P/", "http://127.000.000.001:P/", "http://0:P/", "http://0.0.0.0:P/", "http://0x0:P/",
	"http://127.0.0.1.:P/", "http://localhost:P/", "http://LOCALHOST:P/", "http://localhost.:P/", "http://a.localhost:P/", "http://loop.example:P/", "http://loop.example.:P/",
	"http://[::1]:P/", "http://[::]:P/", "http://[0:0:0:0:0:0:0:1]:P/", "http://[::ffff:127.0.0.1]:P/", "http://[::ffff:7f00:1]:P/", "http://[::127.0.0.1]:P/",
	"http://[64:ff9b::7f00:1]:P/", "http://[64:ff9b::127.0.0.1]:P/", "http://[64:ff9b:1::7f00:1]:P/", "http://[2002:7f00:1::]:P/", "http://[2002:a00:1::1]:P/", "http://[2001:0:7f00:1::]:P/",
	"http://[::1%25lo]:P/", "http://[fe80::1%25lo]:P/", "http://[fe80::1]:P/", "http://[fec0::1]:P/", "http://[fd00::1]:P/", "http://[ff02::1]:P/", "http://[2001:db8::1]:P/", "http://[3fff::1]:P/", "http://[100::1]:P/",
	"http://10.0.0.1:P/", "http://172.16.0.1:P/", "http://172.31.255.255:P/", "http://192.168.1.1:P/", "http://100.64.0.1:P/", "http://169.254.1.1:P/", "http://169.254.169.254/latest/meta-data/",
	"http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://192.0.0.192/", "http://168.63.129.16/", "http://metadata.google.internal/", "http://192.0.2.1/", "http://198.51.100.1/", "http://203.0.113.1/", "http://198.18.0.1/",
	"http://224.0.0.1/", "http://255.255.255.255/", "http://240.0.0.1/",
	"http://private.example:P/", "http://mixed.example:P/", "http://mapped.example:P/", "http://nat64.example:P/", "http://ula.example:P/", "http://zone.example:P/", "http://zero.example:P/", "http://xn--lcalhost-75a.example:P/",
	"http://127。0。0。1:P/", "http://①②⑦.⓪.⓪.①:P/", "http://127.0.0.1:P/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:P/", "http://loc\u00adalhost:P/", "http://localhost\u200b:P/",
	"http://127%2e0%2e0%2e1:P/", "http://%6c%6f%63alhost:P/", "http://localhost%00.example:P/", "http://public.example%2f@127.0.0.1:P/",
	"http://public.example@127.0.0.1:P/", "http://user:s3cret@127.0.0.1:P/", "http://@127.0.0.1:P/", "http://127.0.0.1:P\\@public.example/", "http:\\\\127.0.0.1:P/", "http:///127.0.0.1:P/", "http:127.0.0.1:P/", "//127.0.0.1:P/", "127.0.0.1:P",
	"http://127.0.0.1 :P/", "http://127.0.0.1\t:P/", "http://127.0.0.1:P\n/", "http://127.0.0.1:0P/", "http://127.0.0.1:+P/", "http://127.0.0.1:/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/",
	"ftp://127.0.0.1:P/", "file:///etc/passwd", "gopher://127.0.0.1:P/", "unix:///run/x.sock", "javascript:alert(1)", "data:text/plain,x", "ldap://127.0.0.1:P/", "", "http://", "http://-a.example/", "http://a..example/",
	"http://0300.0250.0.1/", "http://3232235777/", "http://0xa9fea9fe/", "http://169.254.43518/", "http://0251.0376.0251.0376/",
}

// server is an HTTP server that counts connections.
func server(t *testing.T) (port string, count *atomic.Int64) {
	t.Helper()
	count = &atomic.Int64{}
	s := &http.Server{ReadHeaderTimeout: time.Second, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			count.Add(1)
		}
	}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://10.0.0.1/", http.StatusFound)
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	listeners := []net.Listener{l}
	if l6, err := net.Listen("tcp", "[::1]:"+port); err == nil { // not every machine has IPv6
		listeners = append(listeners, l6)
	}
	done := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { done <- s.Serve(l) }()
	}
	t.Cleanup(func() {
		_ = s.Close()
		for range listeners {
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	return port, count
}

// get asks for a URL, whatever Check says of it.
func get(t *testing.T, g Guard, rawURL string) (int, error) {
	t.Helper()
	c := g.Client(5 * time.Second)
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, rawURL, nil)
	if err != nil {
		return 0, err
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Body.Close()
}

func TestSpellings(t *testing.T) {
	port, count := server(t)
	g := Guard{Lookup: lookup}
	for _, s := range spellings {
		raw := strings.ReplaceAll(s, "P", port)
		if err := g.Check(t.Context(), raw); !fault.Is(err, fault.Invalid) {
			t.Errorf("Check(%q) = %v, want fault.Invalid", raw, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Check(%q) shows the secret: %v", raw, err)
		}
		if _, err := get(t, g, raw); err == nil {
			t.Errorf("GET %q was answered", raw)
		}
		if host := strings.TrimSuffix(strings.TrimPrefix(raw, "http://"), "/"); strings.Contains(host, ":") {
			if conn, err := g.DialContext(t.Context(), "tcp", host); err == nil {
				t.Errorf("dial of %q succeeded", host)
				_ = conn.Close()
			}
		}
	}
	t.Logf("cases=%d connections=%d", len(spellings), count.Load())
	if n := count.Load(); n != 0 || len(spellings) < 60 {
		t.Errorf("%d connections in %d cases, want none in 60 or more", n, len(spellings))
	}
}

// What is allowed is reached: the server of TestSpellings would have counted.
func TestAllowed(t *testing.T) {
	port, count := server(t)
	for _, c := range []struct {
		name string
		g    Guard
		url  string
		ok   bool
	}{
		{"loopback", Guard{Loopback: true}, "http://127.0.0.1:P/", true},
		{"a name of loopback", Guard{Loopback: true}, "http://loop.example:P/", true},
		{"mapped", Guard{Loopback: true}, "http://[::ffff:127.0.0.1]:P/", true},
		{"a listed network", Guard{Allow: prefixes("127.0.0.0/8")}, "http://127.0.0.1:P/", true},
		{"another network", Guard{Allow: prefixes("10.0.0.0/8")}, "http://127.0.0.1:P/", false},
		{"one of two addresses", Guard{Allow: prefixes("127.0.0.0/8")}, "http://localhost:P/", false},
		{"odd all the same", Guard{Loopback: true}, "http://2130706433:P/", false},
	} {
		before := count.Load()
		c.g.Lookup = lookup
		raw := strings.ReplaceAll(c.url, "P", port)
		if err := c.g.Check(t.Context(), raw); (err == nil) != c.ok {
			t.Errorf("%s: Check: %v", c.name, err)
		}
		_, err := get(t, c.g, raw)
		if got := count.Load() - before; (err == nil) != c.ok || (got > 0) != c.ok {
			t.Errorf("%s: GET: %v, %d connections", c.name, err, got)
		}
	}
}

func TestPermits(t *testing.T) {
	wide := Guard{Allow: prefixes("0.0.0.0/0", "::/0")}
	for addr, want := range map[string][2]bool{ // the zero Guard, and one that lists everything
		"93.184.216.34": {true, true}, "2606:2800:220:1::1": {true, true}, "64:ff9b::5db8:d822": {true, true}, "2002:5db8:d822::1": {true, true},
		"10.0.0.1": {false, true}, "fd00::1": {false, true}, "169.254.169.254": {false, false}, "::ffff:169.254.169.254": {false, false},
		"64:ff9b::a9fe:a9fe": {false, false}, "168.63.129.16": {false, false}, "172.32.0.1": {true, true}, "172.15.255.255": {true, true},
	} {
		a := netip.MustParseAddr(addr)
		if got := [2]bool{Guard{}.permits(a), wide.permits(a)}; got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if !(Guard{Allow: prefixes("169.254.169.254/32")}).permits(metadata[0]) {
		t.Error("a metadata address that is listed by itself is refused")
	}
}

// A name that is public when it is checked and this machine when it is dialled.
func TestRebinding(t *testing.T) {
	port, count := server(t)
	var asked atomic.Int64
	g := Guard{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	raw := "http://rebind.example:" + port + "/"
	if err := g.Check(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, g, raw); !fault.Is(err, fault.Invalid) {
		t.Errorf("GET: %v, want fault.Invalid", err)
	}
	if n := count.Load(); n != 0 || asked.Load() != 2 {
		t.Errorf("%d connections after %d look-ups", n, asked.Load())
	}
}

func TestNoRedirectAndNoProxy(t *testing.T) {
	port, count := server(t)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	status, err := get(t, Guard{Loopback: true}, "http://127.0.0.1:"+port+"/away")
	if err != nil || status != http.StatusFound || count.Load() != 1 {
		t.Errorf("%d %v after %d connections, want 302 after one", status, err, count.Load())
	}
}

func TestUnresolved(t *testing.T) {
	if err := (Guard{Lookup: lookup}).Check(t.Context(), "https://nowhere.example/"); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v, want fault.Invalid", err)
	}
	g := Guard{Lookup: lookup}
	for addr, ok := range map[string]bool{"public.example:514": true, "loop.example:514": false, "public.example": false, "public.example:0": false, "[::1]:25": false} {
		if err := g.CheckAddr(t.Context(), addr); (err == nil) != ok {
			t.Errorf("CheckAddr(%s): %v", addr, err)
		}
	}
}
