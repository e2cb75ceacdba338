package control

import (
	"fmt"
	"time"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

// A UnitBody is what is kept of a storage that operators added. Group is the
// noun's Parent.
type UnitBody struct {
	URL      string            `json:"url"`
	Vendor   int               `json:"vendor"`   // MetaDefender's storageVendorType
	Protocol int               `json:"protocol"` // MetaDefender's storageProtocolType
	Account  ledger.ID         `json:"account,omitzero"`
	Workflow ledger.ID         `json:"workflow,omitzero"` // zero = the tenant's default
	Options  map[string]string `json:"options,omitempty"` // the connector's, each value sealed for SealUnit
	Source   string            `json:"source,omitempty"`  // as it was given, without secrets
	Transfer bool              `json:"transfer,omitempty"`
	RealTime []RealTime        `json:"real_time,omitempty"`
	ReadOnly bool              `json:"read_only,omitempty"`
	Sweep    time.Duration     `json:"sweep,omitempty"`
	AddedBy  ledger.ID         `json:"added_by,omitzero"`
}

// The places that secrets are sealed for.
const (
	SealUnit    = "unit"
	SealAccount = "account"
	SealPool    = "pool"
	SealSetting = "setting"
	SealLogger  = "logger"
	SealGrant   = "grant"
)

// RealTime is that a storage, or a folder of it, is watched.
type RealTime struct {
	Name      string    `json:"name,omitempty"`
	Folder    string    `json:"folder,omitempty"` // "" = all of it
	Workflow  ledger.ID `json:"workflow,omitzero"`
	Priority  int       `json:"priority,omitempty"`
	Events    bool      `json:"events,omitempty"` // told by the webhook; polled too, but seldom
	StartDate time.Time `json:"start_date,omitzero"`
	By        ledger.ID `json:"by,omitzero"`
}

// UnitName is the name by which the running parts know a tenant's storage: names
// are one for all tenants there.
func UnitName(tenant int64, name string) string {
	if tenant == account.DefaultTenant {
		return name
	}
	return fmt.Sprintf("tenant-%d:%s", tenant, name)
}

// WorkflowName is the name by which the running parts know a workflow that
// operators made.
func WorkflowName(id ledger.ID) string { return "workflow:" + id.String() }
