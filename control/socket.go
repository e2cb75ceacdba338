package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// SocketName is the file in the data folder at which a daemon takes calls of
// its own command line. Only its owner may open it.
const SocketName = "landwaiter.sock"

// Bounds on what goes through the socket.
const (
	maxCall = 1 << 20  // bytes of a request
	maxLine = 16 << 20 // bytes of one answer
)

// A reply is one line of an answer: a value, or the error that ends it.
type reply struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *wireError      `json:"error,omitempty"`
	End   bool            `json:"end,omitempty"` // all was said
}

type wireError struct {
	Kind    fault.Kind `json:"kind"`
	Message string     `json:"message"`
}

// Handler serves c to Remote: POST /NAME with the argument as JSON; the answer
// is a line of JSON for each value, and a last one that says that it is complete.
func Handler(c *Control) http.Handler {
	mux := http.NewServeMux()
	serve(mux, "entries", func(ctx context.Context, q EntryQuery) iter.Seq2[ledger.Record, error] { return c.Entries(ctx, q) })
	serve(mux, "explain", func(ctx context.Context, q keyQuery) iter.Seq2[Story, error] {
		return one(c.Explain(ctx, q.Unit, string(q.Key)))
	})
	serve(mux, "quarantined", func(ctx context.Context, unit string) iter.Seq2[Quarantined, error] { return c.Quarantined(ctx, unit) })
	serve(mux, "restore", func(ctx context.Context, r RestoreRequest) iter.Seq2[Effect, error] { return one(c.Restore(ctx, r)) })
	serve(mux, "purge", func(ctx context.Context, r purgeRequest) iter.Seq2[Effect, error] {
		return one(c.Purge(ctx, r.ID, r.DryRun))
	})
	serve(mux, "replay", func(ctx context.Context, id string) iter.Seq2[Effect, error] { return one(c.Replay(ctx, id)) })
	serve(mux, "storages", func(ctx context.Context, _ struct{}) iter.Seq2[[]Storage, error] { return one(c.Storages(ctx)) })
	serve(mux, "coverage", func(ctx context.Context, _ struct{}) iter.Seq2[[]Coverage, error] { return one(c.Coverage(ctx)) })
	serve(mux, "sources", func(ctx context.Context, _ struct{}) iter.Seq2[[]Feed, error] { return one(c.Sources(ctx)) })
	serve(mux, "messages", func(ctx context.Context, source string) iter.Seq2[Message, error] { return c.Messages(ctx, source) })
	serve(mux, "drop-message", func(ctx context.Context, id string) iter.Seq2[Effect, error] { return one(c.DropMessage(ctx, id)) })
	serve(mux, "pools", func(ctx context.Context, _ struct{}) iter.Seq2[[]scan.PoolStatus, error] { return one(c.Pools(ctx)) })
	serve(mux, "test-engines", func(ctx context.Context, pool string) iter.Seq2[Tested, error] { return c.TestEngines(ctx, pool) })
	serve(mux, "members", func(ctx context.Context, _ struct{}) iter.Seq2[[]Member, error] { return one(c.Members(ctx)) })
	serve(mux, "add-member", func(ctx context.Context, m MemberChange) iter.Seq2[Effect, error] { return one(c.AddMember(ctx, m)) })
	serve(mux, "remove-member", func(ctx context.Context, login string) iter.Seq2[Effect, error] {
		return one(c.RemoveMember(ctx, login))
	})
	serve(mux, "member-role", func(ctx context.Context, m MemberChange) iter.Seq2[Effect, error] {
		return one(c.SetMemberRole(ctx, m))
	})
	serve(mux, "member-password", func(ctx context.Context, m MemberChange) iter.Seq2[Effect, error] {
		return one(c.SetMemberPassword(ctx, m))
	})
	return mux
}

type keyQuery struct {
	Unit string `json:"unit"`
	Key  []byte `json:"key"`
}

type purgeRequest struct {
	ID     string `json:"id"`
	DryRun bool   `json:"dry_run"`
}

