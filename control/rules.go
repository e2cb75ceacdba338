package control

import (
	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

var rules = map[string]Rule{
	"session.open":    {account.Public, ledger.CategoryUser, false},
	"session.refresh": {account.Public, ledger.CategoryUser, true},
	"session.close":   {account.Own, ledger.CategoryUser, false},

	"account.list":   {account.Read, ledger.CategoryStorage, true},
	"account.add":    {account.Operate, ledger.CategoryStorage, false},
	"account.set":    {account.Operate, ledger.CategoryStorage, false},
	"account.remove": {account.Operate, ledger.CategoryStorage, false},

	"checklist.list":   {account.Read, ledger.CategoryStorage, true},
	"checklist.set":    {account.Operate, ledger.CategoryStorage, false},
	"checklist.verify": {account.Operate, ledger.CategoryStorage, false},

	"group.list":   {account.Read, ledger.CategoryStorage, true},
	"group.add":    {account.Operate, ledger.CategoryStorage, false},
	"group.set":    {account.Operate, ledger.CategoryStorage, false},
	"group.remove": {account.Operate, ledger.CategoryStorage, false},

	"module.list": {account.Read, ledger.CategoryOther, true},

	"storage.list":   {account.Read, ledger.CategoryStorage, true},
	"storage.add":    {account.Operate, ledger.CategoryStorage, false},
	"storage.set":    {account.Operate, ledger.CategoryStorage, false},
	"storage.remove": {account.Operate, ledger.CategoryStorage, false},

	"webhook.tell":   {account.Operate, ledger.CategoryFile, true},
	"webhook.public": {account.Public, ledger.CategoryFile, true},
}
