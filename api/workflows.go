package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// A Workflow says which pool scans, what is left out, what is blocked and what
// follows.
type Workflow struct {
	ID                  string         `json:"id" format:"uuid"`
	Name                string         `json:"name" example:"Finance"`
	ScanPoolID          string         `json:"scanPoolId" format:"uuid"`
	FailOverScanPoolID  string         `json:"failOverScanPoolId" doc:"Empty: none."`
	FailOverDisabled    bool           `json:"failOverDisabled"`
	Rules               []string       `json:"rules"`
	UserAgent           string         `json:"userAgent"`
	Filters             Filters        `json:"filters"`
	FileDefinition      FileDefinition `json:"fileDefinition"`
	IsDefault           bool           `json:"isDefault"`
	IsManaged           bool           `json:"isManaged" doc:"It stands in the configuration file, which alone changes it."`
	EnabledTechnologies []string       `json:"enabledTechnologies" doc:"That every engine of the pool offered when they were asked last."`
	TechnologiesAsked   *time.Time     `json:"technologiesAsked,omitempty"`
	Remediations        []Remediation  `json:"remediations"`
	CreatedAt           *time.Time     `json:"createdAt,omitempty"`
	LastUpdated         *time.Time     `json:"lastUpdated,omitempty"`
}

// Filters leave files out: they are not scanned, and never called clean.
type Filters struct {
	MinimumSize     *int64     `json:"minimumSize,omitempty" minimum:"0" doc:"Bytes."`
	MaximumSize     *int64     `json:"maximumSize,omitempty" minimum:"0" doc:"Bytes; 0 is no bound."`
	MinimumDateTime *time.Time `json:"minimumDateTime,omitempty" doc:"Modified at this time or later."`
	MaximumDateTime *time.Time `json:"maximumDateTime,omitempty" doc:"Modified before this time."`
}

// FileDefinition says what is blocked.
type FileDefinition struct {
	BlockingStrategy             int                   `json:"blockingStrategy" enum:"0,1" doc:"0 strict: what the engine blocks. 1 configurable: malware, and what is asked for."`
	ConfigurableBlockingStrategy *ConfigurableBlocking `json:"configurableBlockingStrategy,omitempty"`
}

// ConfigurableBlocking says what is blocked besides malware.
type ConfigurableBlocking struct {
	Sensitive       bool `json:"shouldTreatFilesWithSensitiveDataAsBlocked,omitempty"`
	Vulnerabilities bool `json:"shouldTreatFilesWithVulnerabilitiesAsBlocked,omitempty"`
}

func flowOf(f control.Flow) Workflow {
	w := Workflow{ID: f.ID.String(), Name: f.Name, ScanPoolID: f.Pool.String(), FailOverDisabled: f.NoFailover, Rules: some(f.Rules), UserAgent: f.UserAgent,
		IsDefault: f.Default, IsManaged: f.Managed, EnabledTechnologies: some(f.Technologies), Remediations: []Remediation{},
		TechnologiesAsked: stamp(f.Asked), CreatedAt: stamp(f.Created), LastUpdated: stamp(f.Changed)}
	if f.Failover != (ledger.ID{}) {
		w.FailOverScanPoolID = f.Failover.String()
	}
	if size := f.Filters.MinSize; size > 0 {
		w.Filters.MinimumSize = &size
	}
	if size := f.Filters.MaxSize; size > 0 {
		w.Filters.MaximumSize = &size
	}
	w.Filters.MinimumDateTime, w.Filters.MaximumDateTime = stamp(f.Filters.After), stamp(f.Filters.Before)
	if d := f.Definition; d.Configurable {
		w.FileDefinition = FileDefinition{1, &ConfigurableBlocking{d.Sensitive, d.Vulnerabilities}}
	}
	for _, r := range f.Remediations {
		w.Remediations = append(w.Remediations, remediationOf(control.FlowRemediation{Remediation: r, Workflow: f.ID}))
	}
	return w
}

