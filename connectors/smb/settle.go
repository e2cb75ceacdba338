package smb

import (
	"context"
	"strings"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// How a file is open.
type opened uint8

const (
	openUnknown opened = iota // it cannot be found out
	openBusy                  // somebody has it open
	openNobody                // nobody has
)

// exclusive finds out whether anybody has the file open, by renaming it to the
// name that it has: the library opens it for that so that it shares it with
// nobody, and the rename itself changes nothing.
func (d *Driver) exclusive(ctx context.Context, op, key string) (opened, error) {
	if d.readOnly || d.selfMoves.Load() {
		return openUnknown, nil
	}
	path := d.path(key)
	_, err := do(ctx, d, op, key, nil, func(sh *smb2.Share) (struct{}, error) { return struct{}{}, sh.Rename(path, path) })
	switch {
	case err == nil:
		return openNobody, nil
	case sharing(err):
		return openBusy, nil
	case fault.Is(err, fault.NotFound, fault.Unavailable, fault.Throttled) || fault.Canceled(err):
		return openUnknown, err
	}
	return openUnknown, nil
}

// Of Settled.
const (
	// young is how old the last change must be by the server's clock, so that the
	// next has another time: two ticks of the coarsest clock (Windows: 15.6 ms),
	// and what we may be wrong about that clock.
	young      = 250 * time.Millisecond
	tempFactor = 5 // by which a temporary name lengthens the window
	minWait    = 25 * time.Millisecond
)

// Settled says whether nobody has the file open. Where that cannot be found out
// (a read-only grant, no right to rename) it is whether the file stood still for
// the unit's window. What did not change for the unit's SettleMax is settled
// even if somebody keeps it open.
func (d *Driver) Settled(ctx context.Context, i object.Info) (time.Duration, error) {
	const op = "smb.Settled"
	if i.Kind != object.Regular || i.Cold {
		return 0, ctx.Err()
	}
	st, err := d.lookup(ctx, op, i.Key)
	if err != nil {
		return 0, err
	}
	w, err := d.exclusive(ctx, op, i.Key)
	if err != nil {
		return 0, err
	}
	l, err := d.session(ctx, op, i.Key)
	if err != nil {
		return 0, err
	}
	age := d.age(st, l.session)
	l.release()
	switch {
	case age >= d.settleMax:
		return 0, nil
	case w != openBusy && age < -young: // set by somebody, to what no write repeats
		return 0, nil
	case w == openBusy:
		return min(max(age, minWait), d.settle), nil
	case w == openNobody:
		return max(0, young-age), nil
	}
	window := d.settle
	if tempName(i.Key) {
		window *= tempFactor
	}
	return max(0, window-age, young-age), nil
}

// age is how long ago the file changed, by the server's clock.
func (d *Driver) age(st stat, s *session) time.Duration {
	return time.Since(st.moved()) + s.wire.clock()
}

// tempName knows conventions for files that are not complete yet. A name is no
// hiding place: it never stops a scan.
func tempName(key string) bool {
	for _, suffix := range [...]string{".part", ".filepart", ".tmp", ".crdownload"} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	return false
}
