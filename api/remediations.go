package api

import (
	"context"

	"github.com/landwaiter/landwaiter/control"
)

// A Remediation is what follows a verdict.
type Remediation struct {
	ID            string `json:"id" format:"uuid"`
	WorkflowID    string `json:"workflowId" format:"uuid"`
	IsEnabled     bool   `json:"isEnabled"`
	Configuration string `json:"configuration" doc:"JSON in a text; see the operation that adds one."`
	Type          int    `json:"type" enum:"0,1,2,3,4,5,6"`
	HandlingType  int    `json:"handlingType" enum:"0,1,2,3,999"`
}

func remediationOf(r control.FlowRemediation) Remediation {
	out := Remediation{ID: r.ID.String(), WorkflowID: r.Workflow.String(), IsEnabled: r.Enabled, Configuration: string(r.Configuration), Type: r.Type, HandlingType: r.Handling}
	if out.Configuration == "" {
		out.Configuration = "{}"
	}
	return out
}

const aboutRemediation = `Types: 0 FileTagging, 1 DeepCdr, 2 BlockedFile, 3 AllowedSanitizedFile, 4 AllowedFile, 5 BlockedSanitizedFile, 6 DeleteEmptyFolders; a workflow has one of each at most.
handlingType: 0 Delete, 1 Move, 2 Copy, 3 Keep, 999 NotApplicable (for types 0, 1 and 6).
configuration is JSON in a text. FileTagging: {"keys":{"result","fileId","timestamp","version"},"values":{"clean","suspicious","infected","not_scanned"}}, a key of "-" is not written.
Move and Copy: {"destinations":[{"storageId","folder","structure":"keep"|"flat"}],"onConflict":"rename"|"overwrite"|"fail"}, one to five destinations.
BlockedFile with Move can have {"quarantine":{"expiryDays":30}} in place of destinations. 3 and 5 count while DeepCdr is enabled.`

func (a *API) remediations() {
	const tag = "Remediations"
	register(a, Op{ID: "listRemediations", Method: "GET", Path: "/api/remediations/workflow/{id}", Action: "workflow.list", Tag: tag, Summary: "Get remediations by workflow id", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*entries[Remediation], error) {
			list, err := a.c.Remediations(ctx, in.ID.ID)
			return listed(list, remediationOf), err
		})
	register(a, Op{ID: "getRemediation", Method: "GET", Path: "/api/remediations/{id}", Action: "workflow.list", Tag: tag, Summary: "Get a remediation by its id", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*one[Remediation], error) {
			r, err := a.c.Remediation(ctx, in.ID.ID)
			return single(remediationOf(r), err)
		})
	register(a, Op{ID: "addRemediation", Method: "POST", Path: "/api/remediations", Action: "workflow.add_remediation", Tag: tag, Summary: "Add a remediation",
		About: aboutRemediation, Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				WorkflowID    ID     `json:"workflowId"`
				IsEnabled     bool   `json:"isEnabled,omitempty"`
				Configuration string `json:"configuration,omitempty" maxLength:"16384" example:"{\"destinations\":[{\"storageId\":\"0198f02f-0000-7000-8000-000000000001\",\"folder\":\"blocked\"}]}"`
				Type          int    `json:"type" enum:"0,1,2,3,4,5,6"`
				HandlingType  *int   `json:"handlingType,omitempty" enum:"0,1,2,3,999"`
			}
		}) (*one[Remediation], error) {
			b := in.Body
			r, err := a.c.AddRemediation(ctx, b.WorkflowID.ID, control.Remediation{Enabled: b.IsEnabled, Type: b.Type, Configuration: []byte(b.Configuration)}, b.HandlingType)
			return single(remediationOf(r), err)
		})
	register(a, Op{ID: "updateRemediation", Method: "PATCH", Path: "/api/remediations", Action: "workflow.set_remediation", Tag: tag, Summary: "Update a remediation",
		About: "What is not given stays. " + aboutRemediation, Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				ID            ID      `json:"id"`
				WorkflowID    *string `json:"workflowId,omitempty" maxLength:"64" doc:"A remediation stays with its workflow."`
				IsEnabled     *bool   `json:"isEnabled,omitempty"`
				Configuration *string `json:"configuration,omitempty" maxLength:"16384"`
				Type          *int    `json:"type,omitempty" enum:"0,1,2,3,4,5,6"`
				HandlingType  *int    `json:"handlingType,omitempty" enum:"0,1,2,3,999"`
			}
		}) (*Done, error) {
			b := in.Body
			ch := control.RemediationChange{Enabled: b.IsEnabled, Type: b.Type, Handling: b.HandlingType, Configuration: b.Configuration}
			if b.WorkflowID != nil && *b.WorkflowID != "" {
				ch.Workflow = idIn(*b.WorkflowID)
			}
			return &Done{done()}, a.c.SetRemediation(ctx, b.ID.ID, ch)
		})
	register(a, Op{ID: "deleteRemediation", Method: "DELETE", Path: "/api/remediations/{id}", Action: "workflow.remove_remediation", Tag: tag, Summary: "Delete a remediation", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*Done, error) {
			return &Done{done()}, a.c.RemoveRemediation(ctx, in.ID.ID)
		})
}
