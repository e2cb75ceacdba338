package api

import (
	"context"
	"maps"
	"slices"
	"time"
)

// A Tour is one of the console that a user has finished.
type Tour struct {
	TourType      int       `json:"tourType" enum:"0,1" doc:"0 onboarding, 1 workflows."`
	FinalizedDate time.Time `json:"finalizedDate"`
}

type tourList struct {
	Body struct {
		Envelope
		UserID    string `json:"userId"`
		UserTours []Tour `json:"userTours"`
	}
}

func (a *API) tours() {
	const tag = "User tours"
	register(a, Op{ID: "listUserTours", Method: "GET", Path: "/api/usertour/{userId}", Action: "tour.list", Tag: tag, Summary: "Fetch the tours completed by a user", Errors: []int{404}},
		func(ctx context.Context, in *userID) (*tourList, error) {
			tours, err := a.c.Tours(ctx, in.UserID.ID)
			out := &tourList{}
			out.Body.Envelope, out.Body.UserID, out.Body.UserTours = done(), in.UserID.String(), make([]Tour, 0, len(tours))
			for _, n := range slices.Sorted(maps.Keys(tours)) {
				out.Body.UserTours = append(out.Body.UserTours, Tour{n, tours[n].UTC()})
			}
			return out, err
		})
	register(a, Op{ID: "finalizeUserTour", Method: "POST", Path: "/api/usertour/finalizeUserTour", Action: "tour.finish", Tag: tag, Summary: "Mark a tour as completed by a user", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			Body struct {
				UserID       ID  `json:"userId"`
				UserTourType int `json:"userTourType" enum:"0,1" doc:"0 onboarding, 1 workflows."`
			}
		}) (*Done, error) {
			return &Done{done()}, a.c.FinishTour(ctx, in.Body.UserID.ID, in.Body.UserTourType)
		})
}
