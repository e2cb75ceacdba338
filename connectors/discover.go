package connectors

import "context"

// A Found is a bucket, container or share of an account.
type Found struct {
	Name string // as the vendor has it
	URL  string // of a unit that is all of it
}

// A Discoverer lists the places of an account. u is a unit without a place: its
// URL names the account, its options are the credentials. At most MaxFound come
// back, in order of their names. fault.Denied, Unavailable, Invalid.
type Discoverer func(ctx context.Context, u Unit) ([]Found, error)

// MaxFound bounds the places of one account.
const MaxFound = 10_000
