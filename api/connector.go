package api

import (
	"context"
	_ "embed"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

//go:embed connector.sh
var connectorScript string

// connectorInput is a request with the address that it came to.
type connectorInput struct {
	SharePath string `query:"sharePath" required:"true" minLength:"1" maxLength:"4096" doc:"The folder to follow, on the machine that the script is to run on."`
	ClientID  ID     `query:"clientId" required:"true" doc:"The storageClientId of the storage."`

	server string
}

// Resolve notes how the caller reached us: huma calls it.
func (in *connectorInput) Resolve(ctx huma.Context) []error {
	r, _ := humago.Unwrap(ctx)
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	in.server = scheme + "://" + r.Host
	return nil
}

// shellQuote writes s so that a shell reads it as one word.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (a *API) connector() {
	type file struct {
		ContentType        string `header:"Content-Type"`
		ContentDisposition string `header:"Content-Disposition"`
		Body               []byte
	}
	register(a, Op{ID: "getConnector", Method: "GET", Path: "/api/connector", Action: "connector.get", Tag: "Webhooks", Summary: "Download a connector",
		About: "A script for a file server that nobody tells events of: it follows a folder with inotify and tells POST /api/webhook/realtime of each file that is closed.", Errors: []int{404},
		Change: func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "The script", Content: map[string]*huma.MediaType{"text/x-shellscript": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
		}},
		func(ctx context.Context, in *connectorInput) (*file, error) {
			if err := a.c.Connector(ctx, in.ClientID.ID); err != nil {
				return nil, err
			}
			if strings.ContainsAny(in.SharePath, "\x00\n\r") {
				return nil, newProblem(http.StatusBadRequest, "sharePath has control characters")
			}
			text := strings.NewReplacer("@SHARE@", shellQuote(in.SharePath), "@CLIENT@", shellQuote(in.ClientID.String()), "@SERVER@", shellQuote(in.server)).Replace(connectorScript)
			return &file{"text/x-shellscript; charset=utf-8", `attachment; filename="landwaiter-connector.sh"`, []byte(text)}, nil
		})
}
