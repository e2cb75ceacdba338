package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// generation matches what Cloud Storage counts the contents of a key by.
var generation = regexp.MustCompile(`^[0-9]{1,20}$`)

// ParsePubSub reads a notification of Cloud Storage by its attributes
// (https://cloud.google.com/storage/docs/pubsub-notifications) and its payload,
// which may be empty. A payload that speaks of another object than the
// attributes is refused. Changes of metadata give no notice. Errors are
// fault.Invalid.
func ParsePubSub(attributes map[string]string, data []byte) ([]Notice, error) {
	const what = "Cloud Storage notification"
	n := Notice{Vendor: "gs", Container: attributes["bucketId"], Key: attributes["objectId"], Version: attributes["objectGeneration"],
		Size: -1, Time: timeOf(attributes["eventTime"]), Event: attributes["eventType"]}
	if n.Version != "" && !generation.MatchString(n.Version) {
		return nil, invalid(what, fmt.Errorf("the generation %q is no number", short(n.Version)))
	}
	if err := checkPlace(what, n.Container, n.Key); err != nil {
		return nil, err
	}
	if len(data) > 0 {
		size, err := n.payload(data)
		if err != nil {
			return nil, err
		}
		n.Size = size
	}
	switch n.Event {
	case "OBJECT_FINALIZE":
	case "OBJECT_DELETE":
		n.gone(false)
	case "OBJECT_ARCHIVE":
		// What was current is kept, and replaced or not: the key must be looked at.
		n.Version, n.Size = "", -1
	case "":
		return nil, invalid(what, errors.New("no eventType"))
	default:
		return nil, nil
	}
	return []Notice{n}, nil
}

// payload compares what a payload says with n, and returns its size.
func (n Notice) payload(data []byte) (int64, error) {
	if err := inspect(data, 1); err != nil { // users' metadata are one below
		return 0, err
	}
	var p struct {
		Bucket     string          `json:"bucket"`
		Name       string          `json:"name"`
		Generation json.RawMessage `json:"generation"`
		Size       json.RawMessage `json:"size"`
	}
	if err := decode("Cloud Storage payload", data, &p); err != nil {
		return 0, err
	}
	g := sizeOf(p.Generation)
	if p.Bucket != "" && p.Bucket != n.Container || p.Name != "" && p.Name != n.Key || g > 0 && n.Version != "" && fmt.Sprint(g) != n.Version {
		return 0, invalid("Cloud Storage payload", errors.New("it speaks of another object than the attributes"))
	}
	return sizeOf(p.Size), nil
}