func one[T any](v T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) { yield(v, err) }
}

func serve[A, T any](mux *http.ServeMux, name string, f func(context.Context, A) iter.Seq2[T, error]) {
	mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
		var arg A
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCall)).Decode(&arg); err != nil {
			http.Error(w, "cannot read the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := bufio.NewWriter(w)
		enc := json.NewEncoder(out)
		for v, err := range f(AsMachine(r.Context()), arg) {
			var line reply
			if err != nil {
				line.Error = &wireError{fault.KindOf(err), err.Error()}
			} else if line.Value, err = json.Marshal(v); err != nil {
				line = reply{Error: &wireError{fault.Internal, err.Error()}}
			}
			if enc.Encode(line) != nil {
				return // the caller is gone
			}
			if line.Error != nil {
				_ = out.Flush() // likewise
				return
			}
		}
		_ = enc.Encode(reply{End: true})
		_ = out.Flush()
	})
}

// A Remote is a Control in another process, reached by its socket.
type Remote struct {
	path   string
	client *http.Client
}

// maxAddress is the longest path that a socket's address holds (unix(7)).
const maxAddress = 107

// SocketAddress is how the socket in a data folder is bound and reached. A path
// that is too long for an address goes through a descriptor of the folder, which
// release closes.
func SocketAddress(data string) (addr string, release func() error, err error) {
	path := filepath.Join(data, SocketName)
	if len(path) <= maxAddress {
		return path, func() error { return nil }, nil
	}
	dir, err := os.OpenFile(data, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName), dir.Close, nil
}

func dial(ctx context.Context, data string) (net.Conn, error) {
	addr, release, err := SocketAddress(data)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", addr)
	if rerr := release(); err == nil && rerr != nil {
		return nil, errors.Join(rerr, c.Close())
	}
	return c, err
}

// Dial reaches the daemon that runs on a data folder. fault.NotFound if none
// does, fault.Denied if it is somebody else's.
func Dial(ctx context.Context, data string) (*Remote, error) {
	path := filepath.Join(data, SocketName)
	c, err := dial(ctx, data)
	if errors.Is(err, os.ErrPermission) {
		return nil, fault.New(fault.Denied, "control.Dial", path, err)
	}
	if err != nil {
		return nil, fault.New(fault.NotFound, "control.Dial", path, err)
	}
	if err := c.Close(); err != nil {
		return nil, fault.New(fault.Unavailable, "control.Dial", path, err)
	}
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, data) },
		MaxIdleConns: 2, IdleConnTimeout: 10 * time.Second}
	return &Remote{path: path, client: &http.Client{Transport: t}}, nil
}

// HTTP is a client for the daemon's API, at http://daemon/api/, as the operator
// of the machine.
func (r *Remote) HTTP() *http.Client { return r.client }

