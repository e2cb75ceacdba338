package connectors

import (
	"context"
	"time"
)

// DefaultProbePrefix is where a probe writes unless the unit says otherwise.
const DefaultProbePrefix = ".landwaiter-probe/"

// probeTimeout bounds one probe.
const probeTimeout = 2 * time.Minute

// Probed is the result of a probe. It is stored and given to NewStorage until
// the endpoint or the server changes.
type Probed struct {
	Caps   Caps      `json:"caps"`
	Proven bool      `json:"proven"` // by writing; false = only what the driver's interfaces say
	Prefix string    `json:"prefix,omitempty"`
	At     time.Time `json:"at"`
	Error  string    `json:"error,omitempty"` // why nothing was proven
}

// Probe proves the capabilities of d under the unit's probe prefix. Where it
// may not write (probe: off, a read-only grant), or the driver has nothing to
// prove, the result says what the interfaces say. A probe that fails is a
// result too: its error is returned and kept in it.
func Probe(ctx context.Context, u Unit, d Driver) (Probed, error) {
	p := Probed{Caps: Derive(d), At: time.Now().UTC()}
	prober, ok := d.(Prober)
	switch {
	case !ok:
		p.Error = "the driver has nothing to prove"
		return p, nil
	case u.Probe == "off":
		p.Error = "the probe is off for this unit"
		return p, nil
	case u.ReadOnly:
		p.Error = "the grant is read-only"
		return p, nil
	}
	p.Prefix = u.Probe
	if p.Prefix == "" {
		p.Prefix = DefaultProbePrefix
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	caps, err := prober.Probe(ctx, p.Prefix)
	if err != nil {
		p.Error = err.Error()
		return p, err
	}
	p.Caps, p.Proven = caps, true
	return p, nil
}
