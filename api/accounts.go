package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// An Account is credentials that storages share.
type Account struct {
	ID            string    `json:"id" format:"uuid"`
	Name          string    `json:"name" example:"Production"`
	Description   string    `json:"description"`
	VendorType    int       `json:"vendorType" doc:"As storageVendorType."`
	VendorName    string    `json:"vendorName" example:"AmazonS3"`
	ProtocolType  int       `json:"protocolType" doc:"As storageProtocolType."`
	AutoDiscovery bool      `json:"autoDiscovery" doc:"Its new places become storages by themselves."`
	GroupID       string    `json:"groupId" doc:"Empty for none."`
	AddedBy       string    `json:"addedBy"`
	CreatedAt     time.Time `json:"createdAt"`
	LastUpdated   time.Time `json:"lastUpdated"`
}

func accountOf(n ledger.Noun) Account {
	var b control.AccountBody
	_ = json.Unmarshal(n.Body, &b) // control wrote it
	v, _ := control.VendorOf(b.Vendor)
	return Account{ID: n.ID.String(), Name: n.Name, Description: b.Description, VendorType: v.Number, VendorName: v.Name, ProtocolType: v.Protocol,
		AutoDiscovery: b.Discover, GroupID: idText(n.Parent), AddedBy: idText(b.AddedBy), CreatedAt: n.Created, LastUpdated: n.Changed}
}

// accountFields are what an account is added or changed with.
type accountFields struct {
	AccountID   *string  `json:"AccountId,omitempty" maxLength:"64" doc:"To change one: which."`
	Name        *string  `json:"Name,omitempty" maxLength:"255" example:"Production"`
	Description *string  `json:"Description,omitempty" maxLength:"2000"`
	Credentials *string  `json:"Credentials,omitempty" maxLength:"65536" doc:"JSON in a string, as of a storage. Never given back; what is not said stays."`
	File        *string  `json:"CredentialsFile,omitempty" maxLength:"65536" doc:"GoogleCloud: the key of a service account."`
	Protocol    *string  `json:"ProtocolType,omitempty" maxLength:"40" doc:"The vendor decides it: what is said here is not looked at."`
	Vendor      *string  `json:"VendorType,omitempty" maxLength:"40" doc:"Number or name of a storageVendorType." example:"AmazonS3"`
	Discover    *bool    `json:"AutoDiscovery,omitempty"`
	GroupID     *string  `json:"GroupId,omitempty" maxLength:"64" doc:"Empty takes it out of its group."`
	StorageIDs  []string `json:"StorageIds,omitempty" maxItems:"1000" doc:"To add one: storages that take its credentials from now on."`
}

func (f accountFields) spec() control.AccountSpec {
	s := control.AccountSpec{Name: f.Name, Description: f.Description, Vendor: f.Vendor, Credentials: f.Credentials, File: f.File, Discover: f.Discover, Group: idField(f.GroupID)}
	for _, id := range f.StorageIDs {
		s.Storages = append(s.Storages, *idField(&id))
	}
	return s
}

type accountEntry struct {
	Body struct {
		Envelope
		AccountID string  `json:"accountId"`
		Entry     Account `json:"entry"`
	}
}

func answerAccount(n ledger.Noun) *accountEntry {
	out := &accountEntry{}
	out.Body.Envelope, out.Body.AccountID, out.Body.Entry = done(), n.ID.String(), accountOf(n)
	return out
}

type accountCount struct {
	Body struct {
		Envelope
		AccountCount struct {
			Count int64 `json:"count"`
		} `json:"accountCount"`
	}
}

// An AccountRef is the path of an operation on one account.
type AccountRef struct {
	AccountID ID `path:"accountId" doc:"The account's id."`
}

type accountDeleted struct {
	Body struct {
		Envelope
		AccountID string `json:"accountId"`
	}
}

