package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/internal/seal"
	"github.com/landwaiter/landwaiter/ledger"
)

// An ExportRequest says what goes into an archive. Storages, accounts, groups,
// pools, workflows and schedules always do.
type ExportRequest struct {
	SMTP, Notifications, Retention bool
	Password                       string // "" = no secrets
}

// Settings by what an export asks for; what is not here is the installation's own.
const (
	SettingSMTP          = "smtp"
	SettingNotifications = "notifications"
	SettingRetention     = "retention"
)

func (r ExportRequest) takes(n ledger.Noun) bool {
	switch {
	case n.Managed:
		return false // it stands in the configuration file
	case n.Kind == ledger.Setting:
		return n.Name == SettingSMTP && r.SMTP || n.Name == SettingNotifications && r.Notifications || n.Name == SettingRetention && r.Retention
	case n.Kind == ledger.Logger:
		return r.Notifications
	}
	return true
}

const secretKey = "$secret"

// Export writes the caller's configuration into an archive.
func (c *Control) Export(ctx context.Context, r ExportRequest) ([]byte, error) {
	return get(ctx, c, act{action: "configuration.export", detail: map[bool]string{true: "without secrets", false: "with secrets"}[r.Password == ""]},
		func(ctx context.Context, who account.Caller) ([]byte, error) {
			if r.Password != "" {
				if !who.May(account.System) { // it has the secrets in it
					return nil, fault.New(fault.Denied, "control.Export", "", errRefused)
				}
				if err := account.CheckPassword(r.Password, ""); err != nil {
					return nil, err
				}
			}
			a := archived{Made: time.Now().UTC(), Nouns: []archivedNoun{}}
			for _, kind := range kinds {
				list, err := c.Store.Nouns(ctx, who.Tenant, kind)
				if err != nil {
					return nil, err
				}
				for _, n := range list {
					if !r.takes(n) {
						continue
					}
					body, err := c.reveal(n, r.Password != "")
					if err != nil {
						return nil, err
					}
					an := archivedNoun{ID: n.ID.String(), Kind: string(n.Kind), Name: n.Name, Disabled: n.Disabled, Body: body}
					if n.Parent != (ledger.ID{}) {
						an.Parent = n.Parent.String()
					}
					a.Nouns = append(a.Nouns, an)
				}
			}
			return pack(ctx, a, r.Password)
		})
}

// reveal is a noun's body with its secrets open, or left out, and marked.
func (c *Control) reveal(n ledger.Noun, secrets bool) (json.RawMessage, error) {
	return mapStrings(n.Body, func(s string) (any, error) {
		if !seal.Sealed(s) {
			return s, nil
		}
		if !secrets {
			return map[string]any{secretKey: nil}, nil
		}
		text, err := c.Seal.Open(string(n.Kind), s)
		if err != nil {
			return s, nil // somebody's words that begin so, or of a key that is lost
		}
		return map[string]any{secretKey: text}, nil
	})
}

// conceal is reveal the other way. A secret that was left out stays what it is
// in old, the noun's body before, nil if there is none; but only if all else is as
// it was: a secret does not go to another place.
func (c *Control) conceal(kind ledger.Kind, body, old json.RawMessage) (json.RawMessage, error) {
	if old != nil && !alike(body, old) {
		old = nil
	}
	var v, before any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if old != nil {
		if err := json.Unmarshal(old, &before); err != nil {
			return nil, err
		}
	}
	var walk func(v, old any) any
	walk = func(v, old any) any {
		switch t := v.(type) {
		case []any:
			was, _ := old.([]any)
			for i := range t {
				var o any
				if i < len(was) {
					o = was[i]
				}
				t[i] = walk(t[i], o)
			}
		case map[string]any:
			if secret, ok := t[secretKey]; ok && len(t) == 1 {
				if text, ok := secret.(string); ok {
					return c.Seal.Seal(string(kind), text)
				}
				if s, ok := old.(string); ok && seal.Sealed(s) {
					return s
				}
				return ""
			}
			was, _ := old.(map[string]any)
			for k := range t {
				t[k] = walk(t[k], was[k])
			}
		}
		return v
	}
	return json.Marshal(walk(v, before))
}

// alike reports whether two bodies are the same but for their secrets.
func alike(body, old json.RawMessage) bool {
	var a, b any
	if json.Unmarshal(body, &a) != nil || json.Unmarshal(old, &b) != nil {
		return false
	}
	return reflect.DeepEqual(bare(a), bare(b))
}

// bare replaces what is sealed, or marked as a secret, by nothing.
func bare(v any) any {
	switch t := v.(type) {
	case string:
		if seal.Sealed(t) {
			return nil
		}
	case []any:
		for i := range t {
			t[i] = bare(t[i])
		}
	case map[string]any:
		if _, secret := t[secretKey]; secret && len(t) == 1 {
			return nil
		}
		for k := range t {
			t[k] = bare(t[k])
		}
	}
	return v
}

// An Imported says what an import brought.
type Imported struct {
	Added, Changed           int
	SMTP, Retention, Notices bool
}

