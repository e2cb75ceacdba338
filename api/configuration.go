package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landwaiter/landwaiter/control"
)

// importResults are the product's numbers of what can be wrong with an archive.
var importResults = []struct {
	err    error
	result int
	key    string
}{
	{control.ErrArchiveEmpty, 2, "FAILED_REQUEST_BODY_IS_EMPTY"},
	{control.ErrArchiveContent, 4, "FAILED_TO_DESERIALIZE_CONFIG_FILE"},
	{control.ErrArchiveVersion, 5, "FAILED_OUTDATED_VERSION"},
	{control.ErrArchiveInvalid, 6, "FAILED_INVALID_CONFIG_FILE"},
	{control.ErrArchiveLocked, 7, "FAILED_MISSING_PASSWORD"},
	{control.ErrArchivePassword, 8, "FAILED_WRONG_PASSWORD"},
}

// configuration is the operations that carry a tenant's configuration.
func (a *API) configuration() {
	const tag = "Configuration"
	type file struct {
		ContentType        string `header:"Content-Type"`
		ContentDisposition string `header:"Content-Disposition"`
		Body               []byte
	}
	register(a, Op{ID: "exportConfiguration", Method: "GET", Path: "/api/configuration/export", Action: "configuration.export", Tag: tag, Summary: "Export the configuration",
		About: "An archive of accounts, groups, storages, pools, workflows and schedules, and of the settings asked for. With a password (12 characters or more) it is encrypted and has the secrets in it; without, it has none.",
		Change: func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "The archive", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
		}},
		func(ctx context.Context, in *struct {
			License       bool   `query:"exportLicense" doc:"There is none."`
			SMTP          bool   `query:"exportSmtp"`
			Notifications bool   `query:"exportEmailNotifications" doc:"With the external loggers."`
			Retention     bool   `query:"exportRetention"`
			Password      string `query:"password" maxLength:"1024"`
		}) (*file, error) {
			data, err := a.c.Export(ctx, control.ExportRequest{SMTP: in.SMTP, Notifications: in.Notifications, Retention: in.Retention, Password: in.Password})
			return &file{"application/octet-stream", `attachment; filename="landwaiter.config"`, data}, err
		})
	type outcome struct {
		Status int
		Body   struct {
			Envelope
			AreSmtpSettingsImported bool     `json:"areSmtpSettingsImported"`
			IsLicenseImported       bool     `json:"isLicenseImported"`
			IsRetentionImported     bool     `json:"isRetentionImported"`
			ActivationDto           Envelope `json:"activationDto"`
			Added                   int      `json:"added" doc:"Nouns that are new."`
			Changed                 int      `json:"changed" doc:"Nouns that were there under their name."`
		}
	}
	register(a, Op{ID: "importConfiguration", Method: "POST", Path: "/api/configuration/import", Action: "configuration.import", Tag: tag, Summary: "Import a configuration",
		About:   "All of it, or nothing. result: 0 success, 2 no file, 4 content that makes no sense, 5 another version, 6 no archive, 7 the password is missing, 8 it is wrong.",
		MaxBody: control.MaxArchive, Errors: []int{403, 409}, Form: []field{{"ConfigurationFile", "binary", true}, {"password", "string", false}}},
		func(ctx context.Context, in *struct{ Form }) (*outcome, error) {
			got, err := a.c.Import(ctx, in.File("ConfigurationFile"), in.Text("password"))
			for _, r := range importResults {
				if errors.Is(err, r.err) {
					p := newProblem(http.StatusBadRequest, words(err))
					p.Result, p.ResponseKey = r.result, r.key
					return nil, p
				}
			}
			out := &outcome{Status: http.StatusOK}
			b := &out.Body
			b.Envelope, b.ActivationDto, b.AreSmtpSettingsImported, b.IsRetentionImported, b.Added, b.Changed = done(), done(), got.SMTP, got.Retention, got.Added, got.Changed
			return out, err
		})
}
