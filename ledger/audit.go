package ledger

import (
	"crypto/sha256"
	"encoding/binary"
)

// An AuditType says whose doing it was.
type AuditType int

// The types.
const (
	UserAction AuditType = iota // somebody asked for it
	SystemAction
	Access // logins, refusals
)

// An AuditLevel says how much it matters.
type AuditLevel int

// The levels.
const (
	Info AuditLevel = iota
	Warning
	Error
)

// An AuditCategory says what it was done to.
type AuditCategory int

// The categories.
const (
	CategoryOther AuditCategory = iota
	CategoryUser
	CategoryStorage
	CategoryScan
	CategoryWorkflow
	CategoryPool
	CategorySetting
	CategoryFile
	CategoryTenant
	CategoryNotification
)

var auditTypes = [...]string{"UserAction", "System", "Access"}

var auditLevels = [...]string{"Info", "Warning", "Error"}

var auditCategories = [...]string{"Other", "User", "Storage", "Scan", "Workflow", "ScanPool", "Setting", "File", "Tenant", "Notification"}

// String returns the type's name.
func (t AuditType) String() string { return named(auditTypes[:], int(t)) }

// String returns the level's name.
func (l AuditLevel) String() string { return named(auditLevels[:], int(l)) }

// String returns the category's name.
func (c AuditCategory) String() string { return named(auditCategories[:], int(c)) }

func named(list []string, i int) string {
	if i < 0 || i >= len(list) {
		return "Unknown"
	}
	return list[i]
}

// Sum is the hash of the row, over the hash of the row before it and all that
// the row says: SHA-256 of the fields, each with its length before it.
func (r *AuditRow) Sum() []byte {
	h := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		_, _ = h.Write(n[:]) // a hash takes everything (hash.Hash)
		_, _ = h.Write(b)
	}
	number := func(v int64) { field(binary.BigEndian.AppendUint64(nil, uint64(v))) }
	field(r.Before)
	number(r.Tenant)
	number(r.At.UnixMicro())
	field([]byte(r.Who))
	field(r.WhoID[:])
	number(int64(r.Type))
	number(int64(r.Category))
	number(int64(r.Level))
	field([]byte(r.Action))
	field([]byte(r.Target))
	field([]byte(r.Detail))
	return h.Sum(nil)
}
