package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// NotificationSettings say what is told to whom.
type NotificationSettings struct {
	Email         EmailSettings   `json:"emailNotifications"`
	FileScanned   WebhookSettings `json:"fileScannedWebhook"`
	ScanCompleted WebhookSettings `json:"scanCompletedWebhook"`
}

// EmailSettings say what is told by mail.
type EmailSettings struct {
	Enabled        bool     `json:"isEnabled,omitempty"`
	Recipients     []string `json:"recipients,omitempty" maxItems:"50" nullable:"false" example:"[\"soc@example.org\"]"`
	BlockedFiles   bool     `json:"blockedFiles,omitempty" doc:"Each file that was blocked."`
	CompletedScans bool     `json:"completedScans,omitempty" doc:"Each instant or scheduled scan that ended."`
}

// WebhookSettings are a receiver of notices.
type WebhookSettings struct {
	Enabled     bool            `json:"isEnabled,omitempty"`
	URL         string          `json:"url,omitempty" maxLength:"2048" example:"https://hooks.example.org/landwaiter"`
	Method      string          `json:"method,omitempty" enum:"POST,PUT" doc:"POST where nothing is said."`
	Headers     []HeaderSetting `json:"headers,omitempty" maxItems:"32" nullable:"false"`
	BlockedOnly bool            `json:"blockedOnly,omitempty" doc:"Of files, only those that were blocked."`
	Secret      string          `json:"secret,omitempty" maxLength:"200" doc:"whsec_ and 24 to 64 bytes in base64: calls are signed as standardwebhooks.com says. Never answered; empty keeps the one that is set for the same url."`
	HasSecret   bool            `json:"hasSecret,omitempty" readOnly:"true"`
}

// A HeaderSetting goes with every call.
type HeaderSetting struct {
	Name  string `json:"name" minLength:"1" maxLength:"200" example:"Authorization"`
	Value string `json:"value,omitempty" maxLength:"4096" doc:"Never answered; empty keeps the one that is set for the same url."`
}

func webhookOf(w control.Webhook) WebhookSettings {
	s := WebhookSettings{Enabled: w.Enabled, URL: w.URL, Method: w.Method, BlockedOnly: w.BlockedOnly, HasSecret: w.Secret != ""}
	for _, h := range w.Headers {
		s.Headers = append(s.Headers, HeaderSetting{Name: h.Name})
	}
	return s
}

func (s WebhookSettings) control() control.Webhook {
	w := control.Webhook{Enabled: s.Enabled, URL: s.URL, Method: s.Method, BlockedOnly: s.BlockedOnly, Secret: s.Secret}
	for _, h := range s.Headers {
		w.Headers = append(w.Headers, control.Header{Name: h.Name, Value: h.Value})
	}
	return w
}

// A NoticeEntry is something that is to go out.
type NoticeEntry struct {
	ID        string    `json:"id" format:"uuid"`
	Channel   string    `json:"channel" example:"webhook-file"`
	Kind      string    `json:"kind" enum:"file,scan,audit,mail"`
	State     string    `json:"state" enum:"waiting,givenUp"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"lastError"`
	CreatedAt time.Time `json:"createdAt"`
	DueAt     time.Time `json:"dueAt"`
}

func noticeOf(n ledger.Notice) NoticeEntry {
	e := NoticeEntry{ID: n.ID.String(), Channel: n.Channel, Kind: string(n.Kind), State: "waiting", Attempts: n.Attempts, LastError: n.Error, CreatedAt: n.Created, DueAt: n.Due}
	if n.GivenUp {
		e.State = "givenUp"
	}
	return e
}

type noticeID struct {
	ID ID `path:"noticeId" doc:"The notice's id."`
}

func (a *API) notifications() {
	const tag, path = "Notifications", "/api/settings/notifications"
	type notificationAnswer struct {
		Body struct {
			Envelope
			NotificationSettings
		}
	}
	register(a, Op{ID: "getNotifications", Method: "GET", Path: path, Action: "notification.read", Tag: tag, Summary: "Get notifications configuration"},
		func(ctx context.Context, _ *struct{}) (*notificationAnswer, error) {
			n, err := a.c.Notifications(ctx)
			out := &notificationAnswer{}
			out.Body.Envelope = done()
			out.Body.NotificationSettings = NotificationSettings{Email: EmailSettings(n.Email), FileScanned: webhookOf(n.FileScanned), ScanCompleted: webhookOf(n.ScanCompleted)}
			return out, err
		})
	register(a, Op{ID: "setNotifications", Method: "PUT", Path: path, Action: "notification.set", Tag: tag, Summary: "Update notifications configuration",
		About: "What is left out is switched off. A url is refused that leads into this machine or a private network, unless the configuration file allows that network.", Errors: []int{409, 503}},
		func(ctx context.Context, in *struct {
			Body struct {
				Email         EmailSettings   `json:"emailNotifications,omitempty"`
				FileScanned   WebhookSettings `json:"fileScannedWebhook,omitempty"`
				ScanCompleted WebhookSettings `json:"scanCompletedWebhook,omitempty"`
			}
		}) (*Done, error) {
			return &Done{done()}, a.c.SetNotifications(ctx, control.Notifications{Email: control.EmailNotices(in.Body.Email), FileScanned: in.Body.FileScanned.control(), ScanCompleted: in.Body.ScanCompleted.control()})
		})
	a.outbox(tag)
}

func (a *API) outbox(tag string) {
	const path = "/api/landwaiter/notifications"
	register(a, Op{ID: "listNotices", Method: "GET", Path: path, Action: "notification.list", Tag: tag, Summary: "List what waits to go out or was given up"},
		func(ctx context.Context, in *struct {
			State string `query:"state" enum:"waiting,givenUp" doc:"Only these."`
			Start int    `query:"startIndex" minimum:"0" maximum:"2147483647"`
			Count int    `query:"count" minimum:"1" maximum:"1000" default:"100"`
		}) (*entries[NoticeEntry], error) {
			f := ledger.NoticeFilter{Start: in.Start, Limit: in.Count}
			if in.State != "" {
				up := in.State == "givenUp"
				f.GivenUp = &up
			}
			list, total, err := a.c.Notices(ctx, f)
			return paged(list, total, noticeOf), err
		})
	register(a, Op{ID: "retryNotice", Method: "POST", Path: path + "/{noticeId}/retry", Action: "notification.retry", Tag: tag, Summary: "Try a notice again", Errors: []int{404}},
		func(ctx context.Context, in *noticeID) (*Done, error) {
			return &Done{done()}, a.c.RetryNotice(ctx, in.ID.ID)
		})
	register(a, Op{ID: "dropNotice", Method: "DELETE", Path: path + "/{noticeId}", Action: "notification.drop", Tag: tag, Summary: "Forget a notice", Errors: []int{404}},
		func(ctx context.Context, in *noticeID) (*Done, error) {
			return &Done{done()}, a.c.DropNotice(ctx, in.ID.ID)
		})
}
