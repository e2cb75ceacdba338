package control

import (
	"fmt"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// sealAll seals every value of options for a place.
func sealAll(box *seal.Box, place string, options map[string]string) map[string]string {
	sealed := make(map[string]string, len(options))
	for k, v := range options {
		sealed[k] = box.Seal(place, v)
	}
	return sealed
}

// openAll opens what sealAll sealed. fault.Corrupt if one does not open.
func openAll(box *seal.Box, place string, sealed map[string]string) (map[string]string, error) {
	options := make(map[string]string, len(sealed))
	for k, v := range sealed {
		text, err := box.Open(place, v)
		if err != nil {
			return nil, fault.New(fault.Corrupt, "control", k, fmt.Errorf("a secret of this %s: %w", place, err))
		}
		options[k] = text
	}
	return options, nil
}

// Unseal reads a storage's body with its secrets open.
func Unseal(box *seal.Box, n ledger.Noun) (UnitBody, error) {
	body, err := decode[UnitBody](n)
	if err != nil {
		return body, err
	}
	body.Options, err = openAll(box, SealUnit, body.Options)
	return body, err
}
