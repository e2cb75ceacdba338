package control

import (
	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

var rules = map[string]Rule{
	"file.list":   {account.Read, ledger.CategoryFile, true},
	"file.rescan": {account.Operate, ledger.CategoryFile, false},
	"file.cancel": {account.Operate, ledger.CategoryFile, false},
	"file.revert": {account.Operate, ledger.CategoryFile, false},

	"session.open":    {account.Public, ledger.CategoryUser, false},
	"session.refresh": {account.Public, ledger.CategoryUser, true},
	"session.close":   {account.Own, ledger.CategoryUser, false},

	"group.list":   {account.Read, ledger.CategoryStorage, true},
	"group.add":    {account.Operate, ledger.CategoryStorage, false},
	"group.set":    {account.Operate, ledger.CategoryStorage, false},
	"group.remove": {account.Operate, ledger.CategoryStorage, false},

	"scan.list":   {account.Read, ledger.CategoryScan, true},
	"scan.start":  {account.Operate, ledger.CategoryScan, false},
	"scan.stop":   {account.Operate, ledger.CategoryScan, false},
	"scan.remove": {account.Operate, ledger.CategoryScan, false},

	"schedule.list":   {account.Read, ledger.CategoryScan, true},
	"schedule.add":    {account.Operate, ledger.CategoryScan, false},
	"schedule.set":    {account.Operate, ledger.CategoryScan, false},
	"schedule.remove": {account.Operate, ledger.CategoryScan, false},
}
