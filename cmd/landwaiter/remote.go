package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// A remote is a daemon that is reached by its REST API.
type remote struct {
	base   string // https://host:port
	token  string // an access token, or an API key
	client *http.Client
}

// maxReply bounds an answer in bytes.
const maxReply = 256 << 20

// newRemote reaches the daemon at server. A token is never sent in plain text but
// to this machine.
func newRemote(server, token string) (*remote, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, usage(fmt.Errorf("--server takes a URL such as https://host:8480, not %q", server))
	}
	local := u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1"
	if u.Scheme == "http" && !local && token != "" {
		return nil, usage(errors.New("the token would go over the network unencrypted: use https"))
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	return &remote{base: strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"), token: token, client: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// token is what the environment or a file has for --server.
func (a *App) token() (string, error) {
	file := a.flags.TokenFile
	if file == "" {
		return a.getenv("LANDWAITER_TOKEN"), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fault.New(fault.NotFound, "token", file, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	return strings.TrimSpace(string(b)), err
}

// Close gives the connections back.
func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

// kinds of errors by status.
var kinds = map[int]fault.Kind{400: fault.Invalid, 401: fault.Denied, 403: fault.Denied, 404: fault.NotFound, 409: fault.Exists,
	429: fault.Throttled, 503: fault.Unavailable}

// send makes a call and returns its answer, which the caller closes.
func (r *remote) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, in)
	if err != nil {
		return nil, usage(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case r.token == "":
	case strings.Count(r.token, ".") == 2: // a JWT; API keys have no dots
		req.Header.Set("Authorization", "Bearer "+r.token)
	default:
		req.Header.Set("ApiKey", r.token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.New(fault.Unavailable, "", r.base, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var told struct {
		Message string `json:"responseMessage"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // for words only
	if json.Unmarshal(text, &told) != nil || told.Message == "" {
		told.Message = resp.Status
	}
	kind, ok := kinds[resp.StatusCode]
	if !ok {
		kind = fault.Other
	}
	if resp.StatusCode == http.StatusUnauthorized && r.token == "" {
		told.Message += " (set LANDWAITER_TOKEN or --token-file)"
	}
	return nil, fault.New(kind, "", "", errors.New(told.Message))
}

// call makes a call and reads its JSON into out, which may be nil.
func (r *remote) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	resp, err := r.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fault.New(fault.Unavailable, "", r.base, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fault.New(fault.Corrupt, "", r.base, fmt.Errorf("not an answer of Landwaiter: %w", err))
	}
	return nil
}

// errMore says that not all was listed.
var errMore = errors.New("there is more than 10000: narrow it down, or read the ledger on the machine itself")

// remoteList reads what a path of our own lists, up to limit (0 = what one answer holds).
func remoteList[T any](ctx context.Context, r *remote, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		var got struct {
			Entries []T  `json:"entries"`
			More    bool `json:"more"`
		}
		const most = 10000
		n := most
		if limit > 0 {
			n = min(limit, most)
		}
		query.Set("limit", strconv.Itoa(n))
		if err := r.call(ctx, http.MethodGet, path, query, nil, &got); err != nil {
			yield(zero, err)
			return
		}
		for _, v := range got.Entries {
			if !yield(v, nil) {
				return
			}
		}
		if got.More && (limit == 0 || limit > most) {
			yield(zero, errMore)
		}
	}
}

// remoteOne reads what a path of our own says of one thing.
func remoteOne[T any](ctx context.Context, r *remote, method, path string, query url.Values, body any) (T, error) {
	var got struct {
		Entry T `json:"entry"`
	}
	err := r.call(ctx, method, path, query, body, &got)
	return got.Entry, err
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// Entries is control.Control.Entries.
func (r *remote) Entries(ctx context.Context, q control.EntryQuery) iter.Seq2[ledger.Record, error] {
	v := url.Values{}
	set(v, "unit", q.Unit)
	set(v, "verdict", q.Verdict)
	set(v, "outcome", string(q.Outcome))
	set(v, "state", q.State)
	set(v, "prefix", q.Prefix)
	if q.Refused {
		v.Set("refused", "true")
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	return remoteList[ledger.Record](ctx, r, "/api/landwaiter/entries", v, q.Limit)
}

// Explain is control.Control.Explain.
func (r *remote) Explain(ctx context.Context, unit, key string) (control.Story, error) {
	return remoteOne[control.Story](ctx, r, http.MethodGet, "/api/landwaiter/explain", url.Values{"unit": {unit}, "key": {control.FormatKey(key)}}, nil)
}

// Quarantined is control.Control.Quarantined.
func (r *remote) Quarantined(ctx context.Context, unit string) iter.Seq2[control.Quarantined, error] {
	v := url.Values{}
	set(v, "unit", unit)
	return remoteList[control.Quarantined](ctx, r, "/api/landwaiter/quarantine", v, 0)
}

// Restore is control.Control.Restore.
func (r *remote) Restore(ctx context.Context, q control.RestoreRequest) (control.Effect, error) {
	return remoteOne[control.Effect](ctx, r, http.MethodPost, "/api/landwaiter/quarantine/"+url.PathEscape(q.ID)+"/restore", nil,
		map[string]any{"to": q.To, "allowSeconds": int64(q.Allow.Seconds()), "dryRun": q.DryRun})
}

// Purge is control.Control.Purge.
func (r *remote) Purge(ctx context.Context, id string, dryRun bool) (control.Effect, error) {
	return remoteOne[control.Effect](ctx, r, http.MethodDelete, "/api/landwaiter/quarantine/"+url.PathEscape(id), url.Values{"dryRun": {strconv.FormatBool(dryRun)}}, nil)
}

// Replay is control.Control.Replay.
func (r *remote) Replay(ctx context.Context, id string) (control.Effect, error) {
	return remoteOne[control.Effect](ctx, r, http.MethodPost, "/api/landwaiter/entries/"+url.PathEscape(id)+"/replay", nil, nil)
}

// Storages is control.Control.Storages.
func (r *remote) Storages(ctx context.Context) ([]control.Storage, error) {
	return remoteAll[control.Storage](ctx, r, "/api/landwaiter/storages")
}

// Coverage is control.Control.Coverage.
func (r *remote) Coverage(ctx context.Context) ([]control.Coverage, error) {
	return remoteAll[control.Coverage](ctx, r, "/api/landwaiter/coverage")
}

// Sources is control.Control.Sources.
func (r *remote) Sources(ctx context.Context) ([]control.Feed, error) {
	return remoteAll[control.Feed](ctx, r, "/api/landwaiter/sources")
}

// Pools is control.Control.Pools.
func (r *remote) Pools(ctx context.Context) ([]scan.PoolStatus, error) {
	return remoteAll[scan.PoolStatus](ctx, r, "/api/landwaiter/engines")
}

func remoteAll[T any](ctx context.Context, r *remote, path string) ([]T, error) {
	var got struct {
		Entries []T `json:"entries"`
	}
	err := r.call(ctx, http.MethodGet, path, nil, nil, &got)
	return got.Entries, err
}

// TestEngines is control.Control.TestEngines.
func (r *remote) TestEngines(ctx context.Context, pool string) iter.Seq2[control.Tested, error] {
	return func(yield func(control.Tested, error) bool) {
		var got struct {
			Entries []control.Tested `json:"entries"`
		}
		v := url.Values{}
		set(v, "pool", pool)
		if err := r.call(ctx, http.MethodPost, "/api/landwaiter/engines/test", v, nil, &got); err != nil {
			yield(control.Tested{}, err)
			return
		}
		for _, t := range got.Entries {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// Messages is control.Control.Messages.
func (r *remote) Messages(ctx context.Context, source string) iter.Seq2[control.Message, error] {
	v := url.Values{}
	set(v, "source", source)
	return remoteList[control.Message](ctx, r, "/api/landwaiter/messages", v, 0)
}

// DropMessage is control.Control.DropMessage.
func (r *remote) DropMessage(ctx context.Context, id string) (control.Effect, error) {
	return remoteOne[control.Effect](ctx, r, http.MethodDelete, "/api/landwaiter/messages/"+url.PathEscape(id), nil, nil)
}