// Import takes an archive's nouns over: those with a name that the caller has
// already replace them, the others are new. All of it, or nothing.
func (c *Control) Import(ctx context.Context, data []byte, password string) (Imported, error) {
	return get(ctx, c, act{action: "configuration.import"}, func(ctx context.Context, who account.Caller) (r Imported, err error) {
		a, err := unpack(ctx, data, password)
		if err != nil {
			return r, err
		}
		list, err := c.taken(ctx, who.Tenant, a)
		if err != nil {
			return r, err
		}
		for _, n := range list {
			if err := c.checkImported(ctx, who, n); err != nil {
				return r, err
			}
		}
		c.changing.Lock()
		defer c.changing.Unlock()
		before, added, err := c.replace(ctx, list)
		if err == nil {
			err = c.apply(ctx)
		}
		if err != nil {
			undo := context.WithoutCancel(ctx)
			return r, errors.Join(err, c.restoreNouns(undo, before, added), c.apply(undo))
		}
		for _, n := range list {
			r.SMTP = r.SMTP || n.Kind == ledger.Setting && n.Name == SettingSMTP
			r.Retention = r.Retention || n.Kind == ledger.Setting && n.Name == SettingRetention
			r.Notices = r.Notices || n.Kind == ledger.Setting && n.Name == SettingNotifications
		}
		r.Added, r.Changed = len(added), len(before)
		return r, nil
	})
}

// taken turns an archive into nouns of a tenant. Ids that it cannot have there
// become others, wherever they are named.
func (c *Control) taken(ctx context.Context, tenant int64, a archived) ([]ledger.Noun, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "control.Import", "", fmt.Errorf("%w: "+format, append([]any{ErrArchiveContent}, args...)...))
	}
	known := map[string]ledger.Noun{} // of the tenant, by kind and name
	ids := map[ledger.ID]bool{}       // of all tenants
	units, err := c.Store.Units(ctx)  // those of the configuration file, and what is gone
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		ids[u.Client] = true
	}
	for _, kind := range kinds {
		list, err := c.Store.Nouns(ctx, 0, kind)
		if err != nil {
			return nil, err
		}
		for _, n := range list {
			ids[n.ID] = true
			if n.Tenant == tenant {
				known[string(kind)+"\x00"+n.Name] = n
			}
		}
	}
	var list []ledger.Noun
	var turn []string // ids and what they become
	seen := map[string]bool{}
	for _, an := range a.Nouns {
		n := ledger.Noun{Tenant: tenant, Kind: ledger.Kind(an.Kind), Name: an.Name, Disabled: an.Disabled, Body: an.Body}
		place := an.Kind + "\x00" + an.Name
		if !slices.Contains(kinds, n.Kind) || seen[place] {
			return nil, bad("%s %q", an.Kind, clip(an.Name))
		}
		seen[place] = true
		if _, err := named("control.Import", an.Name, maxName); err != nil {
			return nil, bad("%s: %w", an.Kind, err)
		}
		if n.Kind == ledger.Setting && !(ExportRequest{SMTP: true, Notifications: true, Retention: true}).takes(n) {
			return nil, bad("the setting %q", clip(an.Name))
		}
		if err := n.ID.UnmarshalText([]byte(an.ID)); err != nil {
			return nil, bad("an id of %s", an.Kind)
		}
		old := n.ID
		if _, there := known[place]; !there && n.Kind == ledger.Unit {
			if _, err := c.storageName(ctx, ledger.Noun{Tenant: tenant}, an.Name); err != nil {
				return nil, err
			}
		}
		if k, ok := known[place]; ok {
			if k.Managed {
				return nil, fault.New(fault.Denied, "control.Import", an.Kind+" "+an.Name, errManaged)
			}
			n.ID, n.Rev, n.Created = k.ID, k.Rev, k.Created
		} else if ids[n.ID] {
			n.ID = ledger.NewID()
		}
		if old != n.ID {
			turn = append(turn, old.String(), n.ID.String())
		}
		if an.Parent != "" {
			if err := n.Parent.UnmarshalText([]byte(an.Parent)); err != nil {
				return nil, bad("the parent of %s %q", an.Kind, clip(an.Name))
			}
		}
		list = append(list, n)
	}
	r := strings.NewReplacer(turn...)
	for i := range list {
		n := &list[i]
		body, err := c.conceal(n.Kind, json.RawMessage(r.Replace(string(n.Body))), known[string(n.Kind)+"\x00"+n.Name].Body)
		if err != nil {
			return nil, bad("%s %q", n.Kind, clip(n.Name))
		}
		n.Body = body
		if n.Parent != (ledger.ID{}) {
			if err := n.Parent.UnmarshalText([]byte(r.Replace(n.Parent.String()))); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// replace writes nouns over those of the same id and tells what was there.
func (c *Control) replace(ctx context.Context, list []ledger.Noun) (before, added []ledger.Noun, err error) {
	for _, n := range list {
		if n.Rev == 0 {
			if n, err = c.Store.AddNoun(ctx, n); err != nil {
				return before, added, err
			}
			added = append(added, n)
			continue
		}
		old, err := c.Store.Noun(ctx, n.Tenant, n.Kind, n.ID)
		if err != nil {
			return before, added, err
		}
		if _, err = c.Store.SetNoun(ctx, n); err != nil {
			return before, added, err
		}
		before = append(before, old)
	}
	return before, added, nil
}

// restoreNouns undoes replace.
func (c *Control) restoreNouns(ctx context.Context, before, added []ledger.Noun) error {
	var errs []error
	for _, n := range added {
		errs = append(errs, c.Store.DeleteNoun(ctx, n.Tenant, n.Kind, n.ID))
	}
	for _, n := range before {
		n.Rev++
		_, err := c.Store.SetNoun(ctx, n)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
