package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// A Group is accounts and storages that belong together.
type Group struct {
	ID          string    `json:"id" format:"uuid"`
	Name        string    `json:"name" example:"Finance"`
	Description string    `json:"description"`
	CreatedAt   time.Time `json:"createdAt"`
	LastUpdated time.Time `json:"lastUpdated"`
}

func groupOf(n ledger.Noun) Group {
	var g control.Group
	_ = json.Unmarshal(n.Body, &g) // control wrote it
	return Group{ID: n.ID.String(), Name: n.Name, Description: g.Description, CreatedAt: n.Created, LastUpdated: n.Changed}
}

type groupID struct {
	GroupID ID `path:"groupId" doc:"The group's id."`
}

type groupEntry struct {
	Body struct {
		Envelope
		GroupID string `json:"groupId"`
		Entry   Group  `json:"entry"`
	}
}

type groupCount struct {
	Body struct {
		Envelope
		GroupCount struct {
			Count int64 `json:"count"`
		} `json:"groupCount"`
	}
}

func (a *API) groups() {
	const tag = "Groups"
	register(a, Op{ID: "listGroups", Method: "GET", Path: "/api/group", Action: "group.list", Tag: tag, Summary: "Fetch all groups"},
		func(ctx context.Context, _ *struct{}) (*entries[Group], error) {
			list, err := a.c.Groups(ctx)
			return listed(list, groupOf), err
		})
	register(a, Op{ID: "countGroups", Method: "GET", Path: "/api/group/count", Action: "group.list", Tag: tag, Summary: "Fetch the number of groups"},
		func(ctx context.Context, _ *struct{}) (*groupCount, error) {
			list, err := a.c.Groups(ctx)
			out := &groupCount{}
			out.Body.Envelope, out.Body.GroupCount.Count = done(), int64(len(list))
			return out, err
		})
	register(a, Op{ID: "getGroup", Method: "GET", Path: "/api/group/{groupId}", Action: "group.list", Tag: tag, Summary: "Fetch a group by its id", Errors: []int{404}},
		func(ctx context.Context, in *groupID) (*groupEntry, error) {
			n, err := a.c.Group(ctx, in.GroupID.ID)
			return answerGroup(n), err
		})
	register(a, Op{ID: "addGroup", Method: "POST", Path: "/api/group", Action: "group.add", Tag: tag, Summary: "Add a group", Errors: []int{409}},
		func(ctx context.Context, in *struct {
			Body struct {
				Name        string `json:"name" minLength:"1" maxLength:"255" example:"Finance"`
				Description string `json:"description,omitempty" maxLength:"2000"`
			}
		}) (*groupEntry, error) {
			n, err := a.c.AddGroup(ctx, in.Body.Name, control.Group{Description: in.Body.Description})
			return answerGroup(n), err
		})
	register(a, Op{ID: "updateGroup", Method: "PATCH", Path: "/api/group", Action: "group.set", Tag: tag, Summary: "Update a group", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				GroupID     ID      `json:"groupId"`
				Name        *string `json:"name,omitempty" minLength:"1" maxLength:"255"`
				Description *string `json:"description,omitempty" maxLength:"2000"`
			}
		}) (*groupEntry, error) {
			n, err := a.c.SetGroup(ctx, in.Body.GroupID.ID, in.Body.Name, in.Body.Description)
			return answerGroup(n), err
		})
	register(a, Op{ID: "deleteGroup", Method: "DELETE", Path: "/api/group/{groupId}", Action: "group.remove", Tag: tag, Summary: "Delete a group",
		About: "A group that accounts or storages belong to is not deleted.", Errors: []int{404, 409}},
		func(ctx context.Context, in *groupID) (*groupEntry, error) {
			n := ledger.Noun{ID: in.GroupID.ID}
			return answerGroup(n), a.c.RemoveGroup(ctx, in.GroupID.ID)
		})
}

func answerGroup(n ledger.Noun) *groupEntry {
	out := &groupEntry{}
	out.Body.Envelope, out.Body.GroupID, out.Body.Entry = done(), n.ID.String(), groupOf(n)
	return out
}
