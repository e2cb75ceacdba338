package connectors

import (
	"context"
	"errors"

	"github.com/landwaiter/landwaiter/fault"
)

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

// Checklist looks at how safely the storage's place is set up; fault.Unsupported
// where the vendor has no such thing.
func (s *Storage) Checklist(ctx context.Context) (list []Measure, err error) {
	c, ok := s.driver.(Checker)
	if !ok {
		return nil, fault.New(fault.Unsupported, "connectors.Checklist", s.unit.Name, errors.New("there is no security checklist for this vendor"))
	}
	err = s.do(ctx, "Checklist", never, func(int) error {
		list = c.Checklist(ctx)
		return ctx.Err()
	})
	return list, err
}