// Close gives the connections back.
func (r *Remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

func call[T any](ctx context.Context, r *Remote, name string, arg any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		body, err := json.Marshal(arg)
		if err != nil {
			yield(zero, fault.New(fault.Internal, "control."+name, "", err))
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://daemon/"+name, bytes.NewReader(body))
		if err != nil {
			yield(zero, err)
			return
		}
		resp, err := r.client.Do(req)
		if err != nil {
			yield(zero, fault.New(fault.Unavailable, "control."+name, r.path, err))
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // for words only
			yield(zero, fault.New(fault.Internal, "control."+name, r.path, fmt.Errorf("%s: %s", resp.Status, text)))
			return
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(make([]byte, 0, 64<<10), maxLine)
		for lines.Scan() {
			var l reply
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				yield(zero, fault.New(fault.Corrupt, "control."+name, r.path, err))
				return
			}
			if l.End {
				return
			}
			if l.Error != nil {
				yield(zero, fault.New(l.Error.Kind, "", "", errors.New(l.Error.Message)))
				return
			}
			var v T
			if err := json.Unmarshal(l.Value, &v); err != nil {
				yield(zero, fault.New(fault.Corrupt, "control."+name, r.path, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		err = lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		yield(zero, fault.New(fault.Unavailable, "control."+name, r.path, err))
	}
}

func only[T any](seq iter.Seq2[T, error]) (v T, err error) {
	for v, err := range seq {
		return v, err
	}
	return v, fault.New(fault.Corrupt, "control", "", io.ErrUnexpectedEOF)
}

// Entries is Control.Entries.
func (r *Remote) Entries(ctx context.Context, q EntryQuery) iter.Seq2[ledger.Record, error] {
	return call[ledger.Record](ctx, r, "entries", q)
}

// Explain is Control.Explain.
func (r *Remote) Explain(ctx context.Context, unit, key string) (Story, error) {
	return only(call[Story](ctx, r, "explain", keyQuery{unit, []byte(key)}))
}

// Quarantined is Control.Quarantined.
func (r *Remote) Quarantined(ctx context.Context, unit string) iter.Seq2[Quarantined, error] {
	return call[Quarantined](ctx, r, "quarantined", unit)
}

// Restore is Control.Restore.
func (r *Remote) Restore(ctx context.Context, req RestoreRequest) (Effect, error) {
	return only(call[Effect](ctx, r, "restore", req))
}

// Purge is Control.Purge.
func (r *Remote) Purge(ctx context.Context, id string, dryRun bool) (Effect, error) {
	return only(call[Effect](ctx, r, "purge", purgeRequest{id, dryRun}))
}

// Replay is Control.Replay.
func (r *Remote) Replay(ctx context.Context, id string) (Effect, error) {
	return only(call[Effect](ctx, r, "replay", id))
}

// Storages is Control.Storages.
func (r *Remote) Storages(ctx context.Context) ([]Storage, error) {
	return only(call[[]Storage](ctx, r, "storages", struct{}{}))
}

// Coverage is Control.Coverage.
func (r *Remote) Coverage(ctx context.Context) ([]Coverage, error) {
	return only(call[[]Coverage](ctx, r, "coverage", struct{}{}))
}

// Sources is Control.Sources.
func (r *Remote) Sources(ctx context.Context) ([]Feed, error) {
	return only(call[[]Feed](ctx, r, "sources", struct{}{}))
}

// Messages is Control.Messages.
func (r *Remote) Messages(ctx context.Context, source string) iter.Seq2[Message, error] {
	return call[Message](ctx, r, "messages", source)
}

// DropMessage is Control.DropMessage.
func (r *Remote) DropMessage(ctx context.Context, id string) (Effect, error) {
	return only(call[Effect](ctx, r, "drop-message", id))
}

// Pools is Control.Pools.
func (r *Remote) Pools(ctx context.Context) ([]scan.PoolStatus, error) {
	return only(call[[]scan.PoolStatus](ctx, r, "pools", struct{}{}))
}

// TestEngines is Control.TestEngines.
func (r *Remote) TestEngines(ctx context.Context, pool string) iter.Seq2[Tested, error] {
	return call[Tested](ctx, r, "test-engines", pool)
}

// Members is Control.Members.
func (r *Remote) Members(ctx context.Context) ([]Member, error) {
	return only(call[[]Member](ctx, r, "members", struct{}{}))
}

// AddMember is Control.AddMember.
func (r *Remote) AddMember(ctx context.Context, m MemberChange) (Effect, error) {
	return only(call[Effect](ctx, r, "add-member", m))
}

// RemoveMember is Control.RemoveMember.
func (r *Remote) RemoveMember(ctx context.Context, login string) (Effect, error) {
	return only(call[Effect](ctx, r, "remove-member", login))
}

// SetMemberRole is Control.SetMemberRole.
func (r *Remote) SetMemberRole(ctx context.Context, m MemberChange) (Effect, error) {
	return only(call[Effect](ctx, r, "member-role", m))
}

// SetMemberPassword is Control.SetMemberPassword.
func (r *Remote) SetMemberPassword(ctx context.Context, m MemberChange) (Effect, error) {
	return only(call[Effect](ctx, r, "member-password", m))
}