// AccountStorage is a place of an account that is no storage yet.
type AccountStorage struct {
	BucketName string `json:"bucketName" doc:"Of a bucket, container or share." example:"invoices"`
	URL        string `json:"url" example:"s3://invoices?region=eu-central-1"`
}

func accountStorageOf(f connectors.Found) AccountStorage {
	return AccountStorage{BucketName: f.Name, URL: f.URL}
}

func (a *API) accounts() {
	const tag = "Accounts"
	register(a, Op{ID: "listAccounts", Method: "GET", Path: "/api/account", Action: "account.list", Tag: tag, Summary: "Fetch all accounts"},
		func(ctx context.Context, _ *struct{}) (*entries[Account], error) {
			list, err := a.c.Accounts(ctx)
			return listed(list, accountOf), err
		})
	register(a, Op{ID: "countAccounts", Method: "GET", Path: "/api/account/count", Action: "account.list", Tag: tag, Summary: "Fetch the number of accounts"},
		func(ctx context.Context, _ *struct{}) (*accountCount, error) {
			list, err := a.c.Accounts(ctx)
			out := &accountCount{}
			out.Body.Envelope, out.Body.AccountCount.Count = done(), int64(len(list))
			return out, err
		})
	register(a, Op{ID: "getAccount", Method: "GET", Path: "/api/account/{accountId}", Action: "account.list", Tag: tag, Summary: "Fetch account by ID", Errors: []int{404}},
		func(ctx context.Context, in *AccountRef) (*accountEntry, error) {
			n, err := a.c.Account(ctx, in.AccountID.ID)
			return answerAccount(n), err
		})
	register(a, Op{ID: "listAccountStorages", Method: "GET", Path: "/api/account/{accountId}/storages", Action: "account.list", Tag: tag,
		Summary: "Fetch available storage units for an account", About: "The vendor is asked now, with the account's credentials. What is a storage already is left out.", Errors: []int{404}},
		func(ctx context.Context, in *AccountRef) (*entries[AccountStorage], error) {
			list, err := a.c.AccountStorages(ctx, in.AccountID.ID)
			return listed(list, accountStorageOf), err
		})
	register(a, Op{ID: "addAccount", Method: "POST", Path: "/api/account", Action: "account.add", Tag: tag, Summary: "Add an account",
		About: "The account is asked for its places before it is saved. The fields may stand in the query too.", Errors: []int{409, 503}, Change: takesForm[accountFields](a)},
		func(ctx context.Context, in *Form[accountFields]) (*accountEntry, error) {
			f, err := in.read(a)
			if err != nil {
				return nil, err
			}
			n, err := a.c.AddAccount(ctx, f.spec())
			return answerAccount(n), err
		})
	register(a, Op{ID: "updateAccount", Method: "PATCH", Path: "/api/account", Action: "account.set", Tag: tag, Summary: "Update an account",
		About: "Its storages go on with what it says now. The fields may stand in the query too.", Errors: []int{404, 409, 503}, Change: takesForm[accountFields](a)},
		func(ctx context.Context, in *Form[accountFields]) (*accountEntry, error) {
			f, err := in.read(a)
			if err != nil {
				return nil, err
			}
			if f.AccountID == nil {
				return nil, newProblem(400, "AccountId is needed")
			}
			n, err := a.c.SetAccount(ctx, *idField(f.AccountID), f.spec())
			return answerAccount(n), err
		})
	register(a, Op{ID: "deleteAccount", Method: "DELETE", Path: "/api/account/{accountId}", Action: "account.remove", Tag: tag, Summary: "Delete an account",
		About: "An account that storages use is not deleted.", Errors: []int{404, 409}},
		func(ctx context.Context, in *AccountRef) (*accountDeleted, error) {
			out := &accountDeleted{}
			out.Body.Envelope, out.Body.AccountID = done(), in.AccountID.String()
			return out, a.c.RemoveAccount(ctx, in.AccountID.ID)
		})
}
