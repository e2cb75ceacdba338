package control

import (
	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

var rules = map[string]Rule{
	"audit.list": {account.Read, ledger.CategoryOther, true},

	"logger.list":   {account.Operate, ledger.CategoryNotification, true},
	"logger.add":    {account.Operate, ledger.CategoryNotification, false},
	"logger.set":    {account.Operate, ledger.CategoryNotification, false},
	"logger.remove": {account.Operate, ledger.CategoryNotification, false},

	"notification.read":  {account.Operate, ledger.CategoryNotification, true},
	"notification.set":   {account.Operate, ledger.CategoryNotification, false},
	"notification.list":  {account.Operate, ledger.CategoryNotification, true},
	"notification.retry": {account.Operate, ledger.CategoryNotification, false},
	"notification.drop":  {account.Operate, ledger.CategoryNotification, false},

	"retention.read": {account.Read, ledger.CategorySetting, true},
	"retention.set":  {account.Operate, ledger.CategorySetting, false},

	"smtp.read": {account.Operate, ledger.CategorySetting, true},
	"smtp.set":  {account.Operate, ledger.CategorySetting, false},

	"session.open":    {account.Public, ledger.CategoryUser, false},
	"session.refresh": {account.Public, ledger.CategoryUser, true},
	"session.close":   {account.Own, ledger.CategoryUser, false},

	"group.list":   {account.Read, ledger.CategoryStorage, true},
	"group.add":    {account.Operate, ledger.CategoryStorage, false},
	"group.set":    {account.Operate, ledger.CategoryStorage, false},
	"group.remove": {account.Operate, ledger.CategoryStorage, false},
}
