// Package smb is the connector for shares of SMB 2 and 3 servers (Windows,
// Samba, NAS): smb://host:port/share/folder.
//
// A key is the path below the folder in the server's own spelling. Servers take
// any spelling for the same file; here only the stored one is a key, so that one
// file is one object. Links, junctions and DFS referrals are listed by their
// kind and never followed, alternate data streams are no objects.
//
// An act is bound to the version token (creation, change and write time, size)
// by a rename into the unit's private folder: the server refuses it while
// anybody has the file open, and it never replaces anything; see aside.go.
//
// The server must encrypt and sign. What leaves this machine is looked at packet
// by packet (wire.go), so that an answer that says otherwise ends the session
// before a name or a byte of content is sent.
package smb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Defaults of a unit.
const (
	defaultSettle    = 2 * time.Second
	defaultSettleMax = 15 * time.Minute
)

// Driver is an open folder of a share.
type Driver struct {
	root      string // the folder in the share: "" or ending in '/'
	where     string // for messages: //host/share/folder
	readOnly  bool
	settle    time.Duration
	settleMax time.Duration
	pool      *pool
	spelled   spellings
	degraded  atomic.Pointer[string] // what the probe found wanting
	selfMoves atomic.Bool            // renaming a file to its own name moves its token: not to be done

	acts actLocks

	mu   sync.Mutex
	work map[string]int // keys in the private folder that a running call made
}

// Open logs in to the server that the unit's URL names and looks at the folder,
// which must exist and be readable. fault.Denied: the credentials are wrong, or
// the server protects the connection less than the unit demands.
func Open(ctx context.Context, u connectors.Unit) (connectors.Driver, error) {
	const op = "smb.Open"
	o, err := parseOptions(u)
	if err != nil {
		return nil, invalid(u, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := &Driver{root: o.root, where: o.where(), readOnly: u.ReadOnly, settle: u.Settle, settleMax: u.SettleMax, pool: newPool(o), acts: newActLocks(), work: make(map[string]int)}
	if d.settle <= 0 {
		d.settle = defaultSettle
	}
	if d.settleMax <= 0 {
		d.settleMax = defaultSettleMax
	}
	if err := d.open(ctx, op); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// open is the first look. A session that cannot be had keeps the Kind that says
// why; later it is the unit that is unavailable.
func (d *Driver) open(ctx context.Context, op string) error {
	if err := d.pool.first(ctx); err != nil {
		return wrap(op, d.where, err)
	}
	if err := d.present(ctx, op); err != nil {
		return err
	}
	return d.each(ctx, op, "", func(stat) bool { return false }) // may it be listed?
}

// Close ends all sessions and waits for the calls that are under way.
func (d *Driver) Close() error {
	d.pool.close()
	return nil
}

// present returns fault.NotFound unless the unit's folder is there: one that was
// removed or renamed must not look like an empty one.
func (d *Driver) present(ctx context.Context, op string) error {
	fi, err := d.lstat(ctx, op, "")
	if fault.Is(err, fault.NotFound) || err == nil && !fi.folder() {
		return fault.New(fault.NotFound, op, d.where, errors.Join(errors.New("the unit's folder is gone, or no folder"), err))
	}
	return err
}

// Degraded says what the probe found wanting, and why no session can be had.
func (d *Driver) Degraded() error {
	var errs []error
	if what := d.degraded.Load(); what != nil {
		errs = append(errs, errors.New(*what))
	}
	if err := d.pool.lastRefusal(); err != nil {
		errs = append(errs, fmt.Errorf("no new session can be had: %w", err))
	}
	if len(errs) == 0 {
		return nil
	}
	return fault.New(fault.Unavailable, "smb.Degraded", d.where, errors.Join(errs...))
}

// path is the share's name of a key ("" = the folder itself).
func (d *Driver) path(key string) string {
	return strings.ReplaceAll(strings.TrimSuffix(d.root+key, "/"), "/", `\`)
}

// Bounds of names. Windows counts UTF-16 units.
const (
	maxName = 255
	maxPath = 32_000
)

// check returns fault.Invalid for what is no key: a path with an empty or dotted
// part, or with a part that SMB cannot hold.
func (d *Driver) check(op, key string) error {
	if len(d.root)+len(key) > maxPath {
		return fault.New(fault.Invalid, op, short(key), errors.New("the path is too long"))
	}
	for part := range strings.SplitSeq(key, "/") {
		if err := checkName(part); err != nil {
			return fault.New(fault.Invalid, op, short(key), err)
		}
	}
	return nil
}

// checkNew is check for a key that is to be made.
func (d *Driver) checkNew(op, key string) error {
	for part := range strings.SplitSeq(key, "/") {
		if device(part) {
			return fault.New(fault.Invalid, op, short(key), fmt.Errorf("%s is a device's name to DOS and Windows", short(part)))
		}
	}
	return d.check(op, key)
}

// checkName says why part is no name that SMB can hold (MS-FSCC 2.1.5.2), nil if
// it is. A server drops dots and spaces at the end, which would make one key
// name another key's file.
func checkName(part string) error {
	switch {
	case part == "" || part == "." || part == "..":
		return errors.New("not a path below the unit's folder")
	case !utf8.ValidString(part):
		return errors.New("SMB cannot hold a name that is not UTF-8")
	case strings.Contains(part, ":"):
		return errors.New("a name with ':' is an alternate data stream, which is no object here")
	case strings.ContainsAny(part, `"*<>?|\`) || strings.ContainsFunc(part, func(r rune) bool { return r < 0x20 }):
		return errors.New(`SMB cannot hold control characters and "*<>?|\ in a name`)
	case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
		return errors.New("SMB cannot hold a name that ends in a dot or a space")
	case len(part) > maxName && len(utf16.Encode([]rune(part))) > maxName:
		return fmt.Errorf("a name is longer than %d characters", maxName)
	}
	return nil
}

// device reports whether part is a name of DOS for a device, with whatever
// ending. Windows cannot hold such a name; Samba holds it and lists another.
func device(part string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(part), ".")
	switch stem {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "COM" || stem[:3] == "LPT") && stem[3] >= '1' && stem[3] <= '9'
}

// short is a key fit for an error message.
func short(key string) string {
	if len(key) > 512 {
		key = key[:512] + "…"
	}
	return object.FormatKey(key)
}
