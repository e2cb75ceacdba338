// Package quarantine keeps objects that must not lie where they were found:
// under opaque names in a unit of its own, masked so that no scanner bites and
// nobody runs them, with all that is needed to give them back byte for byte.
package quarantine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/remediation"
)

// Suffix is what the keys of items end in.
const Suffix = ".lwq"

// A Storage is what a vault, and a place to restore to, needs of an open unit;
// *connectors.Storage is one.
type Storage interface {
	Caps() connectors.Caps
	List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error]
	Stat(ctx context.Context, ref object.Ref) (object.Info, error)
	Open(ctx context.Context, ref object.Ref, offset int64) (connectors.Reader, error)
	Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (object.Info, error)
	Remove(ctx context.Context, ref object.Ref, f connectors.Fence) (connectors.Removed, error)
}

// A Vault is a quarantine. It is safe for concurrent use.
type Vault struct {
	unit string
	at   Storage
}

// New returns the vault in the unit of that name.
func New(unit string, at Storage) *Vault { return &Vault{unit, at} }

// An Item names a kept object: by its key in the vault and, where known, the
// version that Store or List told ("" = the current one).
type Item struct {
	Key     string
	Version string
}

// name returns a name for a temporary file, the same for each try.
func (it Item) name(what string) string {
	sum := sha256.Sum256([]byte(it.Key))
	return "lw-" + what + "-" + hex.EncodeToString(sum[:12])
}

func (v *Vault) ref(it Item) object.Ref {
	return object.Ref{Unit: v.unit, Key: it.Key, Version: it.Version}
}

// Store puts an object away and returns the version of what it wrote, durable.
// r must yield exactly c.Size bytes or fail. If the same object of the same entry
// is there already, intact, that is it; a damaged file of that name is replaced,
// since the object it should hold is still at hand.
func (v *Vault) Store(ctx context.Context, c remediation.Caught, r io.Reader) (version string, err error) {
	h := Header{Entry: c.Entry, Unit: c.Unit, Key: []byte(c.Key), Version: c.Version, Size: c.Size, SHA256: c.SHA256,
		ContentType: c.ContentType, ModTime: c.ModTime, Meta: c.Meta, Tags: c.Tags, Verdict: c.Verdict, Threat: c.Threat,
		At: c.At.UTC(), Expiry: c.Expiry.UTC()}
	replace := ""
	there, err := v.at.Stat(ctx, object.Ref{Unit: v.unit, Key: c.Name})
	switch {
	case err == nil:
		kept, err := v.verify(ctx, Item{c.Name, there.Version})
		switch {
		case fault.Is(err, fault.Corrupt):
			replace = there.Version
		case err != nil:
			return "", err
		case kept.Entry != c.Entry || !bytes.Equal(kept.SHA256, c.SHA256):
			return "", fault.New(fault.Exists, "quarantine.Store", c.Name, errors.New("another object is kept under this name"))
		default:
			return there.Version, nil
		}
	case !fault.Is(err, fault.NotFound):
		return "", err
	}
	head, err := h.encode()
	if err != nil {
		return "", err
	}
	body, err := h.seal(head, r)
	if err != nil {
		return "", err
	}
	info, err := v.at.Put(ctx, c.Name, body, connectors.PutOptions{IfVersion: replace, Size: h.length(head),
		ContentType: "application/octet-stream", TempName: c.TempName})
	if fault.Is(err, fault.Exists, fault.Changed) {
		// Somebody writes the same item at the same time: look again later.
		return "", fault.New(fault.Unavailable, "quarantine.Store", c.Name, err)
	}
	if err != nil {
		return "", err
	}
	return info.Version, nil
}

// Header reads what is known of an item without its content. It is as it was
// written only if Open says so.
func (v *Vault) Header(ctx context.Context, it Item) (Header, error) {
	in, err := v.at.Open(ctx, v.ref(it), 0)
	if err != nil {
		return Header{}, err
	}
	defer in.Close()
	o, err := unseal(in)
	if err != nil {
		return Header{}, err
	}
	return o.Header, nil
}

// Open verifies the whole item and then opens the original content. Reading it
// fails with fault.Corrupt or fault.Changed, before the end, if the item is
// changed meanwhile.
func (v *Vault) Open(ctx context.Context, it Item) (io.ReadCloser, Header, error) {
	o, err := v.open(ctx, it)
	if err != nil {
		return nil, Header{}, err
	}
	return o, o.Header, nil
}

func (v *Vault) open(ctx context.Context, it Item) (*content, error) {
	if it.Version == "" {
		info, err := v.at.Stat(ctx, v.ref(it))
		if err != nil {
			return nil, err
		}
		it.Version = info.Version
	}
	if _, err := v.verify(ctx, it); err != nil {
		return nil, err
	}
	in, err := v.at.Open(ctx, v.ref(it), 0)
	if err != nil {
		return nil, err
	}
	o, err := unseal(in)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return &content{o, in}, nil
}

