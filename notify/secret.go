package notify

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// The lengths of a key in the Standard Webhooks' specification, in bytes.
const (
	minKey = 24
	maxKey = 64
)

// ParseSecret reads what webhooks are signed with: whsec_ and 24 to 64 bytes in
// base64.
func ParseSecret(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, fmt.Errorf("a signing secret is whsec_ and %d to %d bytes in base64", minKey, maxKey)
	}
	return key, nil
}
