package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Storage is a storage unit.
type Storage struct {
	ID              string    `json:"id" example:"0198f02f-0000-7000-8000-000000000001"`
	StorageClientID string    `json:"storageClientId" doc:"By which the webhook knows it: the same as id."`
	Name            string    `json:"name" example:"Invoices"`
	VendorType      int       `json:"storageVendorType" doc:"0 AmazonS3, 3 DellIsilon, 5 SmbCompatible, 6 S3Compatible, 7 AzureBlob, 9 GoogleCloud, 100 LocalFolder."`
	VendorName      string    `json:"storageVendorName" example:"AmazonS3"`
	ProtocolType    int       `json:"storageProtocolType" doc:"0 Amazon's SDK, 3 SMB, 5 Azure Blob, 7 Google Cloud, 100 local."`
	Source          string    `json:"source" doc:"JSON in a string, as it was given." example:"{\"BucketName\":\"invoices\"}"`
	URL             string    `json:"url" doc:"The place as landwaiter writes it; never with secrets." example:"s3://invoices?region=eu-central-1"`
	GroupID         string    `json:"groupId" doc:"Empty for none."`
	AccountID       string    `json:"accountId" doc:"Empty where the storage has credentials of its own."`
	WorkflowID      string    `json:"workflowId" doc:"Empty for the default workflow."`
	Transfer        bool      `json:"transferMetadataAndChecksum"`
	IsManaged       bool      `json:"isManaged" doc:"It stands in the configuration file, which alone changes it."`
	IsReadOnly      bool      `json:"isReadOnly"`
	RealTime        bool      `json:"isRealTimeEnabled"`
	Events          bool      `json:"isEventBased"`
	Status          int       `json:"storageStatus" enum:"0,1,2" doc:"0 available, 1 unavailable, 2 degraded."`
	StatusMessage   string    `json:"storageStatusMessage" doc:"Why it is not available."`
	AddedBy         string    `json:"addedBy" doc:"The id of the user; empty if it was nobody."`
	CreatedAt       time.Time `json:"createdAt"`
	LastUpdated     time.Time `json:"lastUpdated"`
}

// idText is an id in words: none is empty.
func idText(id ledger.ID) string {
	if id == (ledger.ID{}) {
		return ""
	}
	return id.String()
}

func storageOf(v control.StorageView) Storage {
	return Storage{ID: v.ID.String(), StorageClientID: v.ID.String(), Name: v.Name, VendorType: v.Vendor.Number, VendorName: v.Vendor.Name, ProtocolType: v.Vendor.Protocol,
		Source: v.Source, URL: v.URL, GroupID: idText(v.Group), AccountID: idText(v.Account), WorkflowID: idText(v.Workflow), Transfer: v.Transfer,
		IsManaged: v.Managed, IsReadOnly: v.ReadOnly, RealTime: v.RealTime, Events: v.Events, Status: int(v.Status), StatusMessage: v.Detail,
		AddedBy: idText(v.AddedBy), CreatedAt: v.Created, LastUpdated: v.Changed}
}

// storageFields are what a storage is added or changed with.
type storageFields struct {
	Name        *string `json:"Name,omitempty" maxLength:"255" example:"Invoices"`
	Vendor      *string `json:"StorageVendorType,omitempty" maxLength:"40" doc:"Number or name." example:"AmazonS3"`
	Protocol    *string `json:"StorageProtocolType,omitempty" maxLength:"40" doc:"The vendor decides it: what is said here is not looked at."`
	File        *string `json:"CredentialsFile,omitempty" maxLength:"65536" doc:"GoogleCloud: the key of a service account."`
	Credentials *string `json:"Credentials,omitempty" maxLength:"65536" doc:"JSON in a string. Never given back; what is not said stays." example:"{\"AccessKeyId\":\"AKIA…\",\"SecretAccessKey\":\"…\",\"RegionEndpoint\":\"eu-central-1\"}"`
	Source      *string `json:"Source,omitempty" maxLength:"65536" doc:"JSON in a string." example:"{\"BucketName\":\"invoices\",\"FolderLocation\":\"2026\"}"`
	GroupID     *string `json:"GroupId,omitempty" maxLength:"64" doc:"Empty takes it out of its group."`
	AccountID   *string `json:"AccountId,omitempty" maxLength:"64" doc:"Whose credentials it takes. Empty: its own."`
	WorkflowID  *string `json:"WorkflowId,omitempty" maxLength:"64" doc:"Empty: the default workflow."`
	Transfer    *bool   `json:"TransferMetadataAndChecksum,omitempty"`
}

