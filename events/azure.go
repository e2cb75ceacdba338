package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/landwaiter/landwaiter/object"
)

// A gridEvent is an event in the schema of Event Grid
// (https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage) or
// of CloudEvents 1.0.
type gridEvent struct {
	EventType string    `json:"eventType"` // Event Grid
	EventTime string    `json:"eventTime"`
	Topic     string    `json:"topic"`
	Spec      string    `json:"specversion"` // CloudEvents
	Type      string    `json:"type"`
	Time      string    `json:"time"`
	Source    string    `json:"source"`
	Data      *gridData `json:"data"`
}

type gridData struct {
	API            string          `json:"api"`
	ETag           string          `json:"eTag"`
	Length         json.RawMessage `json:"contentLength"`
	URL            string          `json:"url"`
	SourceURL      string          `json:"sourceUrl"`      // of a rename
	DestinationURL string          `json:"destinationUrl"` // of a rename
}

// ParseEventGrid reads one event of Azure Storage or an array of them. Only
// calls that complete a blob count: CreateFile and its like tell of files that
// are still being written. Other events (directories, tiers, the validation of
// a subscription) give no notice. Errors are fault.Invalid.
func ParseEventGrid(body []byte) ([]Notice, error) {
	if err := Check(body); err != nil {
		return nil, err
	}
	var list []gridEvent
	if bytes.TrimLeft(body, " \t\r\n")[0] == '[' {
		if err := decode("Event Grid events", body, &list); err != nil {
			return nil, err
		}
	} else {
		list = make([]gridEvent, 1)
		if err := decode("Event Grid event", body, &list[0]); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 || len(list) > MaxNotices {
		return nil, invalid("Event Grid events", fmt.Errorf("%d events, want 1 to %d", len(list), MaxNotices))
	}
	var out []Notice
	var bad error // the first: the others are told
	for _, e := range list {
		n, err := e.notices()
		if err != nil {
			if bad == nil {
				bad = err
			}
			continue
		}
		if out = append(out, n...); len(out) > MaxNotices {
			return nil, invalid("Event Grid events", fmt.Errorf("more than %d notices", MaxNotices))
		}
	}
	return out, bad
}

// completes lists the calls after which a blob is whole.
func completes(api string) bool {
	switch api {
	case "PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit", "RenameFile":
		return true
	}
	return false
}

func (e gridEvent) notices() ([]Notice, error) {
	switch {
	case e.EventType != "" && e.Spec != "":
		return nil, invalid("Event Grid event", errors.New("of both schemas"))
	case e.EventType != "":
		e.Type, e.Time, e.Source = e.EventType, e.EventTime, e.Topic
	case e.Spec != "1.0":
		return nil, invalid("Event Grid event", fmt.Errorf("neither eventType nor specversion 1.0, but %q", short(e.Spec)))
	case e.Type == "":
		return nil, invalid("CloudEvents event", errors.New("no type"))
	}
	name, ours := strings.CutPrefix(e.Type, "Microsoft.Storage.")
	if !ours {
		return nil, nil
	}
	if e.Data == nil {
		return nil, invalid("Event Grid event", errors.New("no data"))
	}
	d := e.Data
	switch name {
	case "BlobCreated":
		if !completes(d.API) {
			return nil, nil
		}
		n, err := e.notice(d.URL, name)
		if err != nil || n == nil {
			return nil, err
		}
		if n.Version == "" {
			n.Version = strings.Trim(d.ETag, `"`)
		}
		n.Size = sizeOf(d.Length)
		return []Notice{*n}, nil
	case "BlobDeleted":
		n, err := e.notice(d.URL, name)
		if err != nil || n == nil {
			return nil, err
		}
		n.Op = object.Delete
		return []Notice{*n}, nil
	case "BlobRenamed":
		from, err := e.notice(d.SourceURL, name)
		if err != nil {
			return nil, err
		}
		to, err := e.notice(d.DestinationURL, name)
		if err != nil || from == nil || to == nil {
			return nil, err
		}
		from.Op = object.Delete
		return []Notice{*from, *to}, nil
	}
	return nil, nil
}

// notice makes the notice of the blob at raw, or none if raw names a snapshot,
// which is not what the key holds.
func (e gridEvent) notice(raw, event string) (*Notice, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Opaque != "" || strings.Contains(raw, "#") {
		return nil, invalid("Event Grid event", fmt.Errorf("%q is not the URL of a blob", short(raw)))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, invalid("Event Grid event", fmt.Errorf("%q is not the URL of a blob", short(raw)))
	}
	if query.Get("snapshot") != "" {
		return nil, nil
	}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	account := hostAccount(u.Hostname())
	if account == "" && !pathStyle(u.Hostname()) {
		account = topicAccount(e.Source)
	} else if account == "" {
		account, path, _ = strings.Cut(path, "/")
	}
	container, key, found := strings.Cut(path, "/")
	if !found {
		container, key = "$root", container // a blob beside the containers
	}
	n := &Notice{Vendor: "azblob", Account: strings.ToLower(account), Version: query.Get("versionid"), Size: -1, Time: timeOf(e.Time), Event: event}
	if !accountName.MatchString(n.Account) {
		return nil, invalid("Event Grid event", fmt.Errorf("%q does not tell its storage account", short(raw)))
	}
	if n.Container, err = url.PathUnescape(container); err == nil {
		n.Key, err = url.PathUnescape(key)
	}
	if err != nil {
		return nil, invalid("Event Grid event", fmt.Errorf("%q is not percent-encoded", short(raw)))
	}
	return n, checkPlace("Event Grid event", n.Container, n.Key)
}

// accountName is what a storage account may be called; the emulator's is devstoreaccount1.
var accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

// hostAccount returns the account in ACCOUNT.blob.core.windows.net, or its like
// of another cloud, zone or protocol: "" if host is not of that form.
func hostAccount(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	for _, l := range labels[1:] {
		if l == "blob" || l == "dfs" {
			return strings.TrimSuffix(labels[0], "-secondary")
		}
	}
	return ""
}

// pathStyle reports whether a host is an emulator's, which has the account in
// the path: http://127.0.0.1:10000/devstoreaccount1/container/key.
func pathStyle(host string) bool {
	return net.ParseIP(host) != nil || !strings.Contains(host, ".")
}

// topicAccount returns the account at the end of
// /subscriptions/…/providers/Microsoft.Storage/storageAccounts/ACCOUNT.
func topicAccount(source string) string {
	_, rest, _ := strings.Cut(strings.ToLower(source), "/storageaccounts/")
	account, _, _ := strings.Cut(rest, "/")
	return account
}
