package connectors

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// A Unit is a configured storage unit. Its zero durations mean the defaults.
type Unit struct {
	ID int64 // the ledger's number for it
	// Client is its id for those who call us; zero = the ledger gives it one.
	Client   uuid.UUID
	Tenant   int64  // 0 = the default
	Name     string // unique
	URL      string // file:///dir, s3://bucket/prefix?endpoint=…&region=…
	Workflow string // name; "" = the default workflow
	// Partitions are the folders that RealTime scans watch; nil = all of it.
	Partitions []string

	Options map[string]string // vendor's own: decoded by the vendor's package; secrets included

	SweepEvery time.Duration // the interval that promise 1 names
	Settle     time.Duration // stable window where nothing better tells completion; default 2 s
	SettleMax  time.Duration // default 15 min
	Versions   string        // "current" (default) or "all"
	Unfenced   bool          // allow acts that the vendor cannot make conditional
	Probe      string        // "off", a prefix, or "" for the default ".landwaiter-probe/"
	ReadOnly   bool          // the grant: look and read, change nothing
	Rate       float64       // calls a second; 0 = unlimited
	Exclude    []string      // absolute local paths that are never part of the unit (the data directory)
	Managed    bool          // from the configuration file
	Disabled   bool
}

// An Opener opens a driver for a unit of its vendor. It checks that the place
// exists and can be listed, and returns a fault otherwise.
type Opener func(ctx context.Context, u Unit) (Driver, error)

// An OptionError says what is wrong with one option of a unit, by its name in
// the unit's options or its URL's query.
type OptionError struct {
	Name string
	Err  error
}

// Error returns "option NAME: …".
func (e *OptionError) Error() string { return "option " + e.Name + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *OptionError) Unwrap() error { return e.Err }
