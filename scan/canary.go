package scan

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A Case is something that an engine is shown to learn whether it sees it.
type Case string

// The cases. Plain, Stream and Benign decide whether the engine counts at all.
const (
	CasePlain     Case = "plain"     // EICAR in a local file
	CaseStream    Case = "stream"    // EICAR in a stream
	CaseBenign    Case = "benign"    // nothing in a file
	CaseArchive   Case = "archive"   // EICAR in a zip
	CaseSize      Case = "size"      // EICAR in a zip that is too large
	CaseMember    Case = "member"    // in a member that is too large
	CaseDepth     Case = "depth"     // in a zip in a zip …
	CaseEntries   Case = "entries"   // behind too many members
	CaseExpanded  Case = "expanded"  // behind members that unpack to too much
	CaseEncrypted Case = "encrypted" // in a zip with a password
	CaseHidden    Case = "hidden"    // in such a zip behind a program
)

// An Outcome is how an engine did in a case.
type Outcome string

// The outcomes.
const (
	Seen    Outcome = "seen"    // found, up to Bound where the case has one; beyond, nothing is proven
	Alerted Outcome = "alerted" // said by itself that it could not look
	Silent  Outcome = "silent"  // called it clean: our own limit holds from Bound on
)

// A Result is the outcome of a case. Bound is up to where the engine looks, in
// the case's unit (bytes, levels, members); 0 with Silent: it does not look at all.
type Result struct {
	Case    Case    `json:"case"`
	Outcome Outcome `json:"outcome"`
	Bound   int64   `json:"bound,omitempty"`
	Detail  string  `json:"detail,omitempty"` // why a case was not run
}

// A Proof is what an engine's canaries showed.
type Proof struct {
	Results []Result      `json:"results"`
	Time    time.Time     `json:"time"`
	Took    time.Duration `json:"took"`
}

// Result returns the result of a case; one that was not run is silent.
func (p *Proof) Result(c Case) Result {
	for _, r := range p.Results {
		if r.Case == c {
			return r
		}
	}
	return Result{Case: c, Outcome: Silent}
}

// Canaries larger than these are not made: the case counts as silent, unless
// the engine's settings say that it alerts.
const (
	maxCanary  = 256 << 20 // bytes, of the object or unpacked
	maxMembers = 20_000
	maxLevels  = 64
)

// Where the engine's own limit is not known, these are tried from the top; what
// is seen first is where our limit stands.
var (
	trySizes    = []int64{98 << 20, 64 << 20, 24 << 20, 8 << 20, 1 << 20}
	tryExpanded = []int64{200 << 20, 90 << 20, 40 << 20, 8 << 20}
	tryEntries  = []int64{10_050, 9_500, 5_000, 1_000, 100}
)

// prover runs the canaries of one engine, in a private directory that is gone
// at the end.
type prover struct {
	engine Engine
	dir    string
	n      int
}

// Prove shows e what it must find, and what lies beyond its limits. An error
// says that nothing was proven: ErrBlind and ErrFalseAlarm that the engine
// cannot be used, any other that it could not be asked.
func Prove(ctx context.Context, e Engine, lim Limits) (_ *Proof, err error) {
	dir, err := os.MkdirTemp("", "landwaiter-canary-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := &prover{engine: e, dir: dir}
	began := time.Now()
	proof := &Proof{Time: began}
	if err := p.basics(ctx, proof); err != nil {
		return nil, err
	}
	if err := p.limits(ctx, lim, proof); err != nil {
		return nil, err
	}
	proof.Took = time.Since(began)
	return proof, nil
}

// What makes an engine useless.
var (
	ErrBlind      = errors.New("the engine does not find the EICAR test file")
	ErrFalseAlarm = errors.New("the engine does not call a harmless file clean")
)

func (p *prover) basics(ctx context.Context, proof *Proof) error {
	plain := func(w io.Writer) error { _, err := w.Write(eicar()); return err }
	benign := func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "nothing to declare %x\n", rand.Uint64())
		return err
	}
	for _, c := range []struct {
		name   Case
		write  func(io.Writer) error
		stream bool
		want   Verdict
		miss   error
	}{
		{CasePlain, plain, false, Infected, ErrBlind},
		{CaseStream, plain, true, Infected, ErrBlind},
		{CaseBenign, benign, false, Clean, ErrFalseAlarm},
	} {
		rep, err := p.show(ctx, "eicar.com", c.stream, c.write)
		if err != nil {
			return fmt.Errorf("canary %s: %w", c.name, err)
		}
		if rep.Verdict != c.want {
			return fmt.Errorf("canary %s: %w: it said %s", c.name, c.miss, rep.Verdict)
		}
		proof.Results = append(proof.Results, Result{Case: c.name, Outcome: Seen})
	}
	return nil
}

