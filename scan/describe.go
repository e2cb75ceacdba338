package scan

import (
	"context"
	"errors"
	"slices"
)

// The technologies that an engine may have, as operators see them.
const (
	Multiscanning     = "multiscanning"
	DeepCDR           = "deepCdr"
	ProactiveDLP      = "proactiveDlp"
	VulnerabilityScan = "vulnerabilityAssessment"
	ArchiveExtraction = "archiveExtraction"
	FileTypeCheck     = "fileTypeVerification"
	Sandboxing        = "sandbox"
	YARA              = "yara"
	SBOM              = "sbom"
	CountryOfOrigin   = "countryOfOrigin"
)

// A Description is what an engine tells of itself to operators.
type Description struct {
	Version      string
	Rules        []string // that it has for us; none = it does not say
	Engines      []string // that are active in it
	Technologies []string // sorted, each once
}

// A Describer can tell more of itself than a probe does. An error says what keeps
// it from being used, credentials that it does not take above all.
type Describer interface {
	Describe(ctx context.Context, userAgent string) (Description, error)
}

// Describe asks an engine what it is. One that cannot tell looks for malware and
// no more. fault.Unavailable if it cannot take work.
func Describe(ctx context.Context, e Engine, userAgent string) (Description, error) {
	h, err := e.Probe(ctx)
	if err != nil {
		return Description{}, err
	}
	d := Description{Version: h.Version, Technologies: []string{Multiscanning}}
	if more, ok := e.(Describer); ok {
		if d, err = more.Describe(ctx, userAgent); err != nil {
			return d, err
		}
	}
	if !h.Ready {
		return d, notReady(h.Detail)
	}
	return d, nil
}

// Offers asks every instance what it can do and returns what all that answer
// have: a file may go to any of them.
func (p *Pool) Offers(ctx context.Context) ([]string, error) {
	var common []string
	var errs []error
	answered := false
	for _, in := range p.o.Instances {
		d, err := Describe(ctx, in.Engine, "")
		switch {
		case err != nil:
			errs = append(errs, err)
		case !answered:
			answered, common = true, d.Technologies
		default:
			common = slices.DeleteFunc(common, func(t string) bool { return !slices.Contains(d.Technologies, t) })
		}
	}
	if !answered {
		return nil, errors.Join(append(errs, p.noneReady())...)
	}
	return common, nil
}