// stamp is a time in UTC, nil if there is none.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (f *Filters) words() *workflow.Filters {
	if f == nil {
		return nil
	}
	w := &workflow.Filters{}
	for _, p := range []struct {
		to   *int64
		from *int64
	}{{&w.MinSize, f.MinimumSize}, {&w.MaxSize, f.MaximumSize}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	for _, p := range []struct {
		to   *time.Time
		from *time.Time
	}{{&w.After, f.MinimumDateTime}, {&w.Before, f.MaximumDateTime}} {
		if p.from != nil {
			*p.to = p.from.UTC()
		}
	}
	return w
}

func (d *FileDefinition) words() *workflow.FileDefinition {
	if d == nil {
		return nil
	}
	w := &workflow.FileDefinition{Configurable: d.BlockingStrategy == 1}
	if c := d.ConfigurableBlockingStrategy; c != nil && w.Configurable {
		w.Sensitive, w.Vulnerabilities = c.Sensitive, c.Vulnerabilities
	}
	return w
}

// WorkflowFields are what adding and updating have in common.
type WorkflowFields struct {
	Rules              *[]string       `json:"rules,omitempty" maxItems:"50" doc:"The engine's rule. An engine takes one for each file: more than one is refused."`
	UserAgent          *string         `json:"userAgent,omitempty" maxLength:"255" doc:"Sent to the engine."`
	FailOverScanPoolID *string         `json:"failOverScanPoolId,omitempty" maxLength:"64" doc:"The pool that is asked while no instance of the first can be. Empty: none."`
	FailOverDisabled   *bool           `json:"failOverDisabled,omitempty"`
	Filters            *Filters        `json:"filters,omitempty"`
	FileDefinition     *FileDefinition `json:"fileDefinition,omitempty"`
}

func (f WorkflowFields) change() control.WorkflowChange {
	ch := control.WorkflowChange{Rules: f.Rules, UserAgent: f.UserAgent, NoFailover: f.FailOverDisabled, Filters: f.Filters.words(), Definition: f.FileDefinition.words()}
	if f.FailOverScanPoolID != nil {
		ch.Failover = idIn(*f.FailOverScanPoolID)
	}
	return ch
}

// idIn reads an id of a body: "" is none, and what is no id is nothing's.
func idIn(text string) *ledger.ID {
	var id ID
	if text == "" {
		return &id.ID
	}
	if _ = id.UnmarshalText([]byte(text)); id.ID == (ledger.ID{}) {
		id.ID = nobody
	}
	return &id.ID
}

type addWorkflow struct {
	Body struct {
		ScanPoolID ID     `json:"scanPoolId"`
		Name       string `json:"name" minLength:"3" maxLength:"30" example:"Finance"`
		WorkflowFields
	}
}

type setWorkflow struct {
	Body struct {
		ID         ID      `json:"id"`
		ScanPoolID *string `json:"scanPoolId,omitempty" maxLength:"64"`
		Name       *string `json:"name,omitempty" minLength:"3" maxLength:"30"`
		WorkflowFields
	}
}

type workflowAdded struct {
	Body struct {
		Envelope
		WorkflowID string `json:"workflowId" format:"uuid"`
	}
}