func (p *prover) limits(ctx context.Context, lim Limits, proof *Proof) error {
	add := func(r Result, err error) error {
		if err != nil {
			return fmt.Errorf("canary %s: %w", r.Case, err)
		}
		proof.Results = append(proof.Results, r)
		return nil
	}
	archive, err := p.once(ctx, CaseArchive, func(w io.Writer) error { return nested(w, 1) })
	if err := add(archive, err); err != nil {
		return err
	}
	if archive.Outcome == Silent {
		return nil // it opens none: the rest is silent too
	}
	for _, step := range []func() (Result, error){
		func() (Result, error) { return p.once(ctx, CaseEncrypted, encryptedZip) },
		func() (Result, error) {
			if r := proof.Result(CaseEncrypted); r.Outcome == Silent {
				return Result{Case: CaseHidden, Outcome: Silent}, nil
			}
			return p.once(ctx, CaseHidden, hiddenZip)
		},
		func() (Result, error) {
			return p.bound(ctx, CaseDepth, int64(lim.Depth), lim.Exceeded, maxLevels, nil, func(w io.Writer, n int64) error { return nested(w, int(n)) })
		},
		func() (Result, error) {
			if r := proof.Result(CaseDepth); r.Outcome == Silent {
				lim.Exceeded = false // its word is worth nothing
			}
			return p.bound(ctx, CaseEntries, int64(lim.Entries), lim.Exceeded, maxMembers, tryEntries, func(w io.Writer, n int64) error { return crowded(w, int(n)) })
		},
		func() (Result, error) {
			return p.bound(ctx, CaseSize, lim.Size, lim.Exceeded, maxCanary, trySizes, func(w io.Writer, n int64) error { return padded(w, n, n, false) })
		},
		func() (Result, error) {
			if r := proof.Result(CaseSize); r.Outcome == Silent {
				return Result{Case: CaseMember, Outcome: Silent, Bound: r.Bound}, nil
			}
			// An engine that speaks up about objects need not about members.
			return p.bound(ctx, CaseMember, lim.Size, lim.Exceeded && lim.Size == 0, maxCanary, trySizes, bulky)
		},
		func() (Result, error) {
			// Members must be well within the limit on size, or they do not count.
			part := min(32<<20, max(cmp.Or(lim.Size, proof.Result(CaseMember).Bound, 1<<20)/2, 1<<10))
			return p.bound(ctx, CaseExpanded, lim.Expanded, lim.Exceeded, maxCanary, tryExpanded, func(w io.Writer, n int64) error { return padded(w, n, part, true) })
		},
	} {
		r, err := step()
		if err := add(r, err); err != nil {
			return err
		}
	}
	return nil
}

// once runs a case that has no measure.
func (p *prover) once(ctx context.Context, c Case, write func(io.Writer) error) (Result, error) {
	o, err := p.outcome(ctx, write)
	return Result{Case: c, Outcome: o}, err
}

// bound finds up to where the engine looks. known is its own limit (0 = not
// known), word whether its settings say that it alerts beyond.
func (p *prover) bound(ctx context.Context, c Case, known int64, word bool, most int64, tries []int64, write func(io.Writer, int64) error) (Result, error) {
	res := Result{Case: c}
	beyond := known + 2 + known/200
	switch {
	case word && (known == 0 && c != CaseDepth || beyond > most):
		res.Outcome, res.Detail = Alerted, "not tried: the engine's settings say so"
		return res, nil
	case known > 0 && beyond > most:
		res.Outcome, res.Bound, res.Detail = Silent, c.below(known), "not tried: the canary would be too large"
		return res, nil
	case c == CaseDepth: // small, so each level is tried
		top := beyond
		if known == 0 {
			top = 20
		}
		tries = nil
		for n := top; n > 0; n-- {
			tries = append(tries, n)
		}
	case known > 0:
		tries = []int64{beyond}
	}
	missed := known == 0 && !word // nobody said that this is all
	for _, n := range tries {
		o, err := p.outcome(ctx, func(w io.Writer) error { return write(w, n) })
		if err != nil {
			return res, err
		}
		if o == Alerted {
			return Result{Case: c, Outcome: Alerted}, nil
		}
		if res.Outcome = o; o == Seen {
			res.Bound = n
			break
		}
		missed = true
	}
	if res.Outcome == Silent && known > 0 && c != CaseDepth {
		res.Bound = c.below(known)
	}
	switch {
	case missed:
		res.Outcome = Silent
	case known == 0:
		return Result{Case: c, Outcome: Alerted, Detail: "not tried beyond: the engine's settings say so"}, nil
	}
	return res, nil
}

// below returns where our own limit stands for an engine's known one: at it for
// the size of an object or a member, else with a margin, since engines count other things too
// (what they make of scripts and documents, the archive itself).
func (c Case) below(known int64) int64 {
	if c == CaseSize || c == CaseMember {
		return known
	}
	return known - known/10
}

// outcome shows one canary with EICAR in it.
func (p *prover) outcome(ctx context.Context, write func(io.Writer) error) (Outcome, error) {
	rep, err := p.show(ctx, "canary.zip", false, write)
	switch {
	case err != nil && (ctx.Err() != nil || fault.Is(err, fault.Unavailable, fault.Throttled, fault.Denied)):
		return "", err
	case err != nil, rep.Verdict == NotScanned:
		return Alerted, nil
	case rep.Verdict == Clean:
		return Silent, nil
	}
	return Seen, nil
}

// show has the engine scan what write writes.
func (p *prover) show(ctx context.Context, name string, stream bool, write func(io.Writer) error) (Report, error) {
	p.n++
	path := filepath.Join(p.dir, fmt.Sprintf("%d-%s", p.n, name))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Report{}, err
	}
	defer os.Remove(path)
	defer f.Close()
	sw := &sparse{f: f}
	if err := write(sw); err != nil {
		return Report{}, err
	}
	if err := f.Truncate(sw.n); err != nil {
		return Report{}, err
	}
	s := Sample{
		Name: name, Size: sw.n, File: f,
		Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) },
	}
	if stream {
		s.File = nil
	}
	return p.engine.Scan(ctx, s)
}

// sparse writes a file, and leaves holes for zeros.
type sparse struct {
	f *os.File
	n int64
}

func (s *sparse) Write(p []byte) (int, error) {
	if len(p) < len(zeros) || !bytes.Equal(p, zeros[:]) {
		if n, err := s.f.WriteAt(p, s.n); err != nil {
			s.n += int64(n)
			return n, err
		}
	}
	s.n += int64(len(p))
	return len(p), nil
}
