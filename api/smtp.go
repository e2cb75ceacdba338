package api

import (
	"context"

	"github.com/landwaiter/landwaiter/control"
)

// SMTPSettings are how mail is sent. The password is never answered.
type SMTPSettings struct {
	Host               string `json:"host"`
	Port               int    `json:"port"`
	BaseURL            string `json:"baseUrl"`
	SenderAddress      string `json:"senderAddress"`
	SenderName         string `json:"senderName"`
	Domain             string `json:"domain"`
	Username           string `json:"username"`
	Secure             int    `json:"secureSocketOption" enum:"0,1,2,3,4" doc:"0 None, 1 Auto, 2 SslOnConnect, 3 StartTls, 4 StartTlsWhenAvailable."`
	IgnoreCertWarnings bool   `json:"ignoreCertWarnings"`
	Enabled            bool   `json:"isSmtpEnabled"`
}

type smtpChange struct {
	Body struct {
		Host               *string `json:"host,omitempty" maxLength:"253" example:"smtp.example.org"`
		Port               *int    `json:"port,omitempty" minimum:"1" maximum:"65535" example:"587"`
		BaseURL            *string `json:"baseUrl,omitempty" maxLength:"2048" doc:"Where this API is reached, for links in mails."`
		SenderAddress      *string `json:"senderAddress,omitempty" maxLength:"320" example:"landwaiter@example.org"`
		SenderName         *string `json:"senderName,omitempty" maxLength:"320"`
		Domain             *string `json:"domain,omitempty" maxLength:"253" doc:"What we call ourselves to the server."`
		Username           *string `json:"username,omitempty" maxLength:"320"`
		Password           *string `json:"password,omitempty" maxLength:"1024" doc:"Forgotten when host changes."`
		Secure             *int    `json:"secureSocketOption,omitempty" enum:"0,1,2,3,4" doc:"0 None, 1 Auto, 2 SslOnConnect, 3 StartTls, 4 StartTlsWhenAvailable."`
		IgnoreCertWarnings *bool   `json:"ignoreCertWarnings,omitempty"`
		Enabled            *bool   `json:"isSmtpEnabled,omitempty"`
	}
}

func (a *API) smtp() {
	const tag, path = "Notifications", "/api/settings/smtp"
	type smtpAnswer struct {
		Body struct {
			Envelope
			SMTPSettings
		}
	}
	register(a, Op{ID: "getSmtp", Method: "GET", Path: path, Action: "smtp.read", Tag: tag, Summary: "Fetch SMTP configuration"},
		func(ctx context.Context, _ *struct{}) (*smtpAnswer, error) {
			s, err := a.c.SMTP(ctx)
			out := &smtpAnswer{}
			out.Body.Envelope = done()
			out.Body.SMTPSettings = SMTPSettings{s.Host, s.Port, s.BaseURL, s.SenderAddress, s.SenderName, s.Domain, s.Username, s.Secure, s.IgnoreCertWarnings, s.Enabled}
			return out, err
		})
	register(a, Op{ID: "setSmtp", Method: "PATCH", Path: path, Action: "smtp.set", Tag: tag, Summary: "Update SMTP configuration", About: "What is left out stays as it is.", Errors: []int{409, 503}},
		func(ctx context.Context, in *smtpChange) (*Done, error) {
			b := in.Body
			return &Done{done()}, a.c.SetSMTP(ctx, control.SMTPChange{Host: b.Host, BaseURL: b.BaseURL, SenderAddress: b.SenderAddress, SenderName: b.SenderName, Domain: b.Domain,
				Username: b.Username, Password: b.Password, Port: b.Port, Secure: b.Secure, IgnoreCertWarnings: b.IgnoreCertWarnings, Enabled: b.Enabled})
		})
}
