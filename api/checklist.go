package api

import (
	"context"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/control"
)

// A CheckItem is a safety measure of a bucket.
type CheckItem struct {
	Item         string     `json:"item" enum:"https_access,authenticated_access,least_privilege,versioning,access_logging,server_side_encryption"`
	Name         string     `json:"name" example:"HTTPS access"`
	Importance   string     `json:"importance" enum:"critical,major,minor"`
	IsEnabled    bool       `json:"isEnabled"`
	Status       int        `json:"status" enum:"0,1,2" doc:"0 unknown, 1 passed, 2 failed."`
	Details      string     `json:"details" doc:"What was seen, or why nothing could be."`
	LastVerified *time.Time `json:"lastVerified,omitempty"`
}

// A CheckInfo says what an item is about.
type CheckInfo struct {
	Item        string `json:"item"`
	Name        string `json:"name"`
	Importance  string `json:"importance"`
	Description string `json:"description"`
	Remedy      string `json:"remedy"`
}

// checkInfos say what each item is about, by its name.
func checkInfos() map[string]CheckInfo {
	m := map[string]CheckInfo{}
	for _, i := range []CheckInfo{
		{connectors.HTTPSAccess, "HTTPS access", "critical", "Objects cannot be read or changed on their way.", "Deny requests for which aws:SecureTransport is false, and reach other servers by https://."},
		{connectors.AuthenticatedAccess, "Authenticated access", "critical", "Nobody gets in without credentials.", "Block public access, and take Everyone and Authenticated users out of the bucket's access list."},
		{connectors.LeastPrivilege, "Least privilege", "major", "The bucket's policy allows no more than is needed.", "Replace wildcards for principals and actions by names."},
		{connectors.Versioning, "Versioning", "major", "What was overwritten or deleted can be restored.", "Enable versioning of the bucket."},
		{connectors.AccessLogging, "Access logging", "major", "It can be found out who did what.", "Enable server access logging into another bucket."},
		{connectors.ServerSideEncryption, "Server-side encryption", "minor", "Objects are encrypted at rest.", "Set a default encryption of the bucket."},
	} {
		m[i.Item] = i
	}
	return m
}

type checklist struct {
	Body struct {
		Envelope
		StorageID string      `json:"storageId"`
		IsEnabled bool        `json:"isEnabled"`
		Entries   []CheckItem `json:"entries"`
	}
}

func checklistOf(l control.Checklist) *checklist {
	out := &checklist{}
	b, infos := &out.Body, checkInfos()
	b.Envelope, b.StorageID, b.IsEnabled = done(), l.Storage.String(), !l.Disabled
	for _, name := range connectors.Items() {
		i := CheckItem{Item: name, Name: infos[name].Name, Importance: infos[name].Importance, IsEnabled: true}
		if kept := l.Items[name]; kept != nil {
			i.IsEnabled, i.Status, i.Details = !kept.Disabled, int(kept.State), kept.Why
			if !kept.At.IsZero() {
				i.LastVerified = &kept.At
			}
		}
		b.Entries = append(b.Entries, i)
	}
	return out
}

func (a *API) checklists() {
	const tag, path = "Security checklist", "/api/security-checklist/{storageId}"
	register(a, Op{ID: "getChecklist", Method: "GET", Path: path, Action: "checklist.list", Tag: tag, Summary: "Fetch storage security checklist",
		About: "As it was seen last; only storages on S3 have one.", Errors: []int{404}},
		func(ctx context.Context, in *StorageRef) (*checklist, error) {
			l, err := a.c.Checklist(ctx, in.StorageID.ID)
			return checklistOf(l), err
		})
	register(a, Op{ID: "getChecklistInfo", Method: "GET", Path: path + "/info", Action: "checklist.list", Tag: tag, Summary: "Fetch security checklist details", Errors: []int{404}},
		func(ctx context.Context, in *StorageRef) (*entries[CheckInfo], error) {
			_, err := a.c.Checklist(ctx, in.StorageID.ID)
			infos := checkInfos()
			return listed(connectors.Items(), func(name string) CheckInfo { return infos[name] }), err
		})
	register(a, Op{ID: "updateChecklistItem", Method: "PUT", Path: path + "/item", Action: "checklist.set", Tag: tag, Summary: "Update security checklist item",
		About: "An item that is off is not looked at.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			StorageRef
			Body struct {
				Item      string `json:"item" minLength:"1" maxLength:"64" example:"versioning"`
				IsEnabled bool   `json:"isEnabled"`
			}
		}) (*checklist, error) {
			l, err := a.c.EnableCheckItem(ctx, in.StorageID.ID, in.Body.Item, in.Body.IsEnabled)
			return checklistOf(l), err
		})
	register(a, Op{ID: "verifyChecklist", Method: "PUT", Path: path + "/verify", Action: "checklist.verify", Tag: tag, Summary: "Verify the security checklist for storage",
		About: "Asks the bucket now, with the storage's credentials; nothing is changed there.", Errors: []int{404, 409, 503}},
		func(ctx context.Context, in *StorageRef) (*checklist, error) {
			l, err := a.c.VerifyChecklist(ctx, in.StorageID.ID)
			return checklistOf(l), err
		})
	register(a, Op{ID: "enableChecklistItems", Method: "PUT", Path: path + "/enable-all", Action: "checklist.set", Tag: tag, Summary: "Enable all security checklist items", Errors: []int{404, 409}},
		func(ctx context.Context, in *StorageRef) (*checklist, error) {
			l, err := a.c.EnableCheckItems(ctx, in.StorageID.ID)
			return checklistOf(l), err
		})
	register(a, Op{ID: "enableChecklist", Method: "PATCH", Path: "/api/security-checklist", Action: "checklist.set", Tag: tag, Summary: "Enable/Disable the security checklist", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				StorageID ID   `json:"storageId"`
				IsEnabled bool `json:"isEnabled"`
			}
		}) (*checklist, error) {
			l, err := a.c.EnableChecklist(ctx, in.Body.StorageID.ID, in.Body.IsEnabled)
			return checklistOf(l), err
		})
}
