// Package api is the wire format of MetaDefender Storage Security's REST API:
// typed operations, their bodies and statuses. It has no rules of its own: it
// turns words into calls of package control, which knows who may do what.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/control"
)

// Options are what an API is made of.
type Options struct {
	Control *control.Control
	Version string       // of this release
	Log     *slog.Logger // nil = none
}

// An API answers requests below /api. It is safe for concurrent use.
type API struct {
	c      *control.Control
	log    *slog.Logger
	mux    *http.ServeMux
	huma   huma.API
	paths  paths
	names  namer
	static map[string][]byte // documents by path
	wrong  []error           // what is wrong with the operations themselves

	after    []func()      // corrects the document where operations read their bodies themselves
	printing chan struct{} // a place for each PDF that is being made
}

// maxBody bounds a request's body in bytes, where an operation says nothing else.
const maxBody = 1 << 20

// useErrors makes huma write errors in the product's envelope: it asks a variable.
var useErrors = sync.OnceFunc(func() { huma.NewError = newError })

// New returns the API, or an error if an operation has no rule or two collide.
func New(o Options) (*API, error) {
	useErrors()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{c: o.Control, log: o.Log, mux: http.NewServeMux(), printing: make(chan struct{}, maxPrinting)}
	config := huma.DefaultConfig("Landwaiter", o.Version)
	config.Info.Description = description
	a.names.taken = map[string]reflect.Type{}
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", a.names.name)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema in bodies: the product has none
	config.AllowAdditionalPropertiesByDefault = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "The accessToken of POST /api/user/authenticate."},
		"apiKey": {Type: "apiKey", In: "header", Name: "ApiKey", Description: "A user's API key."},
	}
	a.huma = humago.New(a.mux, config)
	a.huma.UseMiddleware(a.identify)
	for _, register := range resources {
		register(a)
	}
	for _, f := range a.after {
		f()
	}
	if err := errors.Join(a.wrong...); err != nil {
		return nil, err
	}
	return a, a.documents()
}

// resources are the operations, a function for each file.
var resources = []func(*API){
	(*API).sessions, (*API).groups, (*API).scanPools, (*API).workflows, (*API).remediations,
	(*API).audit, (*API).notifications, (*API).smtp, (*API).loggers, (*API).retention,
	(*API).health, (*API).onboarding, (*API).license, (*API).encryption, (*API).ocm, (*API).configuration, (*API).connector,
	(*API).reportDownloads,
	(*API).ours,
	(*API).users, (*API).tenants, (*API).tours, (*API).sso,
	(*API).accounts, (*API).storages, (*API).webhooks, (*API).checklists,
	(*API).scans, (*API).files, (*API).schedules,
}

const description = `The REST API of MetaDefender Storage Security, as Landwaiter speaks it, and what it adds below /api/landwaiter/.
Paths and names are read whatever their case. Answers carry result (0 success, 1 error, 2 internal error, 3 not found), responseKey and responseMessage.`

// OpenAPI is the document of the operations, in JSON.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().MarshalJSON() }

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // a panic, not an error that was wrapped
				panic(v)
			}
			a.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", v, "stack", string(debug.Stack()))
			writeProblem(w, newProblem(http.StatusInternalServerError, "internal error"))
		}
	}()
	if a.document(w, r) {
		return
	}
	asJSON(r)
	switch methods := a.paths.canonical(r); {
	case methods == nil:
		writeProblem(w, newProblem(http.StatusNotFound, "there is no such path"))
		return
	case !slices.Contains(methods, r.Method):
		w.Header().Set("Allow", strings.Join(methods, ", "))
		writeProblem(w, newProblem(http.StatusMethodNotAllowed, "this path takes "+strings.Join(methods, ", ")))
		return
	}
	a.mux.ServeHTTP(w, r)
}

type machineKey struct{}

// Machine answers requests of the operator of the machine, who needs no token: it
// is for a socket that nobody else can reach.
func (a *API) Machine() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), machineKey{}, true)))
	})
}

