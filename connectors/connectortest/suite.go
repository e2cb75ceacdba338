// Package connectortest is the contract of connectors.Driver as a test suite,
// with a driver in memory that keeps it and a proxy that breaks it on demand.
package connectortest

import (
	"testing"

	"github.com/landwaiter/landwaiter/connectors"
)

// A Harness lets Run work on a vendor's storage, and behind the driver's back.
type Harness struct {
	// Open opens a driver on a place that is empty and used by nobody else. It is
	// called once for each part of the suite; the suite closes what it returns.
	Open func(t *testing.T) connectors.Driver
	// Write creates or replaces an object in the place opened last, as another
	// client of the vendor would.
	Write func(t *testing.T, key string, content []byte)
	// Remove deletes an object in the place opened last, as another client would.
	Remove func(t *testing.T, key string)
	// Wants are the capabilities that a probe must find: a lost one fails, one
	// too many does too.
	Wants connectors.Caps
	// Refuses says which keys the vendor cannot hold; nil = it holds all that the
	// suite tries. Each key refused must be refused with fault.Invalid.
	Refuses func(key string) bool
	// Bucketlike: keys need no folders, so "a" and "a/b" may both exist.
	Bucketlike bool
}

// Run tests every sentence of the contract that the capabilities in h.Wants
// imply, each as a subtest.
func Run(t *testing.T, h Harness) {
	s := suite{h}
	t.Run("Caps", s.caps)
	t.Run("Missing", s.missing)
	t.Run("Keys", s.keys)
	t.Run("Order", s.order)
	t.Run("Hostile", s.hostile)
	t.Run("Stale", s.stale)
	t.Run("Read", s.read)
	t.Run("Cancelled", s.cancelled)
	t.Run("Overwritten", s.overwritten)
	s.runIf(t, h.Wants.Put, "Put", s.put)
	s.runIf(t, h.Wants.Put, "PutFails", s.putFails)
	s.runIf(t, h.Wants.FencedPut, "PutRace", s.putRace)
	s.runIf(t, h.Wants.Copy, "Copy", s.copy)
	s.runIf(t, h.Wants.Copy && h.Wants.FencedPut, "CopyRace", s.copyRace)
	s.runIf(t, h.Wants.Remove, "Remove", s.remove)
	s.runIf(t, h.Wants.Tag, "Tag", s.tag)
	s.runIf(t, h.Wants.Watch, "Watch", s.watch)
	s.runIf(t, h.Wants.Versions, "Versions", s.versions)
	s.runIf(t, h.Wants.Prune, "Prune", s.prune)
	s.runIf(t, h.Wants.Settle, "Settle", s.settle)
}

type suite struct{ Harness }

// runIf runs a part that a capability implies.
func (s suite) runIf(t *testing.T, has bool, name string, f func(*testing.T)) {
	if has {
		t.Run(name, f)
	}
}
