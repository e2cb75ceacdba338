package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/workflow"
)

// The types of remediations.
const (
	FileTagging = iota
	DeepCDR
	BlockedFile
	AllowedSanitizedFile
	AllowedFile
	BlockedSanitizedFile
	DeleteEmptyFolders
)

// The handlings of remediations.
const (
	HandleDelete  = 0
	HandleMove    = 1
	HandleCopy    = 2
	HandleKeep    = 3
	NotApplicable = 999
)

// handlings are the words of package workflow.
var handlings = map[int]workflow.Handling{HandleDelete: workflow.Delete, HandleMove: workflow.Move, HandleCopy: workflow.Copy, HandleKeep: workflow.Keep}

// suits are the handlings that a type has, the one that is meant where none is
// given first.
var suits = map[int][]int{
	FileTagging:          {NotApplicable},
	DeepCDR:              {NotApplicable, HandleKeep},
	BlockedFile:          {HandleKeep, HandleDelete, HandleMove, HandleCopy},
	AllowedSanitizedFile: {HandleKeep, HandleMove},
	AllowedFile:          {HandleKeep, HandleDelete, HandleMove, HandleCopy},
	BlockedSanitizedFile: {HandleKeep, HandleMove},
	DeleteEmptyFolders:   {NotApplicable},
}

// A Remediation is a part of a workflow: what follows. There is one of each type.
type Remediation struct {
	ID            ledger.ID       `json:"id"`
	Enabled       bool            `json:"enabled,omitempty"`
	Type          int             `json:"type"`
	Handling      int             `json:"handling"`
	Configuration json.RawMessage `json:"configuration,omitempty"` // see Configuration
}

// A Configuration is what a remediation can say of itself. Keys and Values are
// for FileTagging; Destinations, and OnConflict, for what moves or copies;
// Quarantine is for BlockedFile with HandleMove, in place of destinations.
type Configuration struct {
	Keys         *TagKeys          `json:"keys,omitempty"`
	Values       map[string]string `json:"values,omitempty"` // by verdict: clean, suspicious, infected, not_scanned
	Destinations []Destination     `json:"destinations,omitempty"`
	OnConflict   string            `json:"onConflict,omitempty"` // rename (default), overwrite, fail
	Quarantine   *PutAway          `json:"quarantine,omitempty"`
}

// TagKeys are the names of the tags; "" = MetaDefender's, "-" = not written.
type TagKeys struct {
	Result    string `json:"result,omitempty"`
	FileID    string `json:"fileId,omitempty"`
	Timestamp string `json:"timestamp,omitempty"`
	Version   string `json:"version,omitempty"`
}

// A Destination is a folder of a storage.
type Destination struct {
	StorageID ledger.ID `json:"storageId"`
	Storage   string    `json:"storage,omitempty"` // its name, where the configuration file says it; never given
	Folder    string    `json:"folder,omitempty"`
	Structure string    `json:"structure,omitempty"` // keep (default): with the source's folders; flat: without
}

// PutAway says how long what is put away is kept.
type PutAway struct {
	ExpiryDays int `json:"expiryDays,omitempty"` // 0 = until purged
}

// ParseConfiguration reads a configuration strictly; "" is an empty one.
func ParseConfiguration(text []byte) (c Configuration, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return c, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, wrongConfiguration(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, wrongConfiguration(errors.New("something follows the object"))
	}
	return c, nil
}

func wrongConfiguration(err error) error {
	return fault.New(fault.Invalid, "control.Remediation", "", fmt.Errorf("configuration: %w", err))
}

// remedies writes what remediations say into w. place names a storage.
func remedies(w *workflow.Workflow, list []Remediation, place func(ledger.ID) string) error {
	var disarm bool
	var allowed, blocked workflow.Remedy
	for i, r := range list {
		if slices.ContainsFunc(list[:i], func(o Remediation) bool { return o.Type == r.Type }) {
			return fault.New(fault.Exists, "control.Remediation", "", errors.New("the workflow has a remediation of this type"))
		}
		c, err := r.check()
		if err != nil {
			return err
		}
		remedy := c.remedy(r.Handling, place)
		if !r.Enabled {
			continue
		}
		switch r.Type {
		case FileTagging:
			w.Tagging = workflow.Tagging{Enabled: true, Values: c.Values}
			if k := c.Keys; k != nil {
				w.Tagging.ResultKey, w.Tagging.FileIDKey, w.Tagging.TimestampKey, w.Tagging.VersionKey = k.Result, k.FileID, k.Timestamp, k.Version
			}
		case DeepCDR:
			disarm = true
		case BlockedFile:
			if c.Quarantine != nil {
				w.Quarantine = workflow.Quarantine{Enabled: true, Expiry: time.Duration(c.Quarantine.ExpiryDays) * 24 * time.Hour}
				continue
			}
			w.Blocked = remedy
		case AllowedSanitizedFile:
			allowed = remedy
		case AllowedFile:
			w.Allowed = remedy
		case BlockedSanitizedFile:
			blocked = remedy
		case DeleteEmptyFolders:
			w.DeleteEmptyFolders = true
		}
	}
	if disarm && !(allowed.Keeps() && blocked.Keeps()) {
		w.Sanitized, w.BlockedSanitized = allowed, blocked
		if blocked.Handling == "" {
			w.BlockedSanitized.Handling = workflow.Keep // else Sanitized would hold for it
		}
	}
	return nil
}

