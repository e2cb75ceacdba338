package control

import (
	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

var rules = map[string]Rule{
	"session.open":    {account.Public, ledger.CategoryUser, false},
	"session.refresh": {account.Public, ledger.CategoryUser, true},
	"session.close":   {account.Own, ledger.CategoryUser, false},

	"group.list":   {account.Read, ledger.CategoryStorage, true},
	"group.add":    {account.Operate, ledger.CategoryStorage, false},
	"group.set":    {account.Operate, ledger.CategoryStorage, false},
	"group.remove": {account.Operate, ledger.CategoryStorage, false},
}
