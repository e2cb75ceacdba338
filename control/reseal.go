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
				body, changed, err := mapSealed(n.Body, func(sealed string) (string, error) {
					text, err := box.Open(string(kind), sealed)
					return box.Seal(string(kind), text), err
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

// mapSealed replaces every sealed text in a body; changed if there was one.
func mapSealed(body json.RawMessage, f func(sealed string) (string, error)) (out json.RawMessage, changed bool, err error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, false, err
	}
	var walk func(v any) (any, error)
	walk = func(v any) (any, error) {
		switch t := v.(type) {
		case string:
			if seal.Sealed(t) {
				changed = true
				return f(t)
			}
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
	if v, err = walk(v); err != nil || !changed {
		return body, false, err
	}
	out, err = json.Marshal(v)
	return out, true, err
}
