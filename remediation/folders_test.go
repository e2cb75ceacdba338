package remediation_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/remediation"
	"github.com/landwaiter/landwaiter/workflow"
)

// TestInterruptedInsideADriver leaves what a driver without a vendor's
// precondition leaves when it dies inside an act: the next run clears it away.
func TestInterruptedInsideADriver(t *testing.T) {
	overwrite := workflow.Remedy{Handling: workflow.Move, Destinations: to("b"), OnConflict: workflow.Overwrite}
	for name, tt := range map[string]struct {
		remedy workflow.Remedy
		leave  func(t *testing.T, a, b string, job remediation.Job)
	}{
		"overwriting: the old one is aside": {overwrite, func(t *testing.T, _, b string, job remediation.Job) {
			aside(t, b, landing, job.Plan[0].Aside)
		}},
		"overwriting: the old one is aside, the new one there": {overwrite, func(t *testing.T, _, b string, job remediation.Job) {
			aside(t, b, landing, job.Plan[0].Aside)
			folder{b, false}.Write(landing, scanned)
		}},
		"writing: a part is there": {moveToB, func(t *testing.T, _, b string, job remediation.Job) {
			if err := os.Remove(filepath.Join(b, landing)); err != nil {
				t.Fatal(err)
			}
			folder{b, false}.Write(".landwaiter/tmp/"+job.Plan[0].Aside, scanned[:5])
		}},
		"removing: the source is aside": {overwrite, func(t *testing.T, a, _ string, job remediation.Job) {
			aside(t, a, sourceKey, job.Plan[1].Aside)
			job.Plan[0].State = remediation.Done
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFolders(t, false)
			w.places["b"].Write(landing, []byte("foreign"))
			job := w.plan(flow(tt.remedy), workflow.Blocked, tt.remedy.OnConflict != "", false)
			a, b := w.places["a"].(folder).dir, w.places["b"].(folder).dir
			tt.leave(t, a, b, job)
			want := string(scanned)
			if job.Plan[0].State == remediation.Done {
				want = "foreign" // only the removal is at stake
			}
			if err := w.executor().Run(context.Background(), job, keep(w, &job)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{landing}, w.places["b"].Keys()); d != "" || string(w.places["b"].Content(landing)) != want {
				t.Errorf("%s holds %q; %s", landing, w.places["b"].Content(landing), d)
			}
			if left := w.places["a"].Keys(); len(left) > 0 {
				t.Errorf("left %v", left)
			}
			if got := states(job.Plan); got != "copy done, remove done" {
				t.Error(got)
			}
		})
	}
}

// aside moves a file where the file connector puts what it is about to remove.
func aside(t *testing.T, dir, key, name string) {
	t.Helper()
	to := filepath.Join(dir, ".landwaiter", "aside")
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, key), filepath.Join(to, name)); err != nil {
		t.Fatal(err)
	}
}
