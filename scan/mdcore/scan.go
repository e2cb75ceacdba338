package mdcore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// How often polling a job may fail in a row, by what went wrong.
const (
	maxFailures = 4  // no answer, or an error of the instance's own
	maxLost     = 3  // "Not Found": a cluster may need a moment to know its own job
	maxBusy     = 60 // rate limits, a full queue
)

// Scan submits s and waits for the complete report. The SHA-256 of what was
// sent must be that of the report. An object without bytes is clean without
// asking: there is nothing to inspect, and the instance refuses it. A size that
// the reader does not keep is fault.Changed.
func (e *Engine) Scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	const op = "mdcore.Scan"
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return scan.Report{}, err
	}
	if err := e.open(op); err != nil {
		return scan.Report{}, err
	}
	if s.Size < 0 || s.Open == nil {
		return scan.Report{}, fault.New(fault.Invalid, op, e.name, errors.New("the sample has no size or no content"))
	}
	if !printable(s.UserAgent) {
		return scan.Report{}, fault.New(fault.Invalid, op, e.name, errors.New("the user agent holds characters that no header may"))
	}
	if s.Size == 0 {
		return e.empty(ctx, s)
	}
	inner, cancel := context.WithTimeoutCause(ctx, e.o.Timeout, errTimeout)
	defer cancel()
	rep, err := e.scan(inner, s)
	switch {
	case err == nil:
		rep.Took = time.Since(start)
		return rep, nil
	case ctx.Err() != nil:
		return scan.Report{}, ctx.Err()
	case errors.Is(context.Cause(inner), errTimeout):
		return scan.Report{}, &fault.Error{Op: op, On: e.name, Kind: fault.Unavailable, Reason: string(scan.Timeout),
			Err: fmt.Errorf("%w: over %v", errTimeout, e.o.Timeout)}
	case errors.Is(err, errTooLarge):
		return scan.Report{Verdict: scan.NotScanned, Reason: scan.TooLarge, Code: scan.Code(scan.NotScanned, scan.TooLarge),
			Engine: e.name, Took: time.Since(start)}, nil
	}
	return scan.Report{}, err
}

func (e *Engine) scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	defs := e.definitions(ctx) // before the scan, so that they are never newer than what it used
	if rep, ok := e.byHash(ctx, s); ok {
		return e.dated(rep, defs), nil
	}
	id, sum, err := e.submit(ctx, s)
	if err != nil {
		return scan.Report{}, err
	}
	rep, err := e.finish(ctx, id, s, sum)
	if err != nil {
		if !errors.Is(err, errLost) {
			e.cancel(ctx, id)
		}
		return scan.Report{}, err
	}
	return e.dated(rep, defs), nil
}

// finish waits for the job and judges its report.
func (e *Engine) finish(ctx context.Context, id string, s scan.Sample, sum []byte) (scan.Report, error) {
	const op = "mdcore.report"
	rep, err := e.wait(ctx, id)
	if err != nil {
		return scan.Report{}, err
	}
	if f := rep.File; f != nil {
		if f.Size.set && f.Size.n != s.Size {
			return scan.Report{}, e.malformed(op, fmt.Errorf("the report is about %d bytes, %d were sent", f.Size.n, s.Size))
		}
		if f.SHA256 != "" && !sameHash(f.SHA256, sum) {
			return scan.Report{}, e.malformed(op, errors.New("the report is about other content than was sent"))
		}
	}
	t, err := e.members(ctx, id, rep)
	if err != nil {
		return scan.Report{}, err
	}
	return e.judge(rep, t), nil
}

func sameHash(s string, sum []byte) bool {
	b, err := hex.DecodeString(s)
	return err == nil && bytes.Equal(b, sum)
}

// wait polls the job until its report is complete.
func (e *Engine) wait(ctx context.Context, id string) (*report, error) {
	pause := e.o.PollMin
	p := e.patience()
	for {
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(pause+pause/2, e.o.PollMax)
		rep, err := e.fetch(ctx, id, "")
		if err != nil {
			after, err := p.forgive(ctx, err)
			if err != nil {
				return nil, err
			}
			pause = max(pause, after)
			continue
		}
		p = e.patience()
		done, err := rep.finished(id)
		if err != nil {
			return nil, e.malformed("mdcore.report", err)
		}
		if done {
			return rep, nil
		}
	}
}

// fetch asks for the job's report once; query is "" or "?…". The error is
// errLost where the instance does not know it.
func (e *Engine) fetch(ctx context.Context, id, query string) (*report, error) {
	const op = "mdcore.report"
	r, err := e.get(ctx, op, "/file/"+id+query, nil)
	if err != nil {
		return nil, err
	}
	if notFound(r.body, id) || r.status == http.StatusNotFound {
		return nil, &fault.Error{Op: op, On: e.name, Kind: fault.Unavailable, Reason: string(scan.EngineError), Err: errLost}
	}
	var rep report
	if err := decode(r.body, &rep); err != nil {
		return nil, e.malformed(op, err)
	}
	return &rep, nil
}

