package api

import (
	"context"

	"github.com/landwaiter/landwaiter/control"
)

// A RetentionPeriod is for how long something is kept.
type RetentionPeriod struct {
	Enabled bool `json:"isEnabled" doc:"If not, it is kept for good."`
	Days    int  `json:"retentionDays" minimum:"1" maximum:"50000" example:"90"`
}

func (a *API) retention() {
	const tag, path = "Settings", "/api/settings/retention"
	type retentionAnswer struct {
		Body struct {
			Envelope
			AuditDays int             `json:"retentionAuditDays" doc:"Days that the audit is shown for."`
			Reports   RetentionPeriod `json:"reportRetentionConfiguration" doc:"Files of instant and scheduled scans."`
			RealTime  RetentionPeriod `json:"rtpHistoryRetentionConfiguration" doc:"Files of real-time scans."`
		}
	}
	type retentionChange struct {
		Body struct {
			AuditDays *int             `json:"retentionAuditDays,omitempty" minimum:"1" maximum:"50000" example:"365"`
			Reports   *RetentionPeriod `json:"reportRetention,omitempty"`
			RealTime  *RetentionPeriod `json:"rtpHistoryRetention,omitempty"`
		}
	}
	answer := func(ctx context.Context) (*retentionAnswer, error) {
		r, err := a.c.Retention(ctx)
		out := &retentionAnswer{}
		out.Body.Envelope, out.Body.AuditDays = done(), r.AuditDays
		out.Body.Reports, out.Body.RealTime = RetentionPeriod(r.Reports), RetentionPeriod(r.RealTime)
		return out, err
	}
	register(a, Op{ID: "getRetention", Method: "GET", Path: path, Action: "retention.read", Tag: tag, Summary: "Fetch retention configuration"},
		func(ctx context.Context, _ *struct{}) (*retentionAnswer, error) { return answer(ctx) })
	register(a, Op{ID: "setRetention", Method: "PUT", Path: path, Action: "retention.set", Tag: tag, Summary: "Update retention configuration",
		About: "What is left out stays as it is. What is older is removed within an hour; verdicts of objects stay known.", Errors: []int{409}},
		func(ctx context.Context, in *retentionChange) (*Done, error) {
			return &Done{done()}, a.c.SetRetention(ctx, in.Body.AuditDays, (*control.Keeping)(in.Body.Reports), (*control.Keeping)(in.Body.RealTime))
		})
}
