// Package events is what vendors' messages about objects have in common: a
// Notice is what one says, a Source receives them and acknowledges a message
// only after what it said is durable, a Letter is one that makes no sense. The
// parsers of the vendors' shapes are here; the clients are a folder each.
package events

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/object"
)

// Bounds of what strangers may send.
const (
	MaxBody    = 1 << 20 // bytes of one message
	MaxDepth   = 32      // of its JSON
	MaxNotices = 1000    // in one message
	MaxKey     = 4096    // bytes of a key; what is longer is Invalid
)

// ByUnit is the Vendor of a notice whose Container is the name of a unit, and
// whose Key is a key in it.
const ByUnit = "unit"

// A Notice is what a message says happened, in the vendor's own names. It is a
// hint and trusted for no more: who takes it looks at the object.
type Notice struct {
	Vendor    string // scheme of the units it may concern: s3, gs, azblob; or ByUnit
	Account   string // storage account (azblob), else ""; lower case
	Container string // bucket or container
	Key       string // decoded; bytes
	Op        object.Op
	Version   string // versionId or generation as the vendor writes it, "" = not told
	Size      int64  // -1 = not told
	Time      time.Time
	Event     string // the vendor's word: ObjectCreated:Put, OBJECT_FINALIZE, …
}

// A Letter is a message that cannot be understood, or was refused again and
// again. It is kept for the operator and then acknowledged: it must not stop others.
type Letter struct {
	Source string    // name of the source
	ID     string    // the vendor's id of the message, "" = none
	Body   []byte    // what came, cut to MaxBody
	Why    string    // in words
	Tries  int       // how often the vendor delivered it, 0 = not told
	At     time.Time // when it came
}

// A Sink takes what sources receive. When a method has returned nil, what it
// was given is durable and the message may be acknowledged. Both block while
// the ledger is full. fault.Unavailable, Throttled or another passing fault:
// do not acknowledge, the vendor delivers it again.
type Sink interface {
	Deliver(ctx context.Context, source string, notices []Notice) error
	Bury(ctx context.Context, l Letter) error
}

// A Source receives messages from one queue, topic or stream until ctx ends. It
// keeps messages that it holds from being delivered to others (by heartbeat or
// longer deadlines, from the moment of receipt), acknowledges each after Sink
// has it, buries what it cannot understand, and connects again with back-off
// when the server goes away: Run returns only ctx.Err(), or a fault of a
// configuration that cannot work (Invalid, Denied, NotFound at the first try).
type Source interface {
	Run(ctx context.Context, sink Sink) error
	// Status says how it goes, for operators.
	Status() Status
	Close() error
}

// A Status is how a source goes.
type Status struct {
	Connected bool      `json:"connected"`
	Error     string    `json:"error,omitempty"` // the last one, "" since a receive succeeded
	Received  int64     `json:"received"`        // messages
	Acked     int64     `json:"acked"`
	Buried    int64     `json:"buried"`
	Last      time.Time `json:"last"` // when the last message came
}

// Options of a source: its URL's query and its options together, decoded and
// checked by the source's own package.
type Options struct {
	Name    string            // of the source, unique
	URL     string            // sqs://…, pubsub://…, azqueue://…, nats://…, kafka://…
	Options map[string]string // secrets included
}

// An Opener opens a source. It does not wait for the server: Run does.
// fault.Invalid: URL or options are wrong.
type Opener func(o Options) (Source, error)
