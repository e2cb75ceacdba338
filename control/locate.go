package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// tryWithin bounds the proof that a storage can be reached.
const tryWithin = 20 * time.Second

// locate finds out where a storage is, and proves that it can be listed.
func (c *Control) locate(ctx context.Context, who account.Caller, n ledger.Noun, body *UnitBody, s StorageSpec) (*connectors.Unit, error) {
	v, err := sameVendor(s.Vendor, n.Rev > 0, body.Vendor)
	if err != nil {
		return nil, err
	}
	body.Vendor, body.Protocol = v.Number, v.Protocol
	source, err := parseFields("Source", body.Source)
	if err == nil && s.Source != nil {
		var more fields
		more, err = parseFields("Source", *s.Source)
		source = source.over(more)
	}
	if err != nil {
		return nil, err
	}
	given, err := c.credentials(v, body.Given, SealUnit, s.Credentials, s.File)
	if err != nil {
		return nil, err
	}
	base, err := c.base(ctx, who, v, body.Account, given)
	if err != nil {
		return nil, err
	}
	p, err := v.in(base, source)
	if err != nil {
		return nil, err
	}
	u, err := c.tryPlace(ctx, who, n, p)
	if err != nil {
		return nil, err
	}
	body.Source, body.Given = sourceText(source), c.sealFields(SealUnit, given)
	if body.Account != (ledger.ID{}) { // the account says the rest
		p.url.RawQuery, p.options = "", nil
	}
	body.URL, body.Options = p.url.String(), sealAll(c.Seal, SealUnit, p.options)
	return u, nil
}

// sameVendor reads the vendor that is said, which must be the one there is.
func sameVendor(said *string, there bool, number int) (Vendor, error) {
	v, known := VendorOf(number)
	if said != nil {
		var err error
		if v, err = ParseVendor(*said); err != nil {
			return v, err
		}
		if there && v.Number != number {
			return v, wrongField("StorageVendorType", "cannot be changed: add another")
		}
	} else if !there || !known {
		return v, wrongField("StorageVendorType", "is needed")
	}
	return v, v.served()
}

// credentials takes what is said into what was given before. If that leads
// somewhere else, the secrets must be given anew: they are not sent to a server
// that they were not meant for.
func (c *Control) credentials(v Vendor, sealed, place string, said, file *string) (fields, error) {
	before, err := c.openFields(place, sealed)
	if err != nil {
		return nil, err
	}
	more := fields{}
	if said != nil {
		if more, err = parseFields("Credentials", *said); err != nil {
			return nil, err
		}
		delete(more, credentialsFile) // a file is uploaded
	}
	if file != nil && strings.TrimSpace(*file) != "" {
		if len(*file) > maxFields {
			return nil, wrongField("CredentialsFile", "too long")
		}
		more[credentialsFile] = *file
	}
	now := before.over(more)
	if len(before) > 0 && elsewhere(v, before, now) {
		now = before.without(v.secrets).over(more)
	}
	return now, nil
}

// elsewhere reports whether two credentials lead to different servers.
func elsewhere(v Vendor, before, now fields) bool {
	a, aerr := v.base(before)
	b, berr := v.base(now)
	return aerr != nil || berr != nil || a.url.Host != b.url.Host || a.url.Query().Get("endpoint") != b.url.Query().Get("endpoint")
}

// base is what a storage's place is in: its account, or its own credentials.
func (c *Control) base(ctx context.Context, who account.Caller, v Vendor, id ledger.ID, given fields) (place, error) {
	if id == (ledger.ID{}) {
		return v.base(given)
	}
	n, err := c.Store.Noun(ctx, who.Tenant, ledger.Account, id)
	if err != nil {
		return place{}, err
	}
	a, err := decode[AccountBody](n)
	if err != nil {
		return place{}, err
	}
	if a.Vendor != v.Number {
		return place{}, wrongField("AccountId", "the account is of another vendor")
	}
	if given, err = c.openFields(SealAccount, a.Given); err != nil {
		return place{}, err
	}
	return v.base(given)
}

// tryPlace refuses a place that may not be reached, is taken, or cannot be listed.
func (c *Control) tryPlace(ctx context.Context, who account.Caller, n ledger.Noun, p place) (*connectors.Unit, error) {
	if err := c.mayReach(ctx, who, p); err != nil {
		return nil, err
	}
	u := p.unit(n.Name)
	u.Client, u.Tenant = n.ID, n.Tenant
	if c.Connect == nil {
		return nil, noDaemon("storage")
	}
	if err := c.Connect.Check(u); err != nil {
		return nil, err
	}
	if err := c.free(ctx, u); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	return &u, unreachable(n.Name, c.Connect.Try(ctx, u))
}

// free refuses a place that another unit is in, or a part of it, or around it;
// whose that is, is not said.
func (c *Control) free(ctx context.Context, u connectors.Unit) error {
	units, err := c.served(ctx)
	if err != nil {
		return err
	}
	for _, other := range units {
		if other.Client != u.Client && len(connectors.Overlaps([]connectors.Unit{u, other})) > 0 {
			return fault.New(fault.Exists, "control.Storage", u.Name, errors.New("its place is that of another storage, or a part of it, or holds it"))
		}
	}
	return nil
}

// mayReach refuses what a caller may not have the machine do for them.
func (c *Control) mayReach(ctx context.Context, who account.Caller, p place) error {
	if p.machine && who.Tenant != account.DefaultTenant {
		return fault.New(fault.Denied, "control.Storage", "", errMachine)
	}
	return c.inReach(ctx, p)
}

// inReach refuses a place whose addresses may not be reached.
func (c *Control) inReach(ctx context.Context, p place) error {
	for _, at := range p.reach {
		if c.Reach == nil {
			break
		}
		if err := c.Reach(ctx, at); err != nil {
			return fault.New(fault.Invalid, "control.Storage", "", errors.New("the address may not be reached: "+spoken(err)))
		}
	}
	return nil
}

// unreachable is what the vendor said, as a mistake in what was given: whatever
// it was, somebody else's status is not ours.
func unreachable(name string, err error) error {
	if err == nil {
		return nil
	}
	words := spoken(err)
	if errors.Is(err, context.DeadlineExceeded) {
		words = fmt.Sprintf("no answer within %v", tryWithin)
	}
	return fault.New(fault.Invalid, "control.Storage", name, errors.New("it cannot be listed: "+words))
}

// spoken is what an error says, without the names of our own functions.
func spoken(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return cut(err.Error(), 400)
	}
	words := f.Kind.String()
	if f.Kind == fault.Other {
		words = ""
	}
	if f.Err != nil {
		if inner := spoken(f.Err); !strings.HasPrefix(inner, words) {
			words = strings.TrimPrefix(words+": "+inner, ": ")
		} else {
			words = inner
		}
	}
	return words
}
