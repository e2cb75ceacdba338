package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
)

// A ScanSchedule is scans of a storage that come again.
type ScanSchedule struct {
	ID           string    `json:"id" format:"uuid"`
	StorageID    string    `json:"storageId" format:"uuid"`
	StorageName  string    `json:"storageName"`
	Name         string    `json:"name"`
	Type         int       `json:"scheduleType" enum:"0,1,2,3" doc:"0 hourly, 1 daily, 2 weekly, 3 monthly."`
	Interval     int       `json:"interval" doc:"Every so many hours, days, weeks or months."`
	DayOfWeek    *int      `json:"dayOfWeek,omitempty" doc:"Of a weekly one: 0 is Sunday."`
	DayOfMonth   *int      `json:"dayOfMonth,omitempty" doc:"Of a monthly one; where a month is shorter, its last day."`
	StartDate    time.Time `json:"startDate" doc:"What is counted from."`
	Folder       string    `json:"folder"`
	Priority     int       `json:"priority"`
	WorkflowID   string    `json:"workflowId,omitempty"`
	IsEnabled    bool      `json:"isEnabled"`
	NextScanTime time.Time `json:"nextScanTime"`
	LastScanID   string    `json:"lastScanId,omitempty"`
	UserID       string    `json:"userId,omitempty"`
	UserName     string    `json:"userName,omitempty"`
}

func scheduleOf(v control.ScheduleView) ScanSchedule {
	s := ScanSchedule{ID: v.ID.String(), StorageID: v.Storage.String(), StorageName: v.StorageName, Name: v.Name, Type: int(v.Unit), Interval: v.Every, StartDate: v.Start,
		Folder: v.Folder, Priority: v.Priority, WorkflowID: idOrEmpty(v.Workflow), IsEnabled: !v.Disabled, NextScanTime: v.Next, LastScanID: idOrEmpty(v.LastScan),
		UserID: idOrEmpty(v.By), UserName: v.ByName}
	switch v.Unit {
	case control.Weekly:
		day := int(v.Weekday)
		s.DayOfWeek = &day
	case control.Monthly:
		s.DayOfMonth = &v.Day
	}
	return s
}

// A ScheduleBody is what a schedule is made of; what is not there is left as it is.
type ScheduleBody struct {
	Name       *string    `json:"name,omitempty" maxLength:"255" example:"Nightly"`
	Type       *int       `json:"scheduleType,omitempty" minimum:"0" maximum:"3" doc:"0 hourly, 1 daily, 2 weekly, 3 monthly."`
	Interval   *int       `json:"interval,omitempty" minimum:"1" maximum:"1000" doc:"Every so many hours, days, weeks or months; 1 if nothing is said."`
	DayOfWeek  *int       `json:"dayOfWeek,omitempty" minimum:"0" maximum:"6" doc:"Of a weekly one: 0 is Sunday."`
	DayOfMonth *int       `json:"dayOfMonth,omitempty" minimum:"1" maximum:"31" doc:"Of a monthly one."`
	StartDate  *time.Time `json:"startDate,omitempty" doc:"What is counted from: now if nothing is said."`
	Folder     *string    `json:"folder,omitempty" maxLength:"1024"`
	Priority   *int       `json:"priority,omitempty" minimum:"0" maximum:"100"`
	WorkflowID *ID        `json:"workflowId,omitempty"`
	IsEnabled  *bool      `json:"isEnabled,omitempty"`
}

