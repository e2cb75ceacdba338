package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/object"
)

// An s3Message is any of the shapes in which S3 events come. One of Records,
// Message, Detail or Event says which.
type s3Message struct {
	Records    []s3Record      `json:"Records"`
	Event      string          `json:"Event"`       // s3:TestEvent
	Type       string          `json:"Type"`        // of an SNS envelope
	Message    *string         `json:"Message"`     // of an SNS envelope
	DetailType string          `json:"detail-type"` // of EventBridge
	Detail     json.RawMessage `json:"detail"`
	Time       string          `json:"time"`
}

// An s3Record follows
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html.
type s3Record struct {
	EventVersion string `json:"eventVersion"`
	EventTime    string `json:"eventTime"`
	EventName    string `json:"eventName"`
	S3           struct {
		Bucket struct {
			Name string `json:"name"`
			ARN  string `json:"arn"`
		} `json:"bucket"`
		Object struct {
			Key       string          `json:"key"`
			Size      json.RawMessage `json:"size"`
			VersionID string          `json:"versionId"`
		} `json:"object"`
	} `json:"s3"`
}

// ParseS3 reads an S3 event: records as Amazon, MinIO, Ceph and the Versity
// gateway write them, alone or in an SNS envelope, or an event of EventBridge.
// Events that say nothing of content (tags, access lists, S3's test event) give
// no notice. Errors are fault.Invalid.
func ParseS3(body []byte) ([]Notice, error) { return parseS3(body, false) }

func parseS3(body []byte, enveloped bool) ([]Notice, error) {
	if err := Check(body); err != nil {
		return nil, err
	}
	var m s3Message
	if err := decode("S3 event", body, &m); err != nil {
		return nil, err
	}
	switch {
	case m.Records != nil:
		return s3Records(m.Records)
	case m.Event == "s3:TestEvent":
		return nil, nil
	case m.Message != nil && !enveloped:
		if m.Type != "Notification" {
			return nil, invalid("SNS message", fmt.Errorf("of type %q, want Notification", short(m.Type)))
		}
		return parseS3([]byte(*m.Message), true)
	case m.Detail != nil:
		return eventBridge(m)
	}
	return nil, invalid("S3 event", errors.New("it has neither Records, nor an SNS Message, nor an EventBridge detail"))
}

// knownVersion matches the versions of records that mean what is read here: a
// minor only adds members, a major may change their meaning.
var knownVersion = regexp.MustCompile(`^2\.[0-9]{1,6}$`)

func s3Records(records []s3Record) ([]Notice, error) {
	if len(records) == 0 || len(records) > MaxNotices {
		return nil, invalid("S3 event", fmt.Errorf("%d records, want 1 to %d", len(records), MaxNotices))
	}
	var out []Notice
	var bad error // the first: the others are told
	for _, r := range records {
		n, err := s3Notice(r)
		switch {
		case err != nil && bad == nil:
			bad = err
		case err == nil && n != nil:
			out = append(out, *n)
		}
	}
	return out, bad
}

// s3Notice reads one record, nil if it says nothing of content.
func s3Notice(r s3Record) (*Notice, error) {
	if !knownVersion.MatchString(r.EventVersion) {
		return nil, invalid("S3 record", fmt.Errorf("of version %q, want 2.x", short(r.EventVersion)))
	}
	n := &Notice{Vendor: "s3", Container: r.S3.Bucket.Name, Version: s3Version(r.S3.Object.VersionID), Size: sizeOf(r.S3.Object.Size),
		Time: timeOf(r.EventTime), Event: strings.TrimPrefix(r.EventName, "s3:")}
	var err error
	if n.Key, err = s3Key(r); err != nil {
		return nil, invalid("S3 record", fmt.Errorf("the key %q is not form-urlencoded", short(r.S3.Object.Key)))
	}
	if n.Event == "" {
		return nil, invalid("S3 record", errors.New("no eventName"))
	}
	if !n.happened() {
		return nil, nil
	}
	return n, checkPlace("S3 record", n.Container, n.Key)
}

// happened fills in what the event's name says, and reports whether that is
// about content. The events that MinIO adds are in its internal/event/name.go.
func (n *Notice) happened() bool {
	family, what, _ := strings.Cut(n.Event, ":")
	switch family {
	case "ObjectCreated":
		switch what {
		case "PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold": // MinIO
			return false
		}
		return true
	case "ObjectRestore":
		return what == "Completed"
	case "ObjectRemoved", "LifecycleExpiration":
		n.gone(what == "DeleteMarkerCreated" || what == "DeleteAllVersions")
		return what != "NoOP"
	}
	return false
}

// gone makes n the notice of a deletion. The id of a delete marker is the
// marker's own: it is the key that is gone (whole), not a version.
func (n *Notice) gone(whole bool) {
	n.Op, n.Size = object.Delete, -1
	if whole {
		n.Version = ""
	}
}

// s3Key decodes a record's key, which is form-urlencoded. The Versity gateway
// writes it as it is; it is known by the slash that begins the bucket's name in
// its ARN.
func s3Key(r s3Record) (string, error) {
	if strings.HasPrefix(r.S3.Bucket.ARN, "arn:aws:s3:::/") {
		return r.S3.Object.Key, nil
	}
	return url.QueryUnescape(r.S3.Object.Key)
}

// s3Version is a version id, or "" where the bucket keeps no versions.
func s3Version(id string) string {
	if id == "null" || len(id) > MaxKey {
		return ""
	}
	return id
}

// s3Detail is what EventBridge carries
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html). Its
// key is not encoded.
type s3Detail struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key       string          `json:"key"`
		Size      json.RawMessage `json:"size"`
		VersionID string          `json:"version-id"`
	} `json:"object"`
	Reason       string `json:"reason"`
	DeletionType string `json:"deletion-type"`
}

func eventBridge(m s3Message) ([]Notice, error) {
	var d s3Detail
	if err := decode("EventBridge detail", m.Detail, &d); err != nil {
		return nil, err
	}
	n := Notice{Vendor: "s3", Container: d.Bucket.Name, Key: d.Object.Key, Version: s3Version(d.Object.VersionID), Size: sizeOf(d.Object.Size),
		Time: timeOf(m.Time), Event: m.DetailType}
	switch m.DetailType {
	case "":
		return nil, invalid("EventBridge event", errors.New("no detail-type"))
	case "Object Created", "Object Restore Completed":
	case "Object Deleted":
		n.gone(d.DeletionType == "Delete Marker Created")
	default:
		return nil, nil
	}
	if err := checkPlace("EventBridge event", n.Container, n.Key); err != nil {
		return nil, err
	}
	return []Notice{n}, nil
}

// timeOf reads a time, zero if it is none: it is a hint.
func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
