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

	"source.list": {account.Read, ledger.CategoryOther, true},

	"configuration.export": {account.Operate, ledger.CategorySetting, false},
	"configuration.import": {account.System, ledger.CategorySetting, false},

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
	"file.list":       {account.Read, ledger.CategoryFile, true},
	"file.rescan":     {account.Operate, ledger.CategoryFile, false},
	"file.cancel":     {account.Operate, ledger.CategoryFile, false},
	"file.revert":     {account.Operate, ledger.CategoryFile, false},

	"report.download": {account.Read, ledger.CategoryScan, true},

	"session.open":    {account.Public, ledger.CategoryUser, false},
	"session.refresh": {account.Public, ledger.CategoryUser, true},
	"session.close":   {account.Own, ledger.CategoryUser, false},
	"session.list":    {account.Own, ledger.CategoryUser, true},
	"session.end":     {account.Own, ledger.CategoryUser, false},

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
	"module.list":   {account.Read, ledger.CategoryOther, true},

	"storage.list":   {account.Read, ledger.CategoryStorage, true},
	"storage.add":    {account.Operate, ledger.CategoryStorage, false},
	"storage.set":    {account.Operate, ledger.CategoryStorage, false},
	"storage.remove": {account.Operate, ledger.CategoryStorage, false},

	"webhook.tell":   {account.Operate, ledger.CategoryFile, true},
	"webhook.public": {account.Public, ledger.CategoryFile, true},
	"scan.list":      {account.Read, ledger.CategoryScan, true},
	"scan.start":     {account.Operate, ledger.CategoryScan, false},
	"scan.stop":      {account.Operate, ledger.CategoryScan, false},
	"scan.remove":    {account.Operate, ledger.CategoryScan, false},

	"schedule.list":        {account.Read, ledger.CategoryScan, true},
	"schedule.add":         {account.Operate, ledger.CategoryScan, false},
	"schedule.set":         {account.Operate, ledger.CategoryScan, false},
	"schedule.remove":      {account.Operate, ledger.CategoryScan, false},
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
