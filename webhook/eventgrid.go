package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/landwaiter/landwaiter/events"
)

// The values of Azure's public cloud.
const (
	entra         = "https://login.microsoftonline.com"
	eventGridApp  = "4962773b-9cdb-44cf-a8bf-237846a00ab7" // Microsoft.EventGrid, in every tenant
	eventGridHost = "eventgrid.azure.net"
)

// eventGrid is an event subscription of Azure Event Grid, in its own schema or
// in CloudEvents 1.0. It proves itself by a token in the URL or a header
// (https://learn.microsoft.com/azure/event-grid/security-authentication), or by
// a token of Entra ID.
type eventGrid struct {
	world
	name    string
	secrets []string
	tokens  *tokens // nil = secrets
	tenant  string
	app     string // that Entra's token is for; "any" = any in the tenant
	origin  string // of the CloudEvents handshake
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func newEventGrid(v *values, w world, name string) *eventGrid {
	k := &eventGrid{world: w, name: name, secrets: v.secrets("token"), tenant: strings.ToLower(v.text("tenant")), app: strings.ToLower(v.text("app")), origin: v.text("origin")}
	audience, authority := v.text("audience"), strings.TrimRight(v.text("authority"), "/")
	if k.app == "" {
		k.app = eventGridApp
	}
	if k.origin == "" {
		k.origin = eventGridHost
	}
	if authority == "" {
		authority = entra
	}
	switch {
	case len(k.secrets) == 0 && k.tenant == "":
		v.wrong("token", errors.New("required: a token, or tenant and audience for Entra ID"))
	case len(k.secrets) > 0 && (k.tenant != "" || audience != ""):
		v.wrong("token", errors.New("excludes tenant and audience"))
	case k.tenant != "":
		if !guid.MatchString(k.tenant) {
			v.wrong("tenant", errors.New("want the tenant's id"))
		}
		if audience == "" {
			v.wrong("audience", errors.New("required with tenant: what the event subscription names as Entra App ID or URI"))
		}
		if u, err := url.Parse(authority); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" {
			v.wrong("authority", errors.New("want https://host"))
		}
		k.tokens = &tokens{world: w, audience: audience, keys: newKeys(w, authority+"/"+k.tenant+"/discovery/v2.0/keys"),
			issuers: []string{"https://sts.windows.net/" + k.tenant + "/", authority + "/" + k.tenant + "/v2.0"}}
	}
	return k
}

const (
	gridTypeHeader  = "Aeg-Event-Type"
	originHeader    = "Webhook-Request-Origin"
	allowedOrigin   = "Webhook-Allowed-Origin"
	allowedRate     = "Webhook-Allowed-Rate"
	validationEvent = "Microsoft.EventGrid.SubscriptionValidationEvent"
)

func (k *eventGrid) traits() traits {
	return traits{
		types:   []string{"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"},
		once:    []string{gridTypeHeader, originHeader},
		options: true,
		// Event Grid drops an event after 400, 401, 403 and 413. A wrong token is
		// more often the operator's than a forger's: an event must outlive it.
		unproven: http.StatusServiceUnavailable,
	}
}

func (k *eventGrid) admit(r *http.Request) (*reply, error) {
	if err := k.authenticate(r); err != nil {
		return nil, err
	}
	if r.Method != http.MethodOptions {
		return nil, nil
	}
	// The handshake of CloudEvents (https://github.com/cloudevents/spec, "HTTP
	// 1.1 Web Hooks"). The callback that it may name is never called.
	if r.Header.Get(originHeader) != k.origin {
		return nil, refuse(unproven, "the handshake of another origin: "+printable(r.Header.Get(originHeader), 100))
	}
	return &reply{header: http.Header{"Allow": {k.traits().methods()}, allowedOrigin: {k.origin}, allowedRate: {"*"}}}, nil
}

func (k *eventGrid) authenticate(r *http.Request) error {
	if k.tokens == nil {
		query := r.URL.Query()["token"]
		switch given := bearer(r); {
		case len(query) > 1 || len(query) == 1 && r.Header.Get("Authorization") != "":
			return refuse(unproven, "two tokens")
		case len(query) == 1 && oneOf(k.secrets, query[0]), len(query) == 0 && oneOf(k.secrets, given):
			return nil
		}
		return refuse(unproven, "the token is missing or wrong")
	}
	if r.Method == http.MethodOptions && r.Header.Get("Authorization") == "" {
		return nil // it only asks whether it may call; each call must prove itself
	}
	c, err := k.tokens.verify(r.Context(), bearer(r))
	if err != nil {
		return err
	}
	if !strings.EqualFold(c.Tenant, k.tenant) {
		return refuse(unproven, "a token of another tenant")
	}
	app := c.AppID
	if app == "" {
		app = c.Party
	}
	if k.app != "any" && !strings.EqualFold(app, k.app) {
		return refuse(unproven, "a token of another application: "+printable(app, 100))
	}
	return nil
}

func (k *eventGrid) read(r *http.Request, body []byte) (message, error) {
	switch r.Header.Get(gridTypeHeader) {
	case "SubscriptionValidation":
		code, err := validationCode(body)
		if err != nil {
			return message{poison: err}, nil
		}
		k.log.Info("Event Grid's subscription is validated", "hook", k.name)
		return message{reply: code}, nil
	case "SubscriptionDeletion":
		k.log.Warn("Event Grid ended a subscription", "hook", k.name)
		return message{}, nil
	}
	var m message
	m.notices, m.poison = events.ParseEventGrid(body)
	return m, nil
}

// validationCode answers Event Grid's own handshake. The URL that it may name
// is never called.
func validationCode(body []byte) (*reply, error) {
	if err := events.Check(body); err != nil {
		return nil, err
	}
	var list []struct {
		EventType string `json:"eventType"`
		Data      struct {
			Code string `json:"validationCode"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil || len(list) != 1 || list[0].EventType != validationEvent {
		return nil, errors.New("not the validation of a subscription")
	}
	code := list[0].Data.Code
	if code == "" || len(code) > 512 {
		return nil, fmt.Errorf("a validation code of %d bytes", len(code))
	}
	answer, err := json.Marshal(map[string]string{"validationResponse": code})
	return &reply{body: answer}, err
}
