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

	"pool.list":            {account.Read, ledger.CategoryPool, true},
	"pool.add":             {account.Operate, ledger.CategoryPool, false},
	"pool.set":             {account.Operate, ledger.CategoryPool, false},
	"pool.remove":          {account.Operate, ledger.CategoryPool, false},
	"pool.add_instance":    {account.Operate, ledger.CategoryPool, false},
	"pool.set_instance":    {account.Operate, ledger.CategoryPool, false},
	"pool.remove_instance": {account.Operate, ledger.CategoryPool, false},
	"pool.test":            {account.Operate, ledger.CategoryPool, false},

	"storage.set_workflow": {account.Operate, ledger.CategoryStorage, false},

	"workflow.list":               {account.Read, ledger.CategoryWorkflow, true},
	"workflow.add":                {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.set":                {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.remove":             {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.set_default":        {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.ask":                {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.add_remediation":    {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.set_remediation":    {account.Operate, ledger.CategoryWorkflow, false},
	"workflow.remove_remediation": {account.Operate, ledger.CategoryWorkflow, false},
}
