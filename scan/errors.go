package scan

import (
	"cmp"
	"errors"

	"github.com/landwaiter/landwaiter/fault"
)

// notReady is the error of an engine that answers and takes no work.
func notReady(why string) error {
	return &fault.Error{Op: "scan.Describe", Kind: fault.Unavailable, Reason: string(EngineUnavailable), Err: errors.New("not ready: " + cmp.Or(why, "it does not say why"))}
}
