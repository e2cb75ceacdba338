// Package connectors stands between us and every storage vendor. A Driver
// speaks to one vendor; a Storage is an open unit that adds retry, rate limit,
// grants and metrics once for all of them. What several drivers need to be made
// of is here too: Content and Body, Ahead, Location, Reply.
package connectors

import (
	"context"
	"io"
	"iter"
	"os"
	"time"

	"github.com/landwaiter/landwaiter/object"
)

// A Driver speaks to one vendor. It does not retry, limit, log or check grants:
// Storage does that once, for every vendor. Methods are safe for concurrent
// use, stop when ctx ends, and return errors that carry a fault.Kind.
type Driver interface {
	// List yields each object under prefix once, in byte order of the key, from
	// after the key start. An error ends the sequence. What one key does wrong
	// (an unreadable directory) is yielded as an error only if the keys below it
	// cannot be listed; then the listing goes on after them if it can: such an
	// error is a *Gap.
	List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error]
	// Stat describes ref. It returns fault.NotFound if there is no such object,
	// and fault.Changed if that version no longer exists (versioned units) or
	// is no longer current (others).
	Stat(ctx context.Context, ref object.Ref) (object.Info, error)
	// Open reads exactly the version in ref (the current one if ref.Version is
	// "") from byte offset. The reader returns fault.Changed if the vendor
	// noticed that the version went away meanwhile.
	Open(ctx context.Context, ref object.Ref, offset int64) (Reader, error)
	Close() error
}

// A Reader reads one version of one object.
type Reader interface {
	io.ReadCloser
	// Info is what the open call itself learnt of the object. For vendors where
	// one read is one version, it is the stat that counts.
	Info() object.Info
}

// A FileReader is a Reader of a local file. Its descriptor may be passed to an
// engine on the same machine; it is positioned anywhere and must only be read
// with ReadAt by us.
type FileReader interface {
	Reader
	File() *os.File
	// Restat reads the version token again from the open handle.
	Restat() (object.Info, error)
}

// A SettledReader is a FileReader that can say, from its open handle, whether
// the file is fully written: one look for what Stat, Settled and Open would
// take three for.
type SettledReader interface {
	FileReader
	// Settled is Settler's, of the open file. Info is from then on the state in
	// which it was found.
	Settled() (time.Duration, error)
}

// A Gap is a part of a listing that could not be listed. Keys that begin with
// Prefix must not be counted as missing.
type Gap struct {
	Prefix string
	Err    error
}

// Error says which part is missing and why.
func (g *Gap) Error() string {
	return "cannot list " + object.FormatKey(g.Prefix) + ": " + g.Err.Error()
}

// Unwrap returns the cause.
func (g *Gap) Unwrap() error { return g.Err }

// Emit takes a batch of events. When it returns nil they are durable, so the
// driver may acknowledge them to the vendor, and a later Watch may resume at
// next. It blocks while the pipeline is full.
type Emit func(ctx context.Context, events []object.Event, next string) error

// What else a driver can do it says by implementing the interfaces below, one
// method each. Those that change an object do so only while ref.Version is
// what it names, and return fault.Changed if it is not.

// A Watcher delivers events until ctx ends, from cursor on. "" is from when the
// driver was opened, or its last Watch ended: a sweep that began since then may
// have passed before the watch stood. If events were lost it emits one for the key "" with Cause "overflow" and Key
// set to the prefix whose tree must be swept ("" = the whole unit), and Op Look.
type Watcher interface {
	Watch(ctx context.Context, cursor string, emit Emit) error
}

// A Settler says whether an object is fully written: 0 means yes, otherwise
// look again after the duration. Drivers of vendors whose objects appear whole
// do not implement it.
type Settler interface {
	Settled(ctx context.Context, info object.Info) (time.Duration, error)
}

