package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Kind is what a noun is.
type Kind string

// The kinds of nouns.
const (
	Account  Kind = "account"
	Group    Kind = "group"
	Unit     Kind = "unit"
	Pool     Kind = "pool"
	Workflow Kind = "workflow"
	Schedule Kind = "schedule"
	Setting  Kind = "setting" // one of each name in a tenant
	Logger   Kind = "logger"
)

// A Noun is something that operators set: its body is the kind's own JSON, with
// secrets sealed.
type Noun struct {
	ID       ID
	Tenant   int64
	Kind     Kind
	Name     string // unique for the kind in its tenant
	Parent   ID     // zero = none
	Managed  bool   // it stands in the configuration file, which alone changes it
	Disabled bool
	Rev      int64 // counts changes
	Body     json.RawMessage
	Created  time.Time
	Changed  time.Time
}

// An AuditRow is what somebody did, or tried. Rows are chained: each has the
// hash of the row before it.
type AuditRow struct {
	N        int64
	Tenant   int64
	At       time.Time
	Who      string
	WhoID    ID
	Type     AuditType
	Category AuditCategory
	Level    AuditLevel
	Action   string // noun.verb
	Target   string // what it was done to; never a secret
	Detail   string
	Before   []byte
	Hash     []byte
}

// An AuditMark is a place in the audit's chain.
type AuditMark struct {
	N    int64
	Hash []byte
}

// AuditMarks are where the chain ends, and after which row it begins: what
// retention removed.
type AuditMarks struct{ Head, Cut AuditMark }

// An AuditFilter selects rows of a tenant (0 = of all); zero fields do not restrict.
type AuditFilter struct {
	Tenant   int64
	Type     *AuditType
	Category *AuditCategory
	Level    *AuditLevel
	Search   string
	From, To time.Time
	Start    int // rows left out, of the newest
	Limit    int
}

// A Tenant is a customer whose nouns nobody else sees.
type Tenant struct {
	N       int64
	ID      ID
	Name    string
	Created time.Time
	Changed time.Time
}

// UnitName is the name by which the running parts know a tenant's storage: names
// are one for all tenants there. The first tenant's are as they are.
func UnitName(tenant int64, name string) string {
	if tenant <= 1 {
		return name
	}
	return fmt.Sprintf("tenant-%d:%s", tenant, name)
}

// PlainUnit is the name of which UnitName made name: the one that the tenant knows.
func PlainUnit(tenant int64, name string) string {
	return strings.TrimPrefix(name, UnitName(tenant, ""))
}
