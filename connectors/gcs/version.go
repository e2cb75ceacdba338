package gcs

import (
	"strconv"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Hint turns the generation that an event names, in decimal, into the version
// that List, Stat and Open give: "" if it is none.
func Hint(version string) string {
	gen, err := strconv.ParseInt(version, 10, 64)
	if err != nil || gen <= 0 {
		return ""
	}
	return token(gen)
}

// token is the version of an object with this generation.
func token(gen int64) string { return strconv.FormatInt(gen, 10) }

// parseVersion reads what token writes; "" is 0, no generation in particular.
func parseVersion(op string, ref object.Ref) (int64, error) {
	if ref.Version == "" {
		return 0, nil
	}
	gen, err := strconv.ParseInt(ref.Version, 10, 64)
	if err != nil || gen <= 0 || token(gen) != ref.Version {
		return 0, fault.New(fault.Changed, op, ref.String(), errBadToken)
	}
	return gen, nil
}
