// Package all is the table of every source. Only the daemon and the commands
// import it.
package all

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/events/kafka"
	"github.com/landwaiter/landwaiter/events/nats"
	"github.com/landwaiter/landwaiter/events/pubsub"
	"github.com/landwaiter/landwaiter/events/sqs"
	"github.com/landwaiter/landwaiter/events/storagequeue"
	"github.com/landwaiter/landwaiter/fault"
)

// A vendor is what there is for a URL scheme.
type vendor struct {
	Open events.Opener
	// Check says what is wrong with URL and options by themselves, without
	// talking to anybody: fault.Invalid.
	Check func(events.Options) error
}

// vendors returns what there is, by URL scheme.
func vendors() map[string]vendor {
	return map[string]vendor{
		"azqueue": {storagequeue.Open, storagequeue.Check},
		"kafka":   {kafka.Open, kafka.Check},
		"nats":    {nats.Open, nats.Check},
		"pubsub":  {pubsub.Open, pubsub.Check},
		"sqs":     {sqs.Open, sqs.Check},
	}
}

// Open opens the source that o names; it connects to nobody yet. fault.Invalid
// names the schemes that there are.
func Open(o events.Options) (events.Source, error) {
	v, err := find(o)
	if err != nil {
		return nil, err
	}
	return v.Open(o)
}

// Check says what is wrong with the URL and options of o by themselves:
// fault.Invalid; options by events.OptionError.
func Check(o events.Options) error {
	v, err := find(o)
	if err != nil {
		return err
	}
	return v.Check(o)
}

func find(o events.Options) (vendor, error) {
	scheme, _, _ := strings.Cut(o.URL, "://")
	v, ok := vendors()[scheme]
	if !ok {
		return v, fault.New(fault.Invalid, "all.Open", o.Name, fmt.Errorf("no source for this URL: there are %s", strings.Join(Schemes(), ", ")))
	}
	return v, nil
}

// Schemes lists the URL schemes that there are, in order.
func Schemes() []string { return slices.Sorted(maps.Keys(vendors())) }
