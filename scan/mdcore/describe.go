package mdcore

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// technologies are what engines of a kind do. Core names the kind in
// engine_type, older versions only as the first word of the engine's id
// (https://www.opswat.com/docs/mdcore, "Fetching Engine/Database Versions").
var technologies = map[string]string{
	"av": scan.Multiscanning, "cdr": scan.DeepCDR, "ds": scan.DeepCDR, "deepcdr": scan.DeepCDR, "dlp": scan.ProactiveDLP,
	"vul": scan.VulnerabilityScan, "vulnerability": scan.VulnerabilityScan, "archive": scan.ArchiveExtraction, "7z": scan.ArchiveExtraction,
	"filetype": scan.FileTypeCheck, "sandbox": scan.Sandboxing, "filescan": scan.Sandboxing, "opswatfilescan": scan.Sandboxing,
	"yara": scan.YARA, "sbom": scan.SBOM, "coo": scan.CountryOfOrigin,
}

// Describe asks for version, rules and engines: whether the credentials are
// taken shows in the last two. fault.Denied if both are refused.
func (e *Engine) Describe(ctx context.Context, userAgent string) (d scan.Description, err error) {
	if d.Version, err = e.version(ctx); err != nil {
		return d, err
	}
	rules, err := e.rules(ctx, userAgent)
	if err != nil && !fault.Is(err, fault.Denied) {
		return d, err
	}
	refused := err
	engines, err := e.listed(ctx)
	if err != nil && (refused != nil || !fault.Is(err, fault.Denied)) {
		return d, err
	}
	for _, r := range rules {
		d.Rules = append(d.Rules, plain(r.Name, 200))
	}
	for _, g := range engines {
		if !g.Active {
			continue
		}
		d.Engines = append(d.Engines, plain(g.Name, 100))
		id, _, _ := strings.Cut(strings.ToLower(g.ID), "_")
		for _, kind := range []string{strings.ToLower(g.Kind), id} {
			if t, ok := technologies[kind]; ok {
				d.Technologies = append(d.Technologies, t)
				break
			}
		}
	}
	slices.Sort(d.Technologies)
	d.Technologies = slices.Compact(d.Technologies)
	return d, nil
}

// A ruling is a rule as /file/rules shows it.
type ruling struct {
	Name string `json:"name"`
	Max  number `json:"max_file_size"` // bytes
}

// rules asks for the rules that a user agent may use; none where it does not say.
func (e *Engine) rules(ctx context.Context, userAgent string) (list []ruling, err error) {
	const op = "mdcore.rules"
	r, err := e.get(ctx, op, "/file/rules", map[string]string{"user_agent": userAgent})
	if err != nil || r.status != http.StatusOK {
		return nil, err
	}
	if err := decode(r.body, &list); err != nil {
		return nil, e.malformed(op, err)
	}
	return list, nil
}

// An engine of the instance as /stat/engines shows it.
type engineStat struct {
	ID      string `json:"eng_id"`
	Name    string `json:"eng_name"`
	Version string `json:"eng_ver"`
	Defined string `json:"def_time"`
	Kind    string `json:"engine_type"`
	Active  bool   `json:"active"`
}

// listed asks for the engines.
func (e *Engine) listed(ctx context.Context) (list []engineStat, err error) {
	const op = "mdcore.engines"
	r, err := e.get(ctx, op, "/stat/engines", nil)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, e.refused(op, r)
	}
	if err := decode(r.body, &list); err != nil {
		return nil, e.malformed(op, err)
	}
	if len(list) > 1000 {
		return nil, e.malformed(op, errors.New("it lists over 1000 engines"))
	}
	return list, nil
}