// An Op describes an operation.
type Op struct {
	ID      string // operationId, unique: a verb and a noun
	Method  string
	Path    string
	Action  string // of control.Rules
	Tag     string
	Summary string
	About   string // more than the summary says
	Status  int    // of success; 200
	MaxBody int64  // bytes; 1 MiB
	Errors  []int  // beside those that every operation has
	Change  func(*huma.Operation)
}

// register adds an operation. h gets the request's input and a context that
// says who asks.
func register[I, O any](a *API, o Op, h func(ctx context.Context, in *I) (*O, error)) {
	rule, ok := control.Rules()[o.Action]
	if !ok {
		a.wrong = append(a.wrong, fmt.Errorf("%s %s: no rule for the action %q", o.Method, o.Path, o.Action))
		return
	}
	op := huma.Operation{OperationID: o.ID, Method: o.Method, Path: o.Path, Summary: o.Summary, Description: o.About, Tags: []string{o.Tag},
		DefaultStatus: o.Status, MaxBodyBytes: o.MaxBody, Metadata: map[string]any{"action": o.Action}, Extensions: map[string]any{"x-permission": rule.Need.String()}, Errors: []int{http.StatusBadRequest}}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	if rule.Need > account.Public {
		op.Security = []map[string][]string{{"bearer": {}}, {"apiKey": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	op.Errors = append(op.Errors, o.Errors...)
	slices.Sort(op.Errors)
	op.Errors = slices.Compact(op.Errors)
	if o.Change != nil {
		o.Change(&op)
	}
	if err := a.paths.add(o.Method, o.Path, queryNames[I]()); err != nil {
		a.wrong = append(a.wrong, err)
		return
	}
	a.names.operation = o.ID
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.problemOf(ctx, err)
		}
		return out, nil
	})
	delete(a.operation(o.Method, o.Path).Responses, "422") // newError makes 400 of it
}

// operation is what the document says of an operation.
func (a *API) operation(method, path string) *huma.Operation {
	p := a.huma.OpenAPI().Paths[path]
	return map[string]*huma.Operation{http.MethodGet: p.Get, http.MethodPost: p.Post, http.MethodPut: p.Put, http.MethodPatch: p.Patch, http.MethodDelete: p.Delete}[method]
}

// identify finds out who asks, and refuses at once who may not: before a byte of
// the body is read.
func (a *API) identify(ctx huma.Context, next func(huma.Context)) {
	action, _ := ctx.Operation().Metadata["action"].(string)
	inner := account.Nobody(ctx.Context())
	if ctx.Context().Value(machineKey{}) != nil { // known by the way that the request came
		next(huma.WithContext(ctx, control.AsMachine(inner)))
		return
	}
	who, known, err := a.caller(ctx)
	if known {
		inner = account.With(inner, who)
	}
	rule := control.Rules()[action]
	if err == nil || rule.Need > account.Public {
		if refused := a.c.Admit(inner, action); err == nil {
			err = refused
		}
	} else {
		err = nil // a stale token does not keep anybody from what is public
	}
	if err != nil {
		p := a.problemOf(inner, err)
		_ = huma.WriteErr(a.huma, ctx, p.GetStatus(), p.Error()) // the caller is gone
		return
	}
	next(huma.WithContext(ctx, inner))
	if known && ctx.Method() != http.MethodGet && ctx.Status() < 400 {
		a.c.Prolong(context.WithoutCancel(inner))
	}
}

// caller reads the request's credentials; known is false if there are none.
func (a *API) caller(ctx huma.Context) (who account.Caller, known bool, err error) {
	bearer, key := ctx.Header("Authorization"), ctx.Header("ApiKey")
	if bearer == "" && key == "" {
		return who, false, nil
	}
	who, err = a.c.Identify(ctx.Context(), bearer, key)
	return who, err == nil, err
}
