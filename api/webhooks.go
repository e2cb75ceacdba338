package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// correlation is the answer of the webhook.
type correlation struct {
	Body struct {
		Envelope
		CorrelationID string `json:"correlationId" doc:"The id of the file's entry, by which it is followed: GET /api/file/{fileId}."`
	}
}

func correlated(id ledger.ID) *correlation {
	out := &correlation{}
	out.Body.Envelope, out.Body.CorrelationID = done(), idText(id)
	return out
}

// told is an event as any function of a cloud can post it.
type told struct {
	Metadata string  `json:"metadata" minLength:"1" maxLength:"1048576" doc:"A string that holds the vendor's event as JSON." example:"{\"s3\":{\"object\":{\"key\":\"2026/invoice.pdf\"}}}"`
	Storage  string  `json:"storageClientId" minLength:"1" maxLength:"64" example:"0198f02f-0000-7000-8000-000000000001"`
	Scan     *string `json:"scanId,omitempty" maxLength:"64" doc:"The real-time scan that is to look. Default: all that watch the object's folder."`
}

// Rawly is the body of an operation that reads it itself.
type Rawly struct {
	RawBody []byte `contentType:"application/json"`
}

// ClientRef is the path of an operation that knows a storage by its client id.
type ClientRef struct {
	Storage ID `path:"storageClientId" doc:"The storage's client id."`
}

func (a *API) webhooks() {
	const tag, about = "Webhook", "The event is durable when this is answered. It is a hint: the object is looked at with the storage's own credentials."
	statuses := []int{404, 413, 503}
	register(a, Op{ID: "tellEvent", Method: "POST", Path: "/api/webhook/realtime", Action: "webhook.tell", Tag: tag, Summary: "File event trigger of real time processing", About: about, Errors: statuses},
		func(ctx context.Context, in *struct{ Body told }) (*correlation, error) {
			id, err := a.c.Tell(ctx, in.Body.told())
			return correlated(id), err
		})
	register(a, Op{ID: "tellEventOf", Method: "POST", Path: "/api/webhook/realtime/{storageClientId}", Action: "webhook.tell", Tag: tag,
		Summary: "File event trigger of real time processing by storage client ID", About: about + " The body is the vendor's event itself, or an object that holds it in metadata.", Errors: statuses,
		Change: a.readsItself(anyObject("The vendor's event."), true)},
		func(ctx context.Context, in *struct {
			ClientRef
			Rawly
		}) (*correlation, error) {
			t := control.Told{Storage: in.Storage.ID, Metadata: string(in.RawBody)}
			var wrapped told
			if json.Unmarshal(in.RawBody, &wrapped) == nil && wrapped.Metadata != "" {
				t.Metadata, t.Scan = wrapped.Metadata, wrapped.told().Scan
			}
			id, err := a.c.Tell(ctx, t)
			return correlated(id), err
		})
	register(a, Op{ID: "tellBox", Method: "POST", Path: "/api/webhook/realtime/public/{storageClientId}", Action: "webhook.public", Tag: tag,
		Summary: "File event trigger of real time processing for Box",
		About:   about + " Webhooks V2 of Box, without a token: they are signed if the storage's Credentials have WebhookPrimaryKey or WebhookSecondaryKey.", Errors: append(statuses, 401),
		Change: a.readsItself(anyObject("The payload of a Box webhook V2."), true)},
		func(ctx context.Context, in *struct {
			ClientRef
			Rawly
			Timestamp string `header:"Box-Delivery-Timestamp" maxLength:"64"`
			Version   string `header:"Box-Signature-Version" maxLength:"16"`
			Algorithm string `header:"Box-Signature-Algorithm" maxLength:"32"`
			Primary   string `header:"Box-Signature-Primary" maxLength:"128"`
			Secondary string `header:"Box-Signature-Secondary" maxLength:"128"`
		}) (*correlation, error) {
			id, err := a.c.TellPublic(ctx, in.Storage.ID, control.Signed{Body: in.RawBody, Timestamp: in.Timestamp, Version: in.Version, Algorithm: in.Algorithm, Signatures: [2]string{in.Primary, in.Secondary}})
			return correlated(id), err
		})
	register(a, Op{ID: "tellGraph", Method: "POST", Path: "/api/webhook/realtime/graph/{storageClientId}/{scanId}", Action: "webhook.public", Tag: tag,
		Summary: "Graph change notification", About: "With validationToken it is the handshake of Microsoft Graph, and that is answered as text. Else it tells that something changed: the folder of the scan is looked through.",
		Errors: append(statuses, 401), Change: a.readsItself(anyObject("Change notifications, in value."), false)},
		func(ctx context.Context, in *graphCall) (*graphAnswer, error) {
			notices, err := in.notices()
			if err != nil {
				return nil, err
			}
			if err := a.c.TellGraph(ctx, in.Storage.ID, in.Scan.ID, notices); err != nil {
				return nil, err
			}
			if in.Token != "" {
				return &graphAnswer{Type: "text/plain; charset=utf-8", Sniff: "nosniff", Body: []byte(in.Token)}, nil
			}
			body, err := json.Marshal(correlated(in.Scan.ID).Body)
			return &graphAnswer{Type: "application/json", Sniff: "nosniff", Body: body}, err
		})
}

func (t told) told() control.Told {
	out := control.Told{Storage: *idField(&t.Storage), Metadata: t.Metadata}
	if t.Scan != nil {
		out.Scan = *idField(t.Scan)
	}
	return out
}

// graphCall is a call of Microsoft Graph
// (https://learn.microsoft.com/graph/change-notifications-delivery-webhooks).
type graphCall struct {
	ClientRef
	Rawly
	Scan  ID     `path:"scanId" doc:"The real-time scan that the subscription is for."`
	Token string `query:"validationToken" maxLength:"4096" doc:"Of the handshake."`
}

type graphAnswer struct {
	Type  string `header:"Content-Type"`
	Sniff string `header:"X-Content-Type-Options"`
	Body  []byte
}

// maxGraph bounds the notices of one call.
const maxGraph = 1000

// notices reads the body; a handshake has none.
func (in *graphCall) notices() (list []control.GraphNotice, err error) {
	if in.Token != "" {
		return nil, nil
	}
	var body struct {
		Value []struct {
			Subscription string `json:"subscriptionId"`
			ClientState  string `json:"clientState"`
		} `json:"value"`
	}
	if err := json.NewDecoder(bytes.NewReader(in.RawBody)).Decode(&body); err != nil || len(body.Value) == 0 || len(body.Value) > maxGraph {
		return nil, newProblem(http.StatusBadRequest, "want a collection of change notifications")
	}
	for _, v := range body.Value {
		list = append(list, control.GraphNotice{Subscription: v.Subscription, ClientState: v.ClientState})
	}
	return list, nil
}