// finished reports whether the report of job id is complete. What is neither
// complete nor in progress is an error.
func (r *report) finished(id string) (bool, error) {
	switch {
	case r.DataID != id:
		return false, fmt.Errorf("the report is of job %.40q, not of %s", r.DataID, id)
	case r.Scan != nil && r.Scan.DataID != "" && r.Scan.DataID != id:
		return false, errors.New("the scan results are of another job")
	case r.Process == nil || !r.Process.Progress.set:
		return false, errors.New("the report has no progress")
	case r.Process.Progress.n < 0 || r.Process.Progress.n > 100:
		return false, fmt.Errorf("the progress is %d", r.Process.Progress.n)
	case r.Process.Progress.n < 100 || r.Process.Result == "Processing":
		return false, nil
	case r.Process.Result != "Allowed" && r.Process.Result != "Blocked":
		return false, fmt.Errorf("the result is %.40q", r.Process.Result)
	case r.Scan == nil || !r.Scan.Code.set:
		return false, errors.New("the report has no scan_all_result_i")
	case r.Scan.Code.n < 0 || r.Scan.Code.n > 1<<30:
		return false, fmt.Errorf("scan_all_result_i is %d", r.Scan.Code.n)
	case r.Scan.Progress.set && r.Scan.Progress.n != 100:
		return false, nil
	}
	return scan.CodeFinal(int(r.Scan.Code.n)), nil
}

// A patience bounds failures in a row.
type patience struct{ failures, lost, busy int }

func (e *Engine) patience() *patience { return &patience{maxFailures, maxLost, maxBusy} }

// forgive returns nil, and how long the instance asks to wait, if what failed
// may be tried again.
func (p *patience) forgive(ctx context.Context, err error) (time.Duration, error) {
	left := &p.failures
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case errors.Is(err, errLost):
		left = &p.lost
	case fault.Is(err, fault.Throttled):
		left = &p.busy
	case errors.Is(err, errMalformed), !fault.Is(err, fault.Unavailable):
		return 0, err
	}
	if *left--; *left <= 0 {
		return 0, err
	}
	return fault.AfterOf(err), nil
}

// sleep waits about d.
func sleep(ctx context.Context, d time.Duration) error {
	d = d*4/5 + rand.N(d*2/5+1) // so that many scans do not ask in step
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// cancel ends a job whose report nobody waits for any more, if the instance
// lets it, also after ctx has ended.
func (e *Engine) cancel(ctx context.Context, id string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelFor)
	defer stop()
	_ = e.authorized(ctx, func(key string) error { // what it does not hear, it will finish in vain
		r, err := e.call(ctx, "mdcore.cancel", key, http.MethodPost, "/file/"+id+"/cancel", nil, nil)
		if err == nil && r.status != http.StatusOK {
			err = e.refused("mdcore.cancel", r)
		}
		return err
	})
}

// byHash returns an earlier complete result for the same content under the same
// rule that is still up to date. The content is read all the same, so that the
// result is bound to bytes and not to somebody's word for their hash; what is
// saved is the upload and the scan. Anything less, and any error, means to submit.
func (e *Engine) byHash(ctx context.Context, s scan.Sample) (scan.Report, bool) {
	rule := e.rule(s)
	if !e.o.HashLookup && !s.Lookup || len(s.SHA256) != 32 || rule == "" || len(s.Passwords) > 0 {
		return scan.Report{}, false
	}
	name := hex.EncodeToString(s.SHA256)
	r, err := e.get(ctx, "mdcore.hash", "/hash/"+name, map[string]string{
		"rule": escape(rule), "selfonly": "true", "user_agent": e.userAgent(s)})
	if err != nil || r.status != http.StatusOK {
		return scan.Report{}, false
	}
	var rep report
	if decode(r.body, &rep) != nil || !validID(rep.DataID) {
		return scan.Report{}, false
	}
	done, err := rep.finished(rep.DataID)
	if err != nil || !done || rep.Process.Profile != rule || len(rep.Process.Outdated) > 0 {
		return scan.Report{}, false
	}
	f := rep.File
	if f == nil || !sameHash(f.SHA256, s.SHA256) || f.Size.n != s.Size ||
		!strings.EqualFold(path.Ext(f.Name), path.Ext(fileName(s.Name))) { // engines look at extensions
		return scan.Report{}, false
	}
	t, err := e.members(ctx, rep.DataID, &rep)
	if err != nil {
		return scan.Report{}, false
	}
	out := e.judge(&rep, t)
	out.Cached = true
	return out, out.Verdict != scan.NotScanned && e.confirm(ctx, s)
}

// confirm reads s and reports whether it has the size and SHA-256 that it names.
func (e *Engine) confirm(ctx context.Context, s scan.Sample) bool {
	src, err := s.Open(ctx)
	if err != nil {
		return false
	}
	guard := newStall(e.o.Stall, func() {})
	defer guard.stop()
	u := &upload{src: src, left: s.Size, sum: sha256.New(), guard: guard, closed: make(chan struct{})}
	_, err = io.Copy(io.Discard, u)
	cerr := u.Close()
	return err == nil && cerr == nil && bytes.Equal(u.sum.Sum(nil), s.SHA256)
}

// empty judges an object without bytes, after seeing that it has none.
func (e *Engine) empty(ctx context.Context, s scan.Sample) (scan.Report, error) {
	r, err := s.Open(ctx)
	if err != nil {
		return scan.Report{}, fmt.Errorf("open the sample: %w", err)
	}
	err = nothingMore(r, nil)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return scan.Report{}, fmt.Errorf("read the sample: %w", err)
	}
	return scan.Report{Verdict: scan.Clean, Engine: e.name,
		Details: []scan.Detail{{Engine: "empty: nothing to inspect", Verdict: scan.Clean}}}, nil
}

// pageQuery asks for members from the index first on.
func pageQuery(first int64) string {
	return "?first=" + strconv.FormatInt(first, 10) + "&size=" + strconv.Itoa(pageSize)
}
