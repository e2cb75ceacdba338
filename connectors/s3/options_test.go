package s3

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		url     string
		options map[string]string
		want    options
		bad     string // words of the error
	}{
		{url: "s3://bucket", want: options{bucket: "bucket"}},
		{url: "s3://bucket/a/b%20c/", want: options{bucket: "bucket", root: "a/b c/"}},
		{url: "s3://b?endpoint=http://127.0.0.1:9000/&region=x", want: options{bucket: "b", endpoint: "http://127.0.0.1:9000", region: "x", pathStyle: true}},
		{url: "s3://b?endpoint=https://s3.example&path_style=false", want: options{bucket: "b", endpoint: "https://s3.example"}},
		{url: "s3://b?region=x", options: map[string]string{"region": "y", "access_key": "a", "secret_key": "s", "session_token": "t", "requester_pays": "true", "role": "r", "external_id": "e"},
			want: options{bucket: "b", region: "y", accessKey: "a", secretKey: "s", sessionToken: "t", requesterPays: true, role: "r", externalID: "e"}},
		{url: "s3://b?secret_key=s", bad: "make it an option"},
		{url: "s3://key:secret@b", bad: "want s3://"},
		{url: "s3:///b", bad: "want s3://"},
		{url: "gs://b", bad: "want s3://"},
		{url: "s3://b--usw2-az1--x-s3", bad: "no order"},
		{url: "s3://b?endpiont=x", bad: `option endpiont: unknown`},
		{url: "s3://b?endpoint=ftp://x", bad: "want http"},
		{url: "s3://b?endpoint=http://u:p@x", bad: "want http"},
		{url: "s3://b?path_style=perhaps", bad: "true or false"},
		{url: "s3://b", options: map[string]string{"access_key": "a"}, bad: "go together"},
		{url: "s3://b", options: map[string]string{"session_token": "a"}, bad: "needs access_key"},
		{url: "s3://b", options: map[string]string{"anonymous": "true", "role": "r"}, bad: "anonymous"},
		{url: "s3://b", options: map[string]string{"external_id": "r"}, bad: "needs role"},
	} {
		got, err := parseOptions(connectors.Unit{URL: c.url, Options: c.options})
		switch {
		case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%s %v: got %v, want an error with %q", c.url, c.options, err, c.bad)
		case c.bad == "" && (err != nil || got != c.want):
			t.Errorf("%s %v:\n got %+v, %v\nwant %+v", c.url, c.options, got, err, c.want)
		}
	}
}

func TestDirectoryBucketsAreUnsupported(t *testing.T) {
	if _, err := Open(t.Context(), connectors.Unit{URL: "s3://b--usw2-az1--x-s3"}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("got %v", err)
	}
}

func TestVersionTokens(t *testing.T) {
	when := time.Unix(1795327200, 123456789)
	for _, c := range []struct {
		id, etag *string
		want     string
	}{
		{nil, aws.String(`"d41d8"`), "d41d8/7/1795327200"},
		{aws.String("null"), aws.String(`d41d8`), "d41d8/7/1795327200"},
		{aws.String(""), aws.String(`W/"weak"`), `W/"weak"/7/1795327200`},
		{nil, aws.String(`"a/b"`), "a/b/7/1795327200"},
		{nil, nil, "/7/1795327200"},
		{aws.String("3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"), aws.String(`"d"`), "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"},
		{aws.String("odd/id%"), nil, "odd%2Fid%25"},
	} {
		v := makeVersion(c.id, c.etag, 7, &when)
		back, err := parseVersion("test", "key", v.String())
		if v.String() != c.want || err != nil || back != v {
			t.Errorf("%+v is %q, want %q; back %+v, %v", v, v.String(), c.want, back, err)
		}
	}
	for _, bad := range []string{"a/b/c", "/", "a/1/", "%zz", "a/99999999999999999999/1"} {
		if v, err := parseVersion("test", "key", bad); !fault.Is(err, fault.Changed) {
			t.Errorf("%q is %+v, %v", bad, v, err)
		}
	}
}

func FuzzVersion(f *testing.F) {
	f.Add("d41d8/7/1795327200")
	f.Add("3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY")
	f.Add("%2f")
	f.Fuzz(func(t *testing.T, token string) {
		v, err := parseVersion("fuzz", "key", token)
		if err != nil {
			return
		}
		again, err := parseVersion("fuzz", "key", v.String())
		if err != nil || again != v {
			t.Errorf("%q is %+v, which as %q is %+v, %v", token, v, v.String(), again, err)
		}
	})
}

func FuzzTagsFitTheirHeader(f *testing.F) {
	f.Add("key", "a value + é")
	f.Fuzz(func(t *testing.T, k, v string) {
		set := map[string]string{k: v}
		if checkTags(set) != nil {
			return
		}
		if h := *tagHeader(set); strings.ContainsAny(h, "\r\n \x00") {
			t.Errorf("%q", h)
		}
	})
}