func (b *ScheduleBody) apply(name *string, s *control.Schedule, disabled *bool) {
	set(name, b.Name)
	set(&s.Every, b.Interval)
	set(&s.Day, b.DayOfMonth)
	set(&s.Start, b.StartDate)
	set(&s.Folder, b.Folder)
	set(&s.Priority, b.Priority)
	if b.Type != nil {
		s.Unit = control.Period(*b.Type)
	}
	if b.DayOfWeek != nil {
		s.Weekday = time.Weekday(*b.DayOfWeek)
	}
	if b.WorkflowID != nil {
		s.Workflow = b.WorkflowID.ID
	}
	if b.IsEnabled != nil {
		*disabled = !*b.IsEnabled
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

type scheduleEntry struct {
	Body struct {
		Envelope
		ScheduleID string `json:"scheduleId"`
	}
}

func (a *API) schedules() {
	const tag = "Scans"
	register(a, Op{ID: "addSchedule", Method: "PUT", Path: "/api/storage/{storageId}/scan_schedule", Action: "schedule.add", Tag: tag, Summary: "Add a scan schedule",
		About: "Times are UTC, counted from startDate. A run that finds another scan over the same part is left out; of runs that were missed while nothing ran, one is made up for.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			StorageID ID `path:"storageId"`
			Body      ScheduleBody
		}) (*scheduleEntry, error) {
			s, name, disabled := control.Schedule{}, "", false
			s.Every, s.Day = 1, 1
			in.Body.apply(&name, &s, &disabled)
			id, err := a.c.AddSchedule(ctx, in.StorageID.ID, name, s, disabled)
			out := &scheduleEntry{}
			out.Body.Envelope, out.Body.ScheduleID = done(), id.String()
			return out, err
		})
	register(a, Op{ID: "updateSchedule", Method: "PUT", Path: "/api/storage/scan_schedule/update/{storageId}", Action: "schedule.set", Tag: tag, Summary: "Update a scan schedule",
		About: "What is not there is left as it is.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			StorageID ID `path:"storageId"`
			Body      struct {
				ScheduleID ID `json:"scheduleId"`
				ScheduleBody
			}
		}) (*scheduleEntry, error) {
			out := &scheduleEntry{}
			out.Body.Envelope, out.Body.ScheduleID = done(), in.Body.ScheduleID.String()
			return out, a.c.SetSchedule(ctx, in.StorageID.ID, in.Body.ScheduleID.ID, in.Body.apply)
		})
	register(a, Op{ID: "listSchedules", Method: "GET", Path: "/api/storage/scan_schedules/{storageId}/{sortDirection}/{startIndex}/{count}", Action: "schedule.list", Tag: tag,
		Summary: "Fetch scan schedules", About: "By name.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			StorageID ID     `path:"storageId"`
			Direction int    `path:"sortDirection" minimum:"0" maximum:"1" doc:"0 ascending, 1 descending."`
			Start     int    `path:"startIndex" minimum:"0" maximum:"2147483647"`
			Count     int    `path:"count" minimum:"1" maximum:"2147483647"`
			Name      string `query:"name" maxLength:"255" doc:"Part of the name."`
			User      string `query:"user" maxLength:"255" doc:"Part of the name of who made it."`
			Type      string `query:"type" maxLength:"20" doc:"hourly, daily, weekly or monthly, or their number."`
		}) (*entries[ScanSchedule], error) {
			q := control.ScheduleQuery{Name: in.Name, User: in.User, Desc: in.Direction == 1, Start: in.Start, Count: in.Count, Period: periodOf(in.Type)}
			list, total, err := a.c.Schedules(ctx, in.StorageID.ID, q)
			out := listed(list, scheduleOf)
			out.Body.TotalCount = int64(total)
			return out, err
		})
	register(a, Op{ID: "nextSchedule", Method: "GET", Path: "/api/scan/scheduled/{storageId}", Action: "schedule.list", Tag: tag, Summary: "Get next scheduled scan",
		About: "404 if none is to come.", Errors: []int{404}},
		func(ctx context.Context, in *scanStorageID) (*oneSchedule, error) {
			out := &oneSchedule{}
			v, err := a.c.NextSchedule(ctx, in.StorageID.ID)
			out.Body.Envelope, out.Body.Entry = done(), scheduleOf(v)
			return out, err
		})
	register(a, Op{ID: "deleteSchedules", Method: "DELETE", Path: "/api/storage/scan_schedule", Action: "schedule.remove", Tag: tag, Summary: "Delete scan schedules",
		About: "The body is a list of ids. result is 1 if some of them were none.", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Body []ID `minItems:"1" maxItems:"1000"`
		}) (*schedulesDeleted, error) {
			var list []ledger.ID
			for _, id := range in.Body {
				list = append(list, id.ID)
			}
			n, err := a.c.RemoveSchedules(ctx, list)
			out := &schedulesDeleted{}
			out.Body.Envelope, out.Body.All = done(), n == len(list)
			if !out.Body.All {
				out.Body.Result, out.Body.ResponseKey, out.Body.ResponseMessage = resultError, "FAILED_INVALID_LIST_OF_IDS", "some of the ids are of no schedule"
			}
			return out, err
		})
}

type oneSchedule struct {
	Body struct {
		Envelope
		Entry ScanSchedule `json:"entry"`
	}
}

type schedulesDeleted struct {
	Body struct {
		Envelope
		All bool `json:"areAllDeleted"`
	}
}

// periodOf reads a period's name or number; nil for none, one that is no period
// selects nothing.
func periodOf(text string) *control.Period {
	if text == "" {
		return nil
	}
	none := control.Period(-1)
	for p := control.Hourly; p <= control.Monthly; p++ {
		if strings.EqualFold(text, p.String()) || text == strconv.Itoa(int(p)) {
			return &p
		}
	}
	return &none
}
