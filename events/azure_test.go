package events

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/object"
)

const topicOfAcct = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/Acct"

// gridEventOf is an event in the schema of Event Grid.
func gridEventOf(event, api, url, more string) string {
	return fmt.Sprintf(`{"topic":%q,"subject":"/blobServices/default/containers/c/blobs/k","eventType":"Microsoft.Storage.%s","eventTime":"2026-01-02T03:04:05.678Z","id":"1",
		"data":{"api":%q,"url":%q,"sequencer":"0"%s},"dataVersion":"","metadataVersion":"1"}`, topicOfAcct, event, api, url, more)
}

func cloudEventOf(event, api, url, more string) string {
	return fmt.Sprintf(`{"specversion":"1.0","type":"Microsoft.Storage.%s","source":%q,"subject":"x","id":"1","time":"2026-01-02T03:04:05.678Z","data":{"api":%q,"url":%q%s}}`,
		event, topicOfAcct, api, url, more)
}

func TestParseEventGrid(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	made := func(key string) Notice {
		return Notice{Vendor: "azblob", Account: "acct", Container: "c", Key: key, Size: -1, Time: at, Event: "BlobCreated"}
	}
	one := func(n Notice) []Notice { return []Notice{n} }
	const host = "https://acct.blob.core.windows.net"
	put := func(path string) string { return gridEventOf("BlobCreated", "PutBlob", host+path, "") }
	full := made("k")
	full.Version, full.Size = "0x8D4", 12
	with := func(change func(*Notice)) []Notice {
		n := made("k")
		change(&n)
		return one(n)
	}
	long := strings.Repeat("k", 1024)
	many := strings.Repeat(put("/c/k")+",", MaxNotices) + put("/c/k")
	renamed := `,"sourceUrl":"https://acct.dfs.core.windows.net/c/old%20name","destinationUrl":"https://acct.dfs.core.windows.net/c/new"`
	vectors := append(broken(), []vector{
		{name: "one", body: put("/c/k"), want: one(made("k"))},
		{name: "array", body: "[" + put("/c/a") + "," + put("/c/b") + "]", want: []Notice{made("a"), made("b")}},
		{name: "all hints", body: gridEventOf("BlobCreated", "PutBlockList", host+"/c/k", `,"eTag":"0x8D4","contentLength":12`), want: one(full)},
		{name: "quoted ETag", body: gridEventOf("BlobCreated", "PutBlockList", host+"/c/k", `,"eTag":"\"0x8D4\"","contentLength":12`), want: one(full)},
		{name: "CloudEvents", body: cloudEventOf("BlobCreated", "PutBlob", host+"/c/k", `,"eTag":"0x8D4","contentLength":12`), want: one(full)},
		{name: "CloudEvents in an array", body: "[" + cloudEventOf("BlobCreated", "PutBlob", host+"/c/k", "") + "]", want: one(made("k"))},
		{name: "CloudEvents of another version", body: strings.Replace(cloudEventOf("BlobCreated", "PutBlob", host+"/c/k", ""), `"1.0"`, `"0.3"`, 1), words: "0.3"},
		{name: "CloudEvents without a type", body: `{"specversion":"1.0","data":{"url":"` + host + `/c/k"}}`, words: "type"},
		{name: "both schemas", body: strings.Replace(put("/c/k"), `"id"`, `"specversion":"1.0","id"`, 1), words: "both"},
		{name: "no schema", body: `{"data":{"api":"PutBlob","url":"` + host + `/c/k"}}`, words: "neither"},
		{name: "no data", body: `{"eventType":"Microsoft.Storage.BlobCreated"}`, words: "no data"},
		{name: "null for data", body: `{"eventType":"Microsoft.Storage.BlobCreated","data":null}`, words: "no data"},
		{name: "data of another type", body: `{"eventType":"Microsoft.Storage.BlobCreated","data":"PutBlob"}`, words: "data"},
		{name: "url of another type", body: `{"eventType":"Microsoft.Storage.BlobCreated","data":{"api":"PutBlob","url":["x"]}}`, words: "url"},
		{name: "api of another type", body: `{"eventType":"Microsoft.Storage.BlobCreated","data":{"api":1}}`, words: "api"},
		{name: "ETag of another type", body: gridEventOf("BlobCreated", "PutBlob", host+"/c/k", `,"eTag":1`), words: "eTag"},
		{name: "length that is a text", body: gridEventOf("BlobCreated", "PutBlob", host+"/c/k", `,"contentLength":"many"`), want: one(made("k"))},
		{name: "length below zero", body: gridEventOf("BlobCreated", "PutBlob", host+"/c/k", `,"contentLength":-1`), want: one(made("k"))},
		{name: "url twice", body: gridEventOf("BlobCreated", "PutBlob", host+"/c/k", `,"url":"`+host+`/c/l"`), words: "twice"},
		{name: "url twice in two cases", body: gridEventOf("BlobCreated", "PutBlob", host+"/c/k", `,"URL":"`+host+`/c/l"`), words: "twice"},
		{name: "not whole yet: CreateFile", body: gridEventOf("BlobCreated", "CreateFile", host+"/c/k", "")},
		{name: "not whole yet: SftpCreate", body: gridEventOf("BlobCreated", "SftpCreate", host+"/c/k", "")},
		{name: "not whole yet: AppendFile", body: gridEventOf("BlobCreated", "AppendFile", host+"/c/k", "")},
		{name: "no api", body: gridEventOf("BlobCreated", "", host+"/c/k", "")},
		{name: "whole: FlushWithClose", body: gridEventOf("BlobCreated", "FlushWithClose", "https://acct.dfs.core.windows.net/c/k", ""), want: one(made("k"))},
		{name: "whole: SftpCommit", body: gridEventOf("BlobCreated", "SftpCommit", host+"/c/k", ""), want: one(made("k"))},
		{name: "whole: CopyBlob", body: gridEventOf("BlobCreated", "CopyBlob", host+"/c/k", ""), want: one(made("k"))},
		{name: "deleted", body: gridEventOf("BlobDeleted", "DeleteBlob", host+"/c/k", `,"eTag":"0x8D4"`), want: with(func(n *Notice) { n.Op, n.Event = object.Delete, "BlobDeleted" })},
		{name: "version deleted", body: gridEventOf("BlobDeleted", "DeleteBlob", host+"/c/k?versionid=2026-01-02T00:00:00.0000000Z", ""),
			want: with(func(n *Notice) {
				n.Op, n.Event, n.Version = object.Delete, "BlobDeleted", "2026-01-02T00:00:00.0000000Z"
			})},
		{name: "snapshot deleted", body: gridEventOf("BlobDeleted", "DeleteBlob", host+"/c/k?snapshot=2026-01-02T00:00:00.0000000Z", "")},
		{name: "renamed", body: gridEventOf("BlobRenamed", "RenameFile", "", renamed), want: []Notice{
			{Vendor: "azblob", Account: "acct", Container: "c", Key: "old name", Op: object.Delete, Size: -1, Time: at, Event: "BlobRenamed"},
			{Vendor: "azblob", Account: "acct", Container: "c", Key: "new", Size: -1, Time: at, Event: "BlobRenamed"}}},
		{name: "renamed from nowhere", body: gridEventOf("BlobRenamed", "RenameFile", "", `,"destinationUrl":"`+host+`/c/new"`), words: "not the URL"},
		{name: "directory renamed", body: gridEventOf("DirectoryRenamed", "RenameDirectory", "", renamed)},
		{name: "tier changed", body: gridEventOf("BlobTierChanged", "SetBlobTier", host+"/c/k", "")},
		{name: "validation", body: `[{"id":"1","topic":"t","subject":"","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2026-01-02T03:04:05Z","data":{"validationCode":"1"},"dataVersion":"1"}]`},
		{name: "empty array", body: `[]`, words: "0 events"},
		{name: "array of null", body: `[null]`, words: "neither"},
		{name: "array of arrays", body: `[[` + put("/c/k") + `]]`, words: "array"},
		{name: "too many", body: "[" + many + "]", words: "1001 events"},
		{name: "key decoded once", body: put("/c/a%2520b"), want: one(made("a%20b"))},
		{name: "key with a plus", body: put("/c/a+b"), want: one(made("a+b"))},
		{name: "key with encoded slash, question mark and number sign", body: put("/c/a%2Fb%3Fc%23d"), want: one(made("a/b?c#d"))},
		{name: "key with control characters", body: put("/c/a%0A%1B"), want: one(made("a\n\x1b"))},
		{name: "key with a zero byte", body: put("/c/a%00"), words: "zero"},
		{name: "key of dots", body: put("/c/../../etc"), want: one(made("../../etc"))},
		{name: "key badly encoded", body: put("/c/a%zz"), words: "not the URL"},
		{name: "key not encoded", body: put("/c/a b/ä"), want: one(made("a b/ä"))},
		{name: "key of 1,024 bytes", body: put("/c/" + long), want: one(made(long))},
		{name: "key too long", body: put("/c/" + strings.Repeat("k", MaxKey+1)), words: "bytes"},
		{name: "key with a slash first", body: put("/c//k"), want: one(made("/k"))},
		{name: "no key", body: put("/c/"), words: "no key"},
		{name: "no container", body: put("//k"), words: "container"},
		{name: "container with a slash in code", body: put("/a%2Fc/k"), words: "container"},
		{name: "root container", body: put("/k"), want: with(func(n *Notice) { n.Container = "$root" })},
		{name: "fragment", body: put("/c/a#b"), words: "not the URL"},
		{name: "no url", body: gridEventOf("BlobCreated", "PutBlob", "", ""), words: "not the URL"},
		{name: "another scheme", body: gridEventOf("BlobCreated", "PutBlob", "file:///c/k", ""), words: "not the URL"},
		{name: "a user in the url", body: gridEventOf("BlobCreated", "PutBlob", "https://me@acct.blob.core.windows.net/c/k", ""), words: "not the URL"},
		{name: "emulator", body: gridEventOf("BlobCreated", "PutBlob", "http://127.0.0.1:10000/devstoreaccount1/c/k", ""), want: with(func(n *Notice) { n.Account = "devstoreaccount1" })},
		{name: "emulator by name", body: gridEventOf("BlobCreated", "PutBlob", "http://localhost:10000/devstoreaccount1/c/k", ""), want: with(func(n *Notice) { n.Account = "devstoreaccount1" })},
		{name: "another cloud", body: gridEventOf("BlobCreated", "PutBlob", "https://acct.blob.core.chinacloudapi.cn/c/k", ""), want: one(made("k"))},
		{name: "a zone", body: gridEventOf("BlobCreated", "PutBlob", "https://acct.z12.blob.storage.azure.net/c/k", ""), want: one(made("k"))},
		{name: "upper case", body: gridEventOf("BlobCreated", "PutBlob", "https://ACCT.Blob.core.windows.net/c/K", ""), want: one(made("K"))},
		{name: "a domain of one's own", body: gridEventOf("BlobCreated", "PutBlob", "https://files.example.com/c/k", ""), want: one(made("k"))},
		{name: "a domain of one's own and no topic", body: strings.Replace(gridEventOf("BlobCreated", "PutBlob", "https://files.example.com/c/k", ""), topicOfAcct, "t", 1), words: "account"},
		{name: "an account that is none", body: gridEventOf("BlobCreated", "PutBlob", "https://a_b.blob.core.windows.net/c/k", ""), words: "account"},
	}...)
	check(t, ParseEventGrid, vectors)
}

func FuzzParseEventGrid(f *testing.F) {
	f.Add([]byte("[" + gridEventOf("BlobCreated", "PutBlob", "https://acct.blob.core.windows.net/c/a%20b", `,"eTag":"0x8D4","contentLength":12`) + "]"))
	f.Add([]byte(cloudEventOf("BlobDeleted", "DeleteBlob", "http://127.0.0.1:10000/devstoreaccount1/c/k?versionid=x", "")))
	f.Add([]byte(gridEventOf("BlobRenamed", "RenameFile", "", `,"sourceUrl":"https://a.dfs.core.windows.net/c/o","destinationUrl":"https://a.dfs.core.windows.net/c/n"`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseEventGrid(body)
		sane(t, "azblob", got, err)
		for _, n := range got {
			if !accountName.MatchString(n.Account) {
				t.Errorf("account %q", n.Account)
			}
		}
	})
}
