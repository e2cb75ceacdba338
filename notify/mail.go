package notify

import (
	"context"
	"encoding/json"
	"errors"
	"net/mail"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// The channels of a tenant that have fixed names.
const (
	ChannelMail        = "mail"
	ChannelFileWebhook = "webhook-file"
	ChannelScanWebhook = "webhook-scan"
	ChannelLogger      = "logger:" // and the logger's id
)

// SealMail is the place that texts of mails are sealed for: they may hold what
// lets somebody in.
const SealMail = "mail text"

// A MailNotice is the body of a ledger.NoticeMail.
type MailNotice struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"` // sealed for SealMail
}

var errNoMail = errors.New("mail is not set up: see the SMTP settings")

// Mail sends a text to one address, through the tenant's mail server, before
// long. fault.Unsupported if the tenant has none.
func (b *Outbox) Mail(ctx context.Context, tenant int64, to, subject, text string) error {
	addr, err := mail.ParseAddress(to)
	if err != nil || strings.ContainsAny(subject, "\r\n") {
		return fault.New(fault.Invalid, "notify.Mail", "", errors.New("not a mail address, or a subject of two lines"))
	}
	if !b.has(tenant, ChannelMail) {
		return fault.New(fault.Unsupported, "notify.Mail", "", errNoMail)
	}
	body, err := json.Marshal(MailNotice{To: addr.Address, Subject: subject, Text: b.o.Seal.Seal(SealMail, text)})
	if err != nil {
		return fault.New(fault.Internal, "notify.Mail", "", err)
	}
	return b.o.Store.AddNotice(ctx, ledger.Notice{Tenant: tenant, Channel: ChannelMail, Kind: ledger.NoticeMail, Body: body})
}