// check reads a remediation's configuration and says what does not go together.
func (r Remediation) check() (Configuration, error) {
	wrong := func(format string, args ...any) (Configuration, error) {
		return Configuration{}, fault.New(fault.Invalid, "control.Remediation", "", fmt.Errorf(format, args...))
	}
	fit, ok := suits[r.Type]
	if !ok {
		return wrong("type: there is no remediation %d", r.Type)
	}
	if !slices.Contains(fit, r.Handling) {
		return wrong("handlingType: %d does not go with type %d; there are %v", r.Handling, r.Type, fit)
	}
	c, err := ParseConfiguration(r.Configuration)
	if err != nil {
		return c, err
	}
	moves := r.Handling == HandleMove || r.Handling == HandleCopy
	switch {
	case (c.Keys != nil || c.Values != nil) && r.Type != FileTagging:
		return wrong("configuration: keys and values are for FileTagging")
	case c.Quarantine != nil && (r.Type != BlockedFile || r.Handling != HandleMove || len(c.Destinations) > 0 || c.OnConflict != ""):
		return wrong("configuration: quarantine is for BlockedFile with handlingType Move, in place of destinations")
	case c.Quarantine != nil && (c.Quarantine.ExpiryDays < 0 || c.Quarantine.ExpiryDays > 36500):
		return wrong("configuration: quarantine.expiryDays must be between 0 and 36500")
	case moves && c.Quarantine == nil && len(c.Destinations) == 0:
		return wrong("configuration: destinations: move and copy need at least one")
	case !moves && (len(c.Destinations) > 0 || c.OnConflict != ""):
		return wrong("configuration: destinations and onConflict are for move and copy")
	case len(c.Destinations) > workflow.MaxDestinations:
		return wrong("configuration: destinations: at most %d are possible", workflow.MaxDestinations)
	}
	for i, d := range c.Destinations {
		if d.Structure != "" && d.Structure != "keep" && d.Structure != "flat" {
			return wrong("configuration: destinations[%d].structure: %q is neither keep nor flat", i, d.Structure)
		}
		if d.Storage != "" {
			return wrong("configuration: destinations[%d].storage: name it by storageId", i)
		}
		if len(d.Folder) > 1024 {
			return wrong("configuration: destinations[%d].folder: is too long", i)
		}
	}
	return c, nil
}

func (c Configuration) remedy(handling int, place func(ledger.ID) string) workflow.Remedy {
	r := workflow.Remedy{Handling: handlings[handling], OnConflict: c.OnConflict}
	for _, d := range c.Destinations {
		r.Destinations = append(r.Destinations, workflow.Destination{Unit: place(d.StorageID), Folder: d.Folder, Flat: d.Structure == "flat"})
	}
	return r
}

// Places are the names by which the running parts know a tenant's storages: those
// of the ledger and, before it has them, those that operators added.
func Places(tenant int64, units []connectors.Unit, nouns []ledger.Noun) map[ledger.ID]string {
	m := map[ledger.ID]string{}
	for _, u := range units {
		if of := max(u.Tenant, account.DefaultTenant); of == tenant && !u.Disabled && u.Name != QuarantineUnit {
			m[ledger.ID(u.Client)] = u.Name
		}
	}
	for _, n := range nouns {
		m[n.ID] = UnitName(n.Tenant, n.Name)
	}
	return m
}

// remediationsOf shows a workflow of the configuration file as remediations.
func remediationsOf(w workflow.Workflow) (list []Remediation) {
	add := func(kind, handling int, c Configuration) {
		text, _ := json.Marshal(c) // strings and numbers
		list = append(list, Remediation{ID: FileID("remediation", fmt.Sprint(w.Name, ":", kind)), Enabled: true, Type: kind, Handling: handling, Configuration: text})
	}
	remedy := func(kind int, r workflow.Remedy) {
		if r.Keeps() {
			return
		}
		c := Configuration{OnConflict: r.OnConflict}
		for _, d := range r.Destinations {
			to := Destination{Storage: d.Unit, Folder: d.Folder}
			if d.Flat {
				to.Structure = "flat"
			}
			c.Destinations = append(c.Destinations, to)
		}
		for n, h := range handlings {
			if h == r.Handling {
				add(kind, n, c)
			}
		}
	}
	if t := w.Tagging; t.Enabled {
		add(FileTagging, NotApplicable, Configuration{Values: t.Values, Keys: &TagKeys{t.ResultKey, t.FileIDKey, t.TimestampKey, t.VersionKey}})
	}
	if w.Disarms() {
		add(DeepCDR, NotApplicable, Configuration{})
	}
	remedy(AllowedSanitizedFile, w.Sanitized)
	blocked := w.BlockedSanitized
	if blocked.Handling == "" {
		blocked = w.Sanitized
	}
	remedy(BlockedSanitizedFile, blocked)
	if w.Quarantine.Enabled {
		add(BlockedFile, HandleMove, Configuration{Quarantine: &PutAway{ExpiryDays: int(w.Quarantine.Expiry / (24 * time.Hour))}})
	} else {
		remedy(BlockedFile, w.Blocked)
	}
	remedy(AllowedFile, w.Allowed)
	if w.DeleteEmptyFolders {
		add(DeleteEmptyFolders, NotApplicable, Configuration{})
	}
	return list
}
