package main

import (
	"fmt"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/internal/output"
)

var effectColumns = []output.Column[control.Effect]{
	{Name: "STATE", Value: func(e control.Effect) string { return e.State }, Color: func(e control.Effect) output.Color {
		switch e.State {
		case "done":
			return output.Good
		case "failed", "refused":
			return output.Bad
		}
		return output.Plain
	}},
	{Name: "ID", Value: func(e control.Effect) string { return e.ID }},
	{Name: "UNIT", Value: func(e control.Effect) string { return e.Unit }},
	{Name: "KEY", Value: func(e control.Effect) string { return e.Key }},
	{Name: "DETAIL", Value: func(e control.Effect) string { return e.Detail }},
}

// effects prints what was done to each and says, as an error, if a part of it
// or all of it was not.
func effects(a *App, done []control.Effect) error {
	if err := output.List(a.printer(), effectColumns, output.Of(done)); err != nil {
		return err
	}
	bad := 0
	for _, e := range done {
		if e.State == "failed" || e.State == "refused" {
			bad++
		}
	}
	switch {
	case bad == 0:
		return nil
	case bad == len(done):
		return &exit{exitFailed, fmt.Errorf("none of %d was done", len(done))}
	}
	return partial(fmt.Errorf("%d of %d were not done", bad, len(done)))
}
