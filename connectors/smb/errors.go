package smb

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
)

// NTSTATUS values, [MS-ERREF] 2.3.1, that more than the table knows.
const (
	statusSharing  = 0xC0000043 // somebody has it open
	statusNotEmpty = 0xC0000101
)

// statuses is what a server's answer means to a caller, and its words where
// those of the library do not help. Not found, exists and access denied come
// from the library as the errors of package os.
var statuses = map[uint32]struct {
	kind   fault.Kind
	reason string
	words  string
}{
	0xC000000F:     {fault.NotFound, "", "no such file"},
	0xC00000BA:     {fault.NotFound, "", "it is a folder"},
	0xC0000103:     {fault.NotFound, "", "a part of the path is no folder"},
	0xC00000CC:     {fault.NotFound, "", "the server has no such share"},
	statusNotEmpty: {fault.Exists, "", "the folder is not empty"},

	0xC000000D: {fault.Invalid, "", "the server takes no such parameter"},
	0xC0000033: {fault.Invalid, "", "the server cannot hold such a name"},
	0xC0000039: {fault.Invalid, "", "the server cannot hold such a path"},
	0xC000003B: {fault.Invalid, "", "the server cannot hold such a path"},
	0xC0000106: {fault.Invalid, "", "the name is too long for the server"},

	0xC000006D: {fault.Denied, "", "wrong user or password"},
	0xC000006E: {fault.Denied, "", "the account is restricted"},
	0xC000006F: {fault.Denied, "", "the account may not log in at this hour"},
	0xC0000070: {fault.Denied, "", "the account may not log in from here"},
	0xC0000071: {fault.Denied, "", "the password has expired"},
	0xC0000072: {fault.Denied, "", "the account is disabled"},
	0xC000015B: {fault.Denied, "", "the account may not log in over the network"},
	0xC0000193: {fault.Denied, "", "the account has expired"},
	0xC0000224: {fault.Denied, "", "the password must be changed"},
	0xC0000234: {fault.Denied, "", "the account is locked out"},
	0xC00000A2: {fault.Denied, "access_denied", "the medium is write-protected"},
	0xC0000906: {fault.Denied, "access_denied", "the server's own virus scanner blocks it"},
	0xC0000907: {fault.Denied, "access_denied", "the server's own virus scanner deleted it"},

	statusSharing: {fault.Unavailable, "", "busy: somebody has it open"},
	0xC0000054:    {fault.Unavailable, "", "busy: somebody has locked a part of it"},
	0xC0000055:    {fault.Unavailable, "", "busy: somebody has locked a part of it"},
	0xC0000056:    {fault.Unavailable, "", "it is being deleted"},
	0xC0000044:    {fault.Unavailable, "", "the quota is used up"},
	0xC000007F:    {fault.Unavailable, "", "the disk is full"},
	0xC000009A:    {fault.Unavailable, "", "the server is short of resources"},
	0xC000009C:    {fault.Unavailable, "", "the disk cannot be read"},
	0xC00000B5:    {fault.Unavailable, "", "the server's device timed out"},
	0xC0000185:    {fault.Unavailable, "", "the server's device failed"},
	0xC0000467:    {fault.Unavailable, "", "the file is not available at the moment"},
	0xC00000D0:    {fault.Throttled, "", "the server takes no more requests"},
	0xC0000205:    {fault.Throttled, "", "the server is short of resources"},

	0xC0000010: {fault.Unsupported, "", "the server cannot do that"},
	0xC00000BB: {fault.Unsupported, "", "the server cannot do that"},
	0xC00000D4: {fault.Unsupported, "", "it is on another volume, mounted inside the unit: make that a unit of its own"},
	0xC0000257: {fault.Unsupported, "not_regular", "it lies behind a DFS link, which is not followed: make the server it leads to a unit of its own"},
	0x8000002D: {fault.Unsupported, "not_regular", "a link lies on the way, which is not followed"},
	0xC0000279: {fault.Unsupported, "not_regular", "it is a reparse point that the server cannot resolve"},
	0xC0000280: {fault.Unsupported, "not_regular", "it is a reparse point that the server cannot resolve"},
}

// lost are the answers after which a session is of no more use.
var lost = map[uint32]bool{
	0xC0000008: true, // invalid handle
	0xC0000128: true, // file closed
	0xC00000C9: true, // network name deleted
	0xC0000203: true, // user session deleted
	0xC000035C: true, // network session expired
}

func status(err error) uint32 {
	if r := new(smb2.ResponseError); errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// sharing reports whether err says that somebody has the file open.
func sharing(err error) bool { return status(err) == statusSharing }

// broken reports whether err is about the session, not about what was asked.
func broken(err error) bool {
	if lost[status(err)] {
		return true
	}
	var transport *smb2.TransportError
	var ended *smb2.ContextError
	var answer *smb2.InvalidResponseError
	var netErr net.Error
	return errors.As(err, &transport) || errors.As(err, &ended) || errors.As(err, &answer) || errors.As(err, &netErr)
}

// wrap gives an error of the library its Kind. The end of a context and errors
// that have a Kind pass through.
func wrap(op, on string, err error) error {
	if err == nil || fault.KindOf(err) != fault.Other || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &fault.Error{Op: op, On: on, Err: err}
	if s, ok := statuses[status(err)]; ok {
		e.Kind, e.Reason, e.Err = s.kind, s.reason, &worded{s.words, err}
		return e
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.Kind = fault.NotFound
	case errors.Is(err, os.ErrExist):
		e.Kind = fault.Exists
	case errors.Is(err, os.ErrPermission):
		e.Kind, e.Reason = fault.Denied, "access_denied"
	case broken(err):
		e.Kind = fault.Unavailable
	}
	return e
}

// A worded is an error with words of ours before it.
type worded struct {
	words string
	err   error
}

// Error returns our words and the cause's.
func (w *worded) Error() string { return w.words + ": " + w.err.Error() }

// Unwrap returns the cause.
func (w *worded) Unwrap() error { return w.err }

// changed is the error of a version that is not the one named.
func changed(op, key, what string) error {
	return fault.New(fault.Changed, op, short(key), errors.New(what))
}

// notRegular is the error of reading or changing what is no regular file.
func notRegular(op, key string) error {
	return &fault.Error{Op: op, On: short(key), Kind: fault.Unsupported, Reason: "not_regular", Err: errors.New("a link, junction, DFS link or other reparse point, which is not followed")}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
