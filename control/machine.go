package control

import (
	"context"
	"errors"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
)

// Onboarding is how far the first steps of an installation are.
type Onboarding struct {
	EULA     time.Time `json:"eula,omitzero"`
	Done     time.Time `json:"done,omitzero"`
	User     bool      `json:"-"`
	Storage  bool      `json:"-"`
	Instance bool      `json:"-"`
}

// The names of settings.
const (
	settingOnboarding = "onboarding"
	settingOCM        = "ocm"
)

// Onboarding tells how far the first steps are; anybody may ask.
func (c *Control) Onboarding(ctx context.Context) (Onboarding, error) {
	return get(ctx, c, act{action: "onboarding.look"}, func(ctx context.Context, _ account.Caller) (Onboarding, error) {
		o, err := setting[Onboarding](ctx, c, account.DefaultTenant, settingOnboarding)
		if err != nil {
			return o, err
		}
		users, err := c.Store.Users(ctx, account.DefaultTenant)
		if err != nil {
			return o, err
		}
		units, err := c.Store.Units(ctx)
		if err != nil {
			return o, err
		}
		for _, u := range units {
			o.Storage = o.Storage || !u.Disabled && u.Name != QuarantineUnit
		}
		for _, u := range users {
			o.User = o.User || u.Role.May(account.Own)
		}
		if c.Engines != nil {
			o.Instance = len(c.Engines.Status()) > 0
		}
		return o, nil
	})
}

// Onboard notes that the licence terms were read, or that the first steps are done.
func (c *Control) Onboard(ctx context.Context, eula bool) error {
	return c.do(ctx, act{action: "onboarding.go", detail: map[bool]string{true: "eula", false: "done"}[eula]}, func(ctx context.Context, who account.Caller) error {
		return changeSetting(ctx, c, account.DefaultTenant, settingOnboarding, func(o *Onboarding) error {
			if eula {
				o.EULA = time.Now().UTC()
			} else {
				o.Done = time.Now().UTC()
			}
			return nil
		})
	})
}

// OCM is what a central management was told of us, and we of it. It is kept and
// answered; nothing is ever called.
type OCM struct {
	Enrolled  time.Time `json:"enrolled,omitzero"`
	Server    string    `json:"server,omitempty"`
	Name      string    `json:"name,omitempty"`
	Managed   bool      `json:"managed,omitempty"`
	ManagedBy string    `json:"managed_by,omitempty"`
}

// OCM tells the state of enrolment.
func (c *Control) OCM(ctx context.Context) (OCM, error) {
	return get(ctx, c, act{action: "ocm.look"}, func(ctx context.Context, _ account.Caller) (OCM, error) {
		return setting[OCM](ctx, c, account.DefaultTenant, settingOCM)
	})
}

// SetOCM changes the state of enrolment.
func (c *Control) SetOCM(ctx context.Context, what string, f func(o *OCM)) error {
	return c.do(ctx, act{action: "ocm.set", detail: what}, func(ctx context.Context, _ account.Caller) error {
		return changeSetting(ctx, c, account.DefaultTenant, settingOCM, func(o *OCM) error { f(o); return nil })
	})
}

// License checks that the caller may ask about a licence, and notes that one
// was offered: none is needed, so nothing is kept.
func (c *Control) License(ctx context.Context, offered string) error {
	action := "license.look"
	if offered != "" {
		action = "license.offer"
	}
	return c.do(ctx, act{action: action, detail: offered}, func(context.Context, account.Caller) error { return nil })
}

// A Keeper keeps the key that seals secrets.
type Keeper interface {
	// Rotate makes a new key and seals with it what the old one sealed.
	Rotate(ctx context.Context) error
	// Made is when the key in use was first used.
	Made(ctx context.Context) (time.Time, error)
}

// RotateKey makes a new encryption key. fault.Unsupported where the key is given
// by the configuration, or shared by nodes.
func (c *Control) RotateKey(ctx context.Context) error {
	return c.do(ctx, act{action: "encryption.rotate"}, func(ctx context.Context, _ account.Caller) error {
		if c.Keeper == nil {
			return fault.New(fault.Unsupported, "control.RotateKey", "", errors.New("no daemon runs on this data folder"))
		}
		c.changing.Lock()
		defer c.changing.Unlock()
		return c.Keeper.Rotate(ctx)
	})
}

// KeyMade is when the encryption key in use was made.
func (c *Control) KeyMade(ctx context.Context) (time.Time, error) {
	return get(ctx, c, act{action: "encryption.look"}, func(ctx context.Context, _ account.Caller) (time.Time, error) {
		if c.Keeper == nil {
			return time.Time{}, fault.New(fault.Unsupported, "control.KeyMade", "", errors.New("no daemon runs on this data folder"))
		}
		return c.Keeper.Made(ctx)
	})
}

// A Part is something that health looks at.
type Part struct {
	Name     string
	Advisory bool // others can do without it
	Err      error
}

// Health tells whether the daemon works, and, to whom may look, its parts.
func (c *Control) Health(ctx context.Context) (ok bool, parts []Part, err error) {
	err = c.do(ctx, act{action: "health.look"}, func(ctx context.Context, who account.Caller) error {
		ok = true
		if c.Checks == nil {
			return nil
		}
		for _, p := range c.Checks(ctx) {
			ok = ok && (p.Err == nil || p.Advisory)
			if who.May(account.Read) {
				parts = append(parts, p)
			}
		}
		return nil
	})
	return ok, parts, err
}
