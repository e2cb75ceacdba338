package control

import (
	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/ledger"
)

var rules = map[string]Rule{
	"engine.list": {account.Read, ledger.CategoryPool, true},
	"engine.test": {account.Operate, ledger.CategoryPool, true},

	"entry.explain": {account.Read, ledger.CategoryFile, true},
	"entry.list":    {account.Read, ledger.CategoryFile, true},
	"entry.replay":  {account.Operate, ledger.CategoryFile, false},

	"letter.drop": {account.System, ledger.CategoryOther, false},
	"letter.list": {account.Read, ledger.CategoryOther, true},

	"quarantine.list":    {account.Read, ledger.CategoryFile, true},
	"quarantine.purge":   {account.Operate, ledger.CategoryFile, false},
	"quarantine.restore": {account.Operate, ledger.CategoryFile, false},

	"source.list":  {account.Read, ledger.CategoryOther, true},
	"storage.list": {account.Read, ledger.CategoryStorage, true},

	"configuration.export": {account.Operate, ledger.CategorySetting, false},
	"configuration.import": {account.Operate, ledger.CategorySetting, false},

	"connector.get": {account.Read, ledger.CategoryStorage, true},

	"encryption.look":   {account.System, ledger.CategorySetting, true},
	"encryption.rotate": {account.System, ledger.CategorySetting, false},

	"health.look": {account.Public, ledger.CategoryOther, true},

	"license.look":  {account.Read, ledger.CategorySetting, true},
	"license.offer": {account.System, ledger.CategorySetting, false},

	"ocm.look": {account.Read, ledger.CategorySetting, true},
	"ocm.set":  {account.System, ledger.CategorySetting, false},

	"onboarding.go":   {account.Operate, ledger.CategorySetting, false},
	"onboarding.look": {account.Public, ledger.CategorySetting, true},

	"report.download": {account.Read, ledger.CategoryScan, true},

	"session.open":    {account.Public, ledger.CategoryUser, false},
	"session.refresh": {account.Public, ledger.CategoryUser, true},
	"session.close":   {account.Own, ledger.CategoryUser, false},
	"session.list":    {account.Own, ledger.CategoryUser, true},
	"session.end":     {account.Own, ledger.CategoryUser, false},

	"group.list":   {account.Read, ledger.CategoryStorage, true},
	"group.add":    {account.Operate, ledger.CategoryStorage, false},
	"group.set":    {account.Operate, ledger.CategoryStorage, false},
	"group.remove": {account.Operate, ledger.CategoryStorage, false},

	"key.make":       {account.Own, ledger.CategoryUser, false},
	"key.revoke":     {account.Own, ledger.CategoryUser, false},
	"password.reset": {account.Public, ledger.CategoryUser, false},
	"password.set":   {account.Public, ledger.CategoryUser, false},

	"sso.get":      {account.Operate, ledger.CategorySetting, true},
	"sso.set":      {account.Operate, ledger.CategorySetting, false},
	"sso.begin":    {account.Public, ledger.CategoryUser, true},
	"sso.finish":   {account.Public, ledger.CategoryUser, false},
	"sso.take":     {account.Public, ledger.CategoryUser, true},
	"sso.metadata": {account.Public, ledger.CategoryUser, true},

	"tenant.list":   {account.System, ledger.CategoryTenant, true},
	"tenant.add":    {account.System, ledger.CategoryTenant, false},
	"tenant.set":    {account.System, ledger.CategoryTenant, false},
	"tenant.remove": {account.System, ledger.CategoryTenant, false},
	"tour.list":     {account.Own, ledger.CategoryUser, true},
	"tour.finish":   {account.Own, ledger.CategoryUser, true},

	"user.me":       {account.Own, ledger.CategoryUser, true},
	"user.list":     {account.Read, ledger.CategoryUser, true},
	"user.register": {account.Public, ledger.CategoryUser, false},
	"user.add":      {account.Operate, ledger.CategoryUser, false},
	"user.role":     {account.Operate, ledger.CategoryUser, false},
	"user.set":      {account.Own, ledger.CategoryUser, false},
	"user.remove":   {account.Operate, ledger.CategoryUser, false},
}
