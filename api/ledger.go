package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// list is the answer of an operation of our own that lists.
type list[T any] struct {
	Body struct {
		Envelope
		Entries []T  `json:"entries"`
		More    bool `json:"more" doc:"There is more than the limit."`
	}
}

// collect answers with the first n of what comes.
func collect[T any](seq iter.Seq2[T, error], n int) (*list[T], error) {
	out := &list[T]{}
	out.Body.Envelope, out.Body.Entries = done(), []T{}
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		if len(out.Body.Entries) == n {
			out.Body.More = true
			break
		}
		out.Body.Entries = append(out.Body.Entries, v)
	}
	return out, nil
}

// one is the answer of an operation of our own about one thing.
type one[T any] struct {
	Body struct {
		Envelope
		Entry T `json:"entry"`
	}
}

func single[T any](v T, err error) (*one[T], error) {
	out := &one[T]{}
	out.Body.Envelope, out.Body.Entry = done(), v
	return out, err
}

// Limited bounds a list.
type Limited struct {
	Limit int `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}

// ours are the operations that the product has no path for.
func (a *API) ours() {
	const tag = "Landwaiter"
	register(a, Op{ID: "listEntries", Method: "GET", Path: "/api/landwaiter/entries", Action: "entry.list", Tag: tag, Summary: "List what became of objects",
		About: "What is not finished first, then the last finished first.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Limited
			Unit    string    `query:"unit" maxLength:"300" doc:"Name of a storage."`
			Verdict string    `query:"verdict" enum:"clean,suspicious,infected,not_scanned"`
			Outcome string    `query:"outcome" enum:"done,failed,superseded,gone,canceled"`
			State   string    `query:"state" enum:"pending,acting,finished"`
			Prefix  string    `query:"prefix" maxLength:"4096" doc:"Of the key; bytes that are no text as \\xNN."`
			Since   time.Time `query:"since"`
			Refused bool      `query:"refused" doc:"An action was refused or failed."`
		}) (*list[ledger.Record], error) {
			q := control.EntryQuery{Unit: in.Unit, Verdict: in.Verdict, Outcome: ledger.Outcome(in.Outcome), State: in.State, Prefix: in.Prefix, Since: in.Since, Refused: in.Refused}
			return collect(a.c.Entries(ctx, q), in.Limit)
		})
	register(a, Op{ID: "explain", Method: "GET", Path: "/api/landwaiter/explain", Action: "entry.explain", Tag: tag, Summary: "Tell an object's whole story",
		About: "Events, attempts, engines' words, decision, actions, and by whom.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Unit string `query:"unit" required:"true" minLength:"1" maxLength:"300"`
			Key  string `query:"key" required:"true" minLength:"1" maxLength:"16384" doc:"Bytes that are no text as \\xNN."`
		}) (*one[control.Story], error) {
			key, err := control.ParseKey(in.Key)
			if err != nil {
				return nil, err
			}
			return single(a.c.Explain(ctx, in.Unit, key))
		})
	register(a, Op{ID: "replayEntry", Method: "POST", Path: "/api/landwaiter/entries/{id}/replay", Action: "entry.replay", Tag: tag, Summary: "Take a finished entry up again",
		Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			ID ID `path:"id"`
		}) (*one[control.Effect], error) {
			return single(a.c.Replay(ctx, in.ID.String()))
		})
	register(a, Op{ID: "listUnits", Method: "GET", Path: "/api/landwaiter/storages", Action: "storage.list", Tag: tag, Summary: "List storages and how they are"},
		func(ctx context.Context, _ *struct{}) (*entries[control.Storage], error) {
			list, err := a.c.Storages(ctx)
			return listed(list, func(s control.Storage) control.Storage { return s }), err
		})
	register(a, Op{ID: "getCoverage", Method: "GET", Path: "/api/landwaiter/coverage", Action: "storage.list", Tag: tag, Summary: "Tell how much of each storage has a verdict, and how fresh that is"},
		func(ctx context.Context, _ *struct{}) (*entries[control.Coverage], error) {
			list, err := a.c.Coverage(ctx)
			return listed(list, func(c control.Coverage) control.Coverage { return c }), err
		})
	register(a, Op{ID: "listEngines", Method: "GET", Path: "/api/landwaiter/engines", Action: "engine.list", Tag: tag, Summary: "Tell how pools and their engines are", Errors: []int{503}},
		func(ctx context.Context, _ *struct{}) (*entries[scan.PoolStatus], error) {
			list, err := a.c.Pools(ctx)
			return listed(list, func(p scan.PoolStatus) scan.PoolStatus { return p }), err
		})
	register(a, Op{ID: "testEngines", Method: "POST", Path: "/api/landwaiter/engines/test", Action: "engine.test", Tag: tag, Summary: "Show engines the canaries and tell what they saw", Errors: []int{404, 503}},
		func(ctx context.Context, in *struct {
			Pool string `query:"pool" maxLength:"300" doc:"Of this pool; without it, of all."`
		}) (*list[control.Tested], error) {
			return collect(a.c.TestEngines(ctx, in.Pool), 10000)
		})
	a.quarantine(tag)
	a.letters(tag)
	a.events(tag)
}

func (a *API) quarantine(tag string) {
	register(a, Op{ID: "listQuarantine", Method: "GET", Path: "/api/landwaiter/quarantine", Action: "quarantine.list", Tag: tag, Summary: "List what is put away", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Limited
			Unit string `query:"unit" maxLength:"300"`
		}) (*list[control.Quarantined], error) {
			return collect(a.c.Quarantined(ctx, in.Unit), in.Limit)
		})
	register(a, Op{ID: "restoreQuarantined", Method: "POST", Path: "/api/landwaiter/quarantine/{id}/restore", Action: "quarantine.restore", Tag: tag,
		Summary: "Put an object back", About: "Where it was, or under to, never over another one. Its hash is allowed in that storage for a time.", Errors: []int{404, 409, 503}},
		func(ctx context.Context, in *struct {
			ID   ID `path:"id"`
			Body struct {
				To     string `json:"to,omitempty" maxLength:"16384" doc:"Another key of the storage."`
				Allow  int64  `json:"allowSeconds,omitempty" minimum:"0" maximum:"315360000" doc:"How long its hash is allowed; 0 = 30 days."`
				DryRun bool   `json:"dryRun,omitempty"`
			}
		}) (*one[control.Effect], error) {
			return single(a.c.Restore(ctx, control.RestoreRequest{ID: in.ID.String(), To: in.Body.To, Allow: time.Duration(in.Body.Allow) * time.Second, DryRun: in.Body.DryRun}))
		})
	register(a, Op{ID: "purgeQuarantined", Method: "DELETE", Path: "/api/landwaiter/quarantine/{id}", Action: "quarantine.purge", Tag: tag, Summary: "Destroy an object for good", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ID     ID   `path:"id"`
			DryRun bool `query:"dryRun"`
		}) (*one[control.Effect], error) {
			return single(a.c.Purge(ctx, in.ID.String(), in.DryRun))
		})
}

func (a *API) letters(tag string) {
	register(a, Op{ID: "listSources", Method: "GET", Path: "/api/landwaiter/sources", Action: "source.list", Tag: tag, Summary: "Tell how sources of events and hooks go", Errors: []int{503}},
		func(ctx context.Context, _ *struct{}) (*entries[control.Feed], error) {
			list, err := a.c.Sources(ctx)
			return listed(list, func(f control.Feed) control.Feed { return f }), err
		})
	register(a, Op{ID: "listMessages", Method: "GET", Path: "/api/landwaiter/messages", Action: "letter.list", Tag: tag, Summary: "List messages that made no sense"},
		func(ctx context.Context, in *struct {
			Limited
			Source string `query:"source" maxLength:"300"`
		}) (*list[control.Message], error) {
			return collect(a.c.Messages(ctx, in.Source), in.Limit)
		})
	register(a, Op{ID: "dropMessage", Method: "DELETE", Path: "/api/landwaiter/messages/{id}", Action: "letter.drop", Tag: tag, Summary: "Forget a message that made no sense", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ID ID `path:"id"`
		}) (*one[control.Effect], error) {
			return single(a.c.DropMessage(ctx, in.ID.String()))
		})
}

// events is a stream, so it answers for itself.
func (a *API) events(tag string) {
	register(a, Op{ID: "followEvents", Method: "GET", Path: "/api/landwaiter/events", Action: "entry.list", Tag: tag, Summary: "Follow what finishes",
		About:  "Server-sent events: entry, with a finished entry as JSON; resync, after which some were missed and the list should be read again; and a comment each 15 s.",
		Errors: []int{429}, Change: func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "A stream", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
		}},
		func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(hc huma.Context) { a.follow(hc) }}, nil
		})
}

// writeWithin is how long a reader of a stream may take for one event.
const writeWithin = 10 * time.Second

func (a *API) follow(hc huma.Context) {
	_, w := humago.Unwrap(hc)
	out := newFlusher(w)
	write := func(text string) error { return out.write(text) }
	begun := false
	begin := func() {
		if !begun {
			begun = true
			hc.SetHeader("Content-Type", "text/event-stream")
			hc.SetHeader("Cache-Control", "no-store")
			hc.SetHeader("X-Accel-Buffering", "no")
			hc.SetStatus(200)
		}
	}
	start := func() error { begin(); return write(": follows\n\n") }
	err := a.c.Follow(hc.Context(), start, func(h control.Happening) error {
		switch {
		case h.Missed:
			return write("event: resync\ndata: {}\n\n")
		case h.Entry != nil:
			data, err := json.Marshal(h.Entry)
			if err != nil {
				return err
			}
			return write(fmt.Sprintf("event: entry\nid: %s\ndata: %s\n\n", h.Entry.ID, data))
		}
		return write(": still here\n\n")
	})
	if err != nil && !begun {
		p := a.problemOf(hc.Context(), err)
		_ = huma.WriteErr(a.huma, hc, p.GetStatus(), p.Error()) // the caller is gone
	}
}
