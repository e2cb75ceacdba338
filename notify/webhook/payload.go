package webhook

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/notify"
)

// fileScanned is the product's body for a finished file.
type fileScanned struct {
	FileID                  string    `json:"FileId"`
	FileName                string    `json:"FileName"`
	FilePath                string    `json:"FilePath"`
	FileStatus              string    `json:"FileStatus"` // Allowed, Blocked
	CoreScanResult          string    `json:"CoreScanResult"`
	FileState               string    `json:"FileState"` // Available, Failed, FailedRemediation, Canceled
	RemediationResult       []string  `json:"RemediationResult"`
	ScanCompletedTimeStamp  time.Time `json:"ScanCompletedTimeStamp"`
	WorkflowName            string    `json:"WorkflowName"`
	Rules                   []string  `json:"Rules"`
	ExceptionDetails        string    `json:"ExceptionDetails"`
	RemediationErrors       []string  `json:"RemediationErrors"`
	WebhookNotificationType string    `json:"WebhookNotificationType"`
}

// scanCompleted is its body for an ended scan.
type scanCompleted struct {
	ScanID                  string    `json:"ScanId"`
	ScanName                string    `json:"ScanName"`
	StartTime               time.Time `json:"StartTime"`
	StopTime                time.Time `json:"StopTime"`
	Status                  string    `json:"Status"` // Completed, Cancelled, Failed
	WebhookNotificationType string    `json:"WebhookNotificationType"`
}

func (w *Webhook) payload(ctx context.Context, n ledger.Notice) (any, error) {
	switch n.Kind {
	case ledger.NoticeFile:
		f, err := notify.Body[ledger.FileNotice](n)
		if err != nil {
			return nil, err
		}
		name, rules, err := w.o.Workflow(ctx, f.Workflow)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		return fileBody(f, name, rules), nil
	case ledger.NoticeScan:
		s, err := notify.Body[ledger.ScanNotice](n)
		return scanCompleted{ScanID: s.ID.String(), ScanName: s.Name, StartTime: s.Started, StopTime: s.Ended, Status: notify.ScanStatus(s.State),
			WebhookNotificationType: "ScanCompleted"}, err
	}
	return nil, fault.New(fault.Corrupt, "webhook", n.ID.String(), fmt.Errorf("a webhook has nothing to say of a notice of %q", n.Kind))
}

func fileBody(f ledger.FileNotice, workflow string, rules []string) fileScanned {
	b := fileScanned{FileID: f.ID, FileName: path.Base(f.Key), FilePath: f.Key, FileStatus: notify.FileStatus(f), CoreScanResult: f.Result, FileState: notify.FileState(f),
		RemediationResult: []string{}, ScanCompletedTimeStamp: f.Time, WorkflowName: workflow, Rules: append([]string{}, rules...), ExceptionDetails: f.Error,
		RemediationErrors: []string{}, WebhookNotificationType: "FileScanned"}
	for _, a := range f.Actions {
		state := "Applied"
		if notify.NotDone(a) {
			state = "Failed"
			b.RemediationErrors = append(b.RemediationErrors, a.Type+": "+a.Detail)
		}
		b.RemediationResult = append(b.RemediationResult, notify.Remediation(f, a)+": "+state)
	}
	if len(f.Actions) == 0 {
		b.RemediationResult = append(b.RemediationResult, b.FileStatus+"Kept: Applied")
	}
	return b
}
