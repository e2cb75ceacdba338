package api

import (
	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/landwaiter/landwaiter/ledger"
)

// An ID is an id in a path, query or body. One that is not an id at all names
// nothing: it is fault.NotFound, as one that is nobody's.
type ID struct{ ledger.ID }

// Schema tells that it is a UUID in a string.
func (ID) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Examples: []any{"0198f02f-0000-7000-8000-000000000001"}}
}

// UnmarshalText takes any text; what is no id becomes the id of nothing.
func (id *ID) UnmarshalText(b []byte) error {
	if err := id.ID.UnmarshalText(b); err != nil {
		id.ID = uuid.Nil
	}
	return nil
}

// given is the id of something that may be left out: nil if it is.
func (id *ID) given() *ledger.ID {
	if id == nil {
		return nil
	}
	return &id.ID
}

// entries is the answer of an operation that lists.
type entries[T any] struct {
	Body struct {
		Envelope
		Entries    []T   `json:"entries"`
		TotalCount int64 `json:"totalCount" doc:"How many there are in all."`
	}
}

// listed answers with a list that is whole.
func listed[N, T any](list []N, word func(N) T) *entries[T] {
	out := &entries[T]{}
	out.Body.Envelope, out.Body.Entries, out.Body.TotalCount = done(), make([]T, 0, len(list)), int64(len(list))
	for _, n := range list {
		out.Body.Entries = append(out.Body.Entries, word(n))
	}
	return out
}

// count is the answer of an operation that counts.
type count struct {
	Body struct {
		Envelope
		Count int64 `json:"count"`
	}
}

func counted(n int) *count {
	out := &count{}
	out.Body.Envelope, out.Body.Count = done(), int64(n)
	return out
}