func (a *API) workflows() {
	a.workflowsAt("/api/workflow", "Workflows", "Workflow")
	a.workflowsAt("/api/scanconfiguration", "Scan Configurations", "ScanConfiguration")
	register(a, Op{ID: "refreshTechnologies", Method: "POST", Path: "/api/workflow/enabledTechnologies", Action: "workflow.ask", Tag: "Workflows",
		Summary: "Refresh the technologies of a workflow, and return it", About: "The engines of its pool are asked, within 10 seconds.", Errors: []int{404, 503}},
		func(ctx context.Context, in *struct {
			Body struct {
				WorkflowID ID `json:"workflowId"`
			}
		}) (*one[Workflow], error) {
			f, err := a.c.AskTechnologies(ctx, in.Body.WorkflowID.ID)
			return single(flowOf(f), err)
		})
	register(a, Op{ID: "setStorageScanConfiguration", Method: "PATCH", Path: "/api/storage/{storageId}/scan_config", Action: "storage.set_workflow", Tag: "Scan Configurations",
		Summary: "Say which workflow a storage goes by", About: "The older form of a storage's workflow. Without one, the default holds.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			StorageID ID `path:"storageId"`
			Body      struct {
				ScanConfigurationID string `json:"scanConfigurationId,omitempty" maxLength:"64"`
				WorkflowID          string `json:"workflowId,omitempty" maxLength:"64" doc:"The same, by its newer name."`
			}
		}) (*Done, error) {
			text := in.Body.ScanConfigurationID
			if text == "" {
				text = in.Body.WorkflowID
			}
			return &Done{done()}, a.c.UseWorkflow(ctx, in.StorageID.ID, *idIn(text))
		})
}

// workflowsAt registers what both generations have, each below its own path.
func (a *API) workflowsAt(at, tag, noun string) {
	register(a, Op{ID: "list" + noun + "s", Method: "GET", Path: at, Action: "workflow.list", Tag: tag, Summary: "Get workflows",
		About: "The one that always is comes first, with those of the configuration file."},
		func(ctx context.Context, _ *struct{}) (*entries[Workflow], error) {
			list, err := a.c.Workflows(ctx)
			return listed(list, flowOf), err
		})
	register(a, Op{ID: "get" + noun, Method: "GET", Path: at + "/{id}", Action: "workflow.list", Tag: tag, Summary: "Get a workflow by its id", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*one[Workflow], error) {
			f, err := a.c.Workflow(ctx, in.ID.ID)
			return single(flowOf(f), err)
		})
	register(a, Op{ID: "add" + noun, Method: "POST", Path: at, Action: "workflow.add", Tag: tag, Summary: "Add a workflow",
		About: "It reports and changes nothing until it has remediations.", Errors: []int{404, 409}},
		func(ctx context.Context, in *addWorkflow) (*workflowAdded, error) {
			ch := in.Body.change()
			ch.Pool = &in.Body.ScanPoolID.ID
			n, err := a.c.AddWorkflow(ctx, in.Body.Name, ch)
			out := &workflowAdded{}
			out.Body.Envelope, out.Body.WorkflowID = done(), n.ID.String()
			return out, err
		})
	register(a, Op{ID: "update" + noun, Method: "PATCH", Path: at, Action: "workflow.set", Tag: tag, Summary: "Update a workflow",
		About: "What is not given stays; filters and fileDefinition are given whole.", Errors: []int{404, 409}},
		func(ctx context.Context, in *setWorkflow) (*Done, error) {
			ch := in.Body.change()
			ch.Name = in.Body.Name
			if p := in.Body.ScanPoolID; p != nil && *p != "" {
				ch.Pool = idIn(*p)
			}
			_, err := a.c.SetWorkflow(ctx, in.Body.ID.ID, ch)
			return &Done{done()}, err
		})
	register(a, Op{ID: "delete" + noun, Method: "DELETE", Path: at + "/{id}", Action: "workflow.remove", Tag: tag, Summary: "Delete a workflow",
		About: "The default workflow, and one that a storage or schedule uses, is not deleted.", Errors: []int{404, 409}},
		func(ctx context.Context, in *byID) (*Done, error) {
			return &Done{done()}, a.c.RemoveWorkflow(ctx, in.ID.ID)
		})
	register(a, Op{ID: "setDefault" + noun, Method: "POST", Path: at + "/setDefault/{id}", Action: "workflow.set_default", Tag: tag, Summary: "Set a workflow as default",
		About: "Storages that name no workflow go by it from now on.", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*Done, error) {
			return &Done{done()}, a.c.SetDefaultWorkflow(ctx, in.ID.ID)
		})
}