type content struct {
	*opened
	io.Closer
}

// verify reads an item to its end.
func (v *Vault) verify(ctx context.Context, it Item) (Header, error) {
	in, err := v.at.Open(ctx, v.ref(it), 0)
	if err != nil {
		return Header{}, err
	}
	defer in.Close()
	o, err := unseal(in)
	if err != nil {
		return Header{}, err
	}
	if _, err := io.Copy(io.Discard, o); err != nil {
		return Header{}, err
	}
	return o.Header, nil
}

// A Restored object is what Restore wrote.
type Restored struct {
	Header
	Info object.Info
}

// Restore writes the original bytes, with content type, metadata and, where the
// unit has such, tags, to key in to. Nothing is replaced: fault.Exists if another
// object is there; the same bytes there count as restored. sum is the SHA-256
// that the ledger knows of the object (nil: take the item's word); an item with
// another is refused as fault.Corrupt. The item stays until it is purged.
//
// Whoever calls it makes the allowance for the hash durable before: the object
// is scanned again as soon as it appears.
func (v *Vault) Restore(ctx context.Context, it Item, sum []byte, to Storage, unit, key string) (Restored, error) {
	in, err := v.open(ctx, it)
	if err != nil {
		return Restored{}, err
	}
	defer in.Close()
	h := in.Header
	if sum != nil && !bytes.Equal(sum, h.SHA256) {
		return Restored{}, fault.New(fault.Corrupt, "quarantine.Restore", it.Key, errors.New("the item holds another object than the ledger says"))
	}
	if caps := to.Caps(); !caps.FencedPut {
		return Restored{}, fault.New(fault.Unsupported, "quarantine.Restore", unit, errors.New("the unit cannot create an object without the risk of replacing one"))
	}
	opt := connectors.PutOptions{Size: h.Size, SHA256: h.SHA256, ContentType: h.ContentType, Meta: h.Meta,
		TempName: it.name("restore")}
	if to.Caps().Tag {
		opt.Tags = h.Tags
	}
	info, err := to.Put(ctx, key, in, opt)
	if in.err != nil && in.err != io.EOF {
		return Restored{}, in.err // counts before what the target made of it
	}
	if fault.Is(err, fault.Exists) {
		return v.restored(ctx, h, to, object.Ref{Unit: unit, Key: key}, err)
	}
	if err != nil {
		return Restored{}, err
	}
	return Restored{h, info}, nil
}

// restored looks whether the object is there already, from a run that crashed.
func (v *Vault) restored(ctx context.Context, h Header, to Storage, at object.Ref, exists error) (Restored, error) {
	info, err := to.Stat(ctx, at)
	if err != nil || info.Size != h.Size {
		return Restored{}, exists
	}
	at.Version = info.Version
	in, err := to.Open(ctx, at, 0)
	if err != nil {
		return Restored{}, exists
	}
	defer in.Close()
	if sum, err := sumOf(in, h.Size); err != nil || !bytes.Equal(sum, h.SHA256) {
		return Restored{}, exists
	}
	return Restored{h, info}, nil
}

// Purge removes an item for good. An item that is gone already is no error.
func (v *Vault) Purge(ctx context.Context, it Item) error {
	if it.Version == "" {
		info, err := v.at.Stat(ctx, v.ref(it))
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		it.Version = info.Version
	}
	in, err := v.at.Open(ctx, v.ref(it), 0)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	size := in.Info().Size
	sum, err := sumOf(in, size)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	_, err = v.at.Remove(ctx, v.ref(it), connectors.Fence{Aside: it.name("purge"), SHA256: sum})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// List yields the items, in byte order of their keys.
func (v *Vault) List(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for info, err := range v.at.List(ctx, "", "") {
			if err != nil {
				yield(Item{}, err)
				return
			}
			if info.Kind == object.Regular && strings.HasSuffix(info.Key, Suffix) && !yield(Item{info.Key, info.Version}, nil) {
				return
			}
		}
	}
}

// PurgeExpired removes the items whose expiry is before now and returns their
// number. An item that cannot be read is kept: it may be all that is left.
func (v *Vault) PurgeExpired(ctx context.Context, now time.Time) (purged int, err error) {
	var errs []error
	for it, err := range v.List(ctx) {
		if err != nil {
			errs = append(errs, err)
			break
		}
		h, err := v.Header(ctx, it)
		if err == nil && (h.Expiry.IsZero() || !h.Expiry.Before(now)) || fault.Is(err, fault.NotFound, fault.Changed) {
			continue
		}
		if err == nil {
			_, err = v.verify(ctx, it) // a damaged date must not be what removes it
		}
		if err == nil {
			err = v.Purge(ctx, it)
		}
		if ctx.Err() != nil {
			return purged, ctx.Err()
		}
		if err == nil {
			purged++
		} else if len(errs) < 10 {
			errs = append(errs, fmt.Errorf("%s: %w", it.Key, err))
		}
	}
	return purged, errors.Join(errs...)
}
