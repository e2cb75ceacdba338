package events

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/fault"
)

func TestParsePlace(t *testing.T) {
	p, err := Parse(Options{URL: "kafka://a:1,b.example:2,[::1]:3/to%2Fpic/x?n=3&t=5s&f=true&s=in+query", Options: map[string]string{"s": "in options", "password": "p"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a:1", "b.example:2", "[::1]:3"}, p.Hosts); diff != "" || p.Scheme != "kafka" {
		t.Errorf("scheme %s, hosts %s", p.Scheme, diff)
	}
	if diff := cmp.Diff([]string{"to/pic", "x"}, p.Path); diff != "" {
		t.Error(diff)
	}
	if n, d, f, s, w := p.Number("n", 1, 0, 9), p.Span("t", 0, 0, time.Minute), p.Flag("f"), p.Text("s", ""), p.Text("password", ""); n != 3 || d != 5*time.Second || !f || s != "in options" || w != "p" {
		t.Errorf("%d %v %v %q %q", n, d, f, s, w)
	}
	if p.Number("absent", 7, 0, 9) != 7 || p.Span("absent", time.Hour, 0, 0) != time.Hour || p.Flag("absent") || p.Text("absent", "x") != "x" {
		t.Error("what is absent is not its default")
	}
	if err := p.End("x.Open", "s"); err != nil {
		t.Error(err)
	}
}

func TestParsePlaceRefuses(t *testing.T) {
	for _, url := range []string{"", "host", "://host", "x://", "x:///path", "x://user:secret@host/q", "x://a,,b/q", "x://host/a//b", "x://host/%zz", "x://host/q?a=%zz", "x://host/q#f",
		"x://host/q?secret_key=s", "x://host/q?token=s", "x://host/q?password=s", "x://host/q?credentials=s"} {
		p, err := Parse(Options{URL: url})
		if err == nil {
			t.Errorf("%q: %+v", url, p)
		} else if strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "=s") {
			t.Errorf("%q: the error shows the secret: %v", url, err)
		}
	}
	p, err := Parse(Options{URL: "x://host/q?n=99&t=1h&f=perhaps&what=1"})
	if err != nil {
		t.Fatal(err)
	}
	p.Number("n", 1, 0, 9)
	p.Span("t", 0, 0, time.Minute)
	p.Flag("f")
	err = p.End("x.Open", "s")
	for _, name := range []string{"n", "t", "f", "what"} {
		if err == nil || !strings.Contains(err.Error(), "option "+name+":") {
			t.Errorf("nothing is said of %s: %v", name, err)
		}
	}
	var option *OptionError
	if !fault.Is(err, fault.Invalid) || !errors.As(err, &option) {
		t.Errorf("%v", err)
	}
}
