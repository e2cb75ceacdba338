package control

import (
	"context"
	"iter"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
)

// Sources tells how sources and hooks go. fault.Unavailable where no daemon runs.
func (c *Control) Sources(ctx context.Context) ([]Feed, error) {
	if err := Allowed(ctx, "source.list"); err != nil {
		return nil, err
	}
	if who, _ := account.From(ctx); who.Tenant != account.DefaultTenant {
		return nil, nil // they are the configuration file's
	}
	if c.Feeds == nil {
		return nil, noDaemon("source list")
	}
	return c.Feeds(), nil
}

// Messages lists dead letters, the newest first; of one source, or of all for "".
func (c *Control) Messages(ctx context.Context, source string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if err := Allowed(ctx, "letter.list"); err != nil {
			yield(Message{}, err)
			return
		}
		if who, _ := account.From(ctx); who.Tenant != account.DefaultTenant {
			return
		}
		for after := (ledger.ID{}); ; {
			list, err := c.Store.Letters(ctx, source, after, page)
			if err != nil {
				yield(Message{}, err)
				return
			}
			for _, l := range list {
				m := Message{ID: l.ID.String(), Time: l.At, Source: l.Source, Tries: l.Tries, Why: l.Why,
					Vendor: object.FormatKey(l.Message), Body: object.FormatKey(string(l.Body))}
				if !yield(m, nil) {
					return
				}
				after = l.ID
			}
			if len(list) < page {
				return
			}
		}
	}
}

// DropMessage forgets a dead letter. fault.NotFound if there is none of the id.
func (c *Control) DropMessage(ctx context.Context, id string) (Effect, error) {
	return get(ctx, c, act{action: "letter.drop", target: clip(id)}, func(ctx context.Context, _ account.Caller) (Effect, error) {
		lid, err := parseID(id)
		if err != nil {
			return Effect{}, err
		}
		return Effect{ID: id, State: "done", Detail: "forgotten"}, c.Store.DropLetter(ctx, lid)
	})
}