// idField reads an id in a field: empty is none, what is no id is nothing's.
func idField(s *string) *ledger.ID {
	if s == nil {
		return nil
	}
	return idIn(*s)
}

// nobody is an id that nothing has.
var nobody = ledger.ID{0: 0xff, 6: 0x40, 8: 0x80}

func (f storageFields) spec() control.StorageSpec {
	return control.StorageSpec{Name: f.Name, Vendor: f.Vendor, Credentials: f.Credentials, File: f.File, Source: f.Source,
		Group: idField(f.GroupID), Account: idField(f.AccountID), Workflow: idField(f.WorkflowID), Transfer: f.Transfer}
}

// A StorageRef is the path of an operation on one storage.
type StorageRef struct {
	StorageID ID `path:"storageId" doc:"The storage's id."`
}

// storageEntry is the answer that holds one storage.
type storageEntry struct {
	Body struct {
		Envelope
		StorageID string  `json:"storageId"`
		Entry     Storage `json:"entry"`
	}
}

func (a *API) answerStorage(ctx context.Context, id ledger.ID, err error) (*storageEntry, error) {
	out := &storageEntry{}
	if err != nil {
		return out, err
	}
	v, err := a.c.OneStorage(ctx, id)
	out.Body.Envelope, out.Body.StorageID, out.Body.Entry = done(), id.String(), storageOf(v)
	return out, err
}

func (a *API) storages() {
	const tag = "Storages"
	register(a, Op{ID: "listStorages", Method: "GET", Path: "/api/storage/all", Action: "storage.list", Tag: tag, Summary: "Fetch all storage units"},
		func(ctx context.Context, _ *struct{}) (*entries[Storage], error) {
			list, err := a.c.AllStorages(ctx)
			return listed(list, storageOf), err
		})
	register(a, Op{ID: "getStorage", Method: "GET", Path: "/api/storage/{storageId}", Action: "storage.list", Tag: tag, Summary: "Fetch storage by ID", Errors: []int{404}},
		func(ctx context.Context, in *StorageRef) (*storageEntry, error) {
			return a.answerStorage(ctx, in.StorageID.ID, nil)
		})
	register(a, Op{ID: "addStorage", Method: "POST", Path: "/api/storage", Action: "storage.add", Tag: tag, Summary: "Add a storage",
		About:  "The storage is listed before it is saved: what cannot be reached is refused with what the vendor said. docs/api.md has what each vendor wants.",
		Errors: []int{409, 503}, Change: takesForm[storageFields](a)},
		func(ctx context.Context, in *Form[storageFields]) (*storageEntry, error) {
			f, err := in.read(a)
			if err != nil {
				return nil, err
			}
			n, err := a.c.AddStorage(ctx, f.spec())
			return a.answerStorage(ctx, n.ID, err)
		})
	register(a, Op{ID: "updateStorage", Method: "PATCH", Path: "/api/storage/{storageId}", Action: "storage.set", Tag: tag, Summary: "Update a storage",
		About:  "What is not said stays as it is, also within Credentials and Source; but a storage that moves to another server needs its secrets again.",
		Errors: []int{404, 409, 503}, Change: takesForm[storageFields](a)},
		func(ctx context.Context, in *struct {
			StorageRef
			Form[storageFields]
		}) (*storageEntry, error) {
			f, err := in.read(a)
			if err != nil {
				return nil, err
			}
			n, err := a.c.SetStorage(ctx, in.StorageID.ID, f.spec())
			return a.answerStorage(ctx, n.ID, err)
		})
	register(a, Op{ID: "deleteStorage", Method: "DELETE", Path: "/api/storage/{storageId}", Action: "storage.remove", Tag: tag, Summary: "Delete a storage",
		About: "What is known of its objects stays; what is pending is canceled. Refused while a scan of it runs, unless forced.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			StorageRef
			Force bool `query:"forceDelete" doc:"Stop the scans of it that run."`
		}) (*Done, error) {
			return &Done{done()}, a.c.RemoveStorage(ctx, in.StorageID.ID, in.Force)
		})
	a.storageLists()
}
