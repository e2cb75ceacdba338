package config

import "testing"

func TestMaskLeavesPorts(t *testing.T) {
	for line, want := range map[string]string{
		"url: s3://b?endpoint=http://127.0.0.1:9000&region=x": "url: s3://b?endpoint=http://127.0.0.1:9000&region=x",
		"url: clamd://host:3310":                              "url: clamd://host:3310",
		"url: mdcore://me:12345@host:8008":                    "url: mdcore://me:***@host:8008",
		"url: mdcore://me:hunter2":                            "url: mdcore://me:***",
		"url: s3://b?secret_key=123":                          "url: s3://b?secret_key=***",
		"{access_key: one, secret_kye: two, token: three}":    "{access_key: ***",
		"{access_key: 'env:ONE', secret_key: two}":            "{access_key: 'env:ONE', secret_key: ***",
		`{"url":"mdcore://me:two@h:1","api_key":"one"}`:       `{"url":"mdcore://me:***@h:1","api_key":***`,
		"options: {whatever: one}":                            "options: ***",
	} {
		if got := mask(line); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}
