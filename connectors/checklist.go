package connectors

import "context"

// A Measure is what a look at one safety measure of a bucket gave.
type Measure struct {
	Item   string // one of the items below
	Passed bool
	Why    string // what was seen, in words
	Err    error  // it could not be looked at: neither passed nor failed
}

// The items of a checklist.
const (
	HTTPSAccess          = "https_access"
	AuthenticatedAccess  = "authenticated_access"
	LeastPrivilege       = "least_privilege"
	Versioning           = "versioning"
	AccessLogging        = "access_logging"
	ServerSideEncryption = "server_side_encryption"
)

// Items lists the items, the gravest first.
func Items() []string {
	return []string{HTTPSAccess, AuthenticatedAccess, LeastPrivilege, Versioning, AccessLogging, ServerSideEncryption}
}

// A Checker is a driver that can look at how safely its place is set up. It
// changes nothing.
type Checker interface {
	Checklist(ctx context.Context) []Measure
}
