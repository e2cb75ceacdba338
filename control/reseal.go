package control

import (
	"context"
	"encoding/json"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// Kinds are all kinds of nouns. What is sealed in a noun is sealed for its kind.
var kinds = []ledger.Kind{ledger.Account, ledger.Group, ledger.Unit, ledger.Pool, ledger.Workflow, ledger.Schedule, ledger.Setting, ledger.Logger}

// Reseal seals with the box's present key what an older one sealed.
func Reseal(ctx context.Context, s NounStore, box *seal.Box) error {
	for _, kind := range kinds {
		list, err := s.Nouns(ctx, 0, kind)
		if err != nil {
			return err
		}
		for _, n := range list {
			for try := 0; ; try++ {
				changed := false
				body, err := mapStrings(n.Body, func(s string) (any, error) {
					if !seal.Sealed(s) {
						return s, nil
					}
					text, err := box.Open(string(kind), s)
					if err != nil {
						return s, nil // somebody's words that begin so, or of a key that is lost
					}
					changed = true
					return box.Seal(string(kind), text), nil
				})
				if err != nil {
					return fault.New(fault.Corrupt, "control.Reseal", string(kind)+" "+n.Name, err)
				}
				if !changed {
					break
				}
				n.Body = body
				if _, err = s.SetNoun(ctx, n); err == nil {
					break
				}
				if !fault.Is(err, fault.Changed) || try > 10 {
					return err
				}
				if n, err = s.Noun(ctx, n.Tenant, kind, n.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// mapStrings replaces every text in a body by what f says.
func mapStrings(body json.RawMessage, f func(text string) (any, error)) (json.RawMessage, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	var walk func(v any) (any, error)
	walk = func(v any) (_ any, err error) {
		switch t := v.(type) {
		case string:
			return f(t)
		case []any:
			for i := range t {
				if t[i], err = walk(t[i]); err != nil {
					return nil, err
				}
			}
		case map[string]any:
			for k := range t {
				if t[k], err = walk(t[k]); err != nil {
					return nil, err
				}
			}
		}
		return v, nil
	}
	v, err := walk(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