// PutOptions qualify a Put or a Copy.
type PutOptions struct {
	IfVersion   string            // replace exactly this version; "" = create, Exists if there is one
	Size        int64             // bytes that will come; -1 if unknown
	SHA256      []byte            // of what will come; a mismatch is fault.Changed and leaves nothing behind
	Meta        map[string]string // user metadata; names in lower case
	ContentType string
	Tags        map[string]string
	TempName    string // where the driver needs a temporary name: use this one (never ends in '/')
}

// A Putter writes an object: whole or not at all. Existing objects are replaced
// only as PutOptions.IfVersion says; fault.Exists, fault.Changed otherwise.
type Putter interface {
	Put(ctx context.Context, key string, r io.Reader, opt PutOptions) (object.Info, error)
}

// A Copier copies within the unit without reading the bytes through us, and
// keeps metadata, tags and storage class. Only vendors with server-side copy.
type Copier interface {
	Copy(ctx context.Context, src object.Ref, key string, opt PutOptions) (object.Info, error)
}

// A Fence is what a driver without a vendor's precondition needs to remove an
// object safely: a name to move it aside to, inside the unit's own private
// folder, and the hash that the bytes must still have.
type Fence struct {
	Aside  string // opaque, chosen by the plan; a restart looks there first
	SHA256 []byte // of the scanned bytes
}

// Removed tells how a removal went.
type Removed struct {
	Marker   bool // the bytes remain with the vendor: a lock holds them behind a delete marker, or soft delete keeps them
	Unfenced bool // the vendor could not make it conditional
	Already  bool // it was done by an earlier run of the same step
}

// A Remover deletes exactly ref.Version. It may be called again after a crash
// with the same fence: what is found aside with the right hash is removed.
type Remover interface {
	Remove(ctx context.Context, ref object.Ref, f Fence) (Removed, error)
}

// A Tagger reads and merges tags. Tag leaves foreign tags alone, writes
// nothing where the values are already there, verifies after writing, and
// returns the info with the token that the object has afterwards. A nil-string
// value ("") in set removes that key.
type Tagger interface {
	Tags(ctx context.Context, ref object.Ref) (map[string]string, error)
	Tag(ctx context.Context, ref object.Ref, set map[string]string) (object.Info, error)
}

// A VersionLister lists every version of every object, in byte order of the
// key, newest first within a key; delete markers have Kind Marker.
type VersionLister interface {
	ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error]
}

// A Pruner removes folders that are empty, from the parent of key upwards, and
// never the unit's root. It is only called for a folder that an action emptied.
type Pruner interface {
	Prune(ctx context.Context, key string) (removed int, err error)
}

// A Comparer says of two version tokens whether they differ only in what a
// change of metadata can move, so that equal hashes mean the same content.
type Comparer interface {
	MetadataOnly(a, b string) bool
}

// A Prober proves which capabilities really work, under a prefix of its own,
// and removes what it wrote.
type Prober interface {
	Probe(ctx context.Context, prefix string) (Caps, error)
}

// A Degrader says what works worse than it should right now, in words for the
// operator: nil if nothing does.
type Degrader interface {
	Degraded() error
}

// Caps are the capabilities of a driver on its server.
type Caps struct {
	Watch, Settle, Put, Copy, Remove, Tag, Versions, Prune bool

	// ReadIsVersion: one read is one version (a GET by version or If-Match), so
	// no recheck after the scan is needed.
	ReadIsVersion bool
	// FencedRemove: removal is conditional on the version, by the vendor or by
	// the driver's own fence. Without it removal is refused unless the unit says
	// unfenced.
	FencedRemove bool
	// FencedPut: creating fails if the key exists, replacing fails if the
	// version moved.
	FencedPut bool
	// FencedCopy: a copy fails if the source's version moved.
	FencedCopy bool
	// Ordered: listings come in byte order of the key.
	Ordered bool
	// TagsKeepVersion: writing tags leaves the version token as it was.
	TagsKeepVersion bool
}
