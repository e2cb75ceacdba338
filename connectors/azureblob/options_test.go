package azureblob

import (
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

func TestParseOptions(t *testing.T) {
	const azure = "https://acc.blob.core.windows.net"
	for _, c := range []struct {
		url     string
		options map[string]string
		want    options
		bad     string // words of the error
	}{
		{url: "azblob://acc/box", want: options{account: "acc", container: "box", endpoint: azure}},
		{url: "azblob://acc/box/a/b%20c/", want: options{account: "acc", container: "box", root: "a/b c/", endpoint: azure}},
		{url: "azblob://acc/$web?endpoint=https://acc.blob.core.usgovcloudapi.net/", want: options{account: "acc", container: "$web", endpoint: "https://acc.blob.core.usgovcloudapi.net"}},
		{url: "azblob://acc/box?endpoint=http://127.0.0.1:10000/acc", options: map[string]string{"key": "c2VjcmV0"},
			want: options{account: "acc", container: "box", endpoint: "http://127.0.0.1:10000/acc", key: "c2VjcmV0"}},
		{url: "azblob://acc/box?client_id=i&tenant_id=t", options: map[string]string{"client_secret": "s", "delete_snapshots": "include"},
			want: options{account: "acc", container: "box", endpoint: azure, clientID: "i", tenant: "t", clientSecret: "s", snapshots: true}},
		{url: "azblob://acc/box?managed_identity=true&client_id=i", want: options{account: "acc", container: "box", endpoint: azure, managedIdentity: true, clientID: "i"}},
		{url: "azblob://acc/box", options: map[string]string{"sas": "?sv=1&sig=x%3D"}, want: options{account: "acc", container: "box", endpoint: azure, sas: "sv=1&sig=x%3D"}},
		{url: "azblob://acc/box", options: map[string]string{"connection_string": "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0Pz0=;EndpointSuffix=core.chinacloudapi.cn"},
			want: options{account: "acc", container: "box", endpoint: "https://acc.blob.core.chinacloudapi.cn", key: "c2VjcmV0Pz0=",
				connection: "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0Pz0=;EndpointSuffix=core.chinacloudapi.cn"}},
		{url: "azblob://acc/box", options: map[string]string{"connection_string": "AccountName=other;AccountKey=c2VjcmV0"}, bad: `for the account "other"`},
		{url: "azblob://acc/box", options: map[string]string{"connection_string": "AccountName=acc"}, bad: "neither"},
		{url: "azblob://acc/box", options: map[string]string{"connection_string": "c2VjcmV0"}, bad: "NAME=VALUE"},
		{url: "azblob://acc/box", options: map[string]string{"connection_string": "AccountKey=c2VjcmV0", "key": "c2VjcmV0"}, bad: "excludes"},
		{url: "azblob://acc/box?key=c2VjcmV0", bad: "make it an option"},
		{url: "azblob://acc/box?sas=sig%3Dx", bad: "make it an option"},
		{url: "azblob://key:secret@acc/box", bad: "want azblob://"},
		{url: "azblob://acc", bad: "want azblob://"},
		{url: "azblob://acc/", bad: "want azblob://"},
		{url: "s3://acc/box", bad: "want azblob://"},
		{url: "azblob://acc/box?endpiont=x", bad: "option endpiont: unknown"},
		{url: "azblob://acc/box?endpoint=ftp://x", bad: "want http"},
		{url: "azblob://acc/box?endpoint=http://u:p@x", bad: "want http"},
		{url: "azblob://acc/box?endpoint=http://x", bad: "need an https endpoint"},
		{url: "azblob://acc/box?managed_identity=perhaps", bad: "true or false"},
		{url: "azblob://acc/box?delete_snapshots=yes", bad: "include or refuse"},
		{url: "azblob://acc/box", options: map[string]string{"key": "c2VjcmV0 not base64"}, bad: "in base64"},
		{url: "azblob://acc/box", options: map[string]string{"sas": "c2VjcmV0"}, bad: "want the query"},
		{url: "azblob://acc/box", options: map[string]string{"key": "c2VjcmV0", "sas": "sig=c2VjcmV0"}, bad: "more than one credential"},
		{url: "azblob://acc/box", options: map[string]string{"client_secret": "c2VjcmV0"}, bad: "needs client_id"},
		{url: "azblob://acc/box?client_id=i", bad: "client_id needs"},
		{url: "azblob://acc/box?tenant_id=i", bad: "tenant_id needs"},
	} {
		u := connectors.Unit{URL: c.url, Options: c.options}
		got, err := parseOptions(u)
		switch {
		case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad) || strings.Contains(err.Error(), "c2VjcmV0")):
			t.Errorf("%s %v: got %v, want an error with %q", c.url, c.options, err, c.bad)
		case c.bad == "" && (err != nil || got != c.want):
			t.Errorf("%s %v:\n got %+v, %v\nwant %+v", c.url, c.options, got, err, c.want)
		}
		if err := Check(u); c.bad == "" && err != nil || c.bad != "" && !fault.Is(err, fault.Invalid) {
			t.Errorf("Check of %s: %v", c.url, err)
		}
	}
}

// TestCredentialsAreMadeWithoutCalls: nobody is talked to before the first call.
func TestCredentialsAreMadeWithoutCalls(t *testing.T) {
	for name, options := range map[string]map[string]string{
		"service principal": {"client_id": "00000000-0000-0000-0000-000000000000", "tenant_id": "00000000-0000-0000-0000-000000000001", "client_secret": "x"},
		"managed identity":  {"managed_identity": "true"},
		"a certain one":     {"managed_identity": "true", "client_id": "00000000-0000-0000-0000-000000000000"},
		"default":           {},
	} {
		o, err := parseOptions(connectors.Unit{URL: "azblob://acc/box", Options: options})
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDriver(o, defaultLimits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = d.Close()
	}
}

func TestVersionTokens(t *testing.T) {
	for token, v := range map[string]version{
		"":                             {},
		"0x8DE000000000001":            {etag: "0x8DE000000000001"},
		"2026-11-28T15:56:26.1234567Z": {id: "2026-11-28T15:56:26.1234567Z"},
	} {
		if got := parseVersion(token); got != v || got.String() != token {
			t.Errorf("%q: %+v, %q", token, got, got)
		}
	}
	for said, want := range map[string]string{
		`"0x8DE000000000001"`: "0x8DE000000000001", "0x8DE000000000001": "0x8DE000000000001", "2026-11-28T15:56:26.1234567Z": "2026-11-28T15:56:26.1234567Z",
		"": "", "null": "", "d41d8cd98f00b204e9800998ecf8427e": "",
	} {
		if got := Hint(said); got != want {
			t.Errorf("Hint(%q) = %q, want %q", said, got, want)
		}
	}
}

// FuzzEscape: what is written in the service's characters reads back, and only
// such characters are written.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "plain", "a_b", "_x0041_", "_x_x0041_", "ü 😀!", "9 lives", "landwaiter-entry", "_", "\uffff", "_x0000 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\ufffd")
		for name, w := range map[string]string{"tag": escapeTag(s), "name": escapeName(s)} {
			if got := unescape(w); got != s {
				t.Errorf("%s: %q is written %q and read %q", name, s, w, got)
			}
			for i := range len(w) {
				if name == "tag" && !tagByte(w[i], i == 0) || name == "name" && !nameByte(w[i], i == 0) {
					t.Errorf("%s: %q is written %q", name, s, w)
				}
			}
		}
	})
}
