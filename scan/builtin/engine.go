// Package builtin is the engine that needs nothing beside it: it knows the
// EICAR test file and the hashes of the operator's lists, and it looks into
// archives. Content is hashed and searched as it streams; archives are opened
// in a child process (package box). It calls clean only what it has seen all
// of.
package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
	"github.com/landwaiter/landwaiter/scan/box"
)

// Options are the engine's settings.
type Options struct {
	// HashLists are files, or directories of files, of known bad digests, see
	// lists.line for the forms. They are read again when they change.
	HashLists []string
	// Limits on what is opened; zero fields mean scan.DefaultLimits. Size bounds
	// one object.
	Limits scan.Limits
	Box    *box.Pool    // opens archives; nil: they are not_scanned(unsupported)
	Log    *slog.Logger // nil = none

	reload time.Duration // how often to look at the lists; 2 s
}

// Threat is the name under which the EICAR test file is reported.
const Threat = "EICAR-Test-File"

// version is that of the engine's own knowledge, in Definitions.
const version = "1"

// eicar is the test string of https://www.eicar.org/download-anti-malware-testfile/,
// put together here so that this program is not itself a test file. The
// standard wants it at the start of a file of at most 128 bytes; we report it
// anywhere, for it has no business in other content.
func eicar() []byte {
	// Not by +, which the compiler would join in the program itself.
	return append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}`), `$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`...)
}

// Engine is the builtin engine.
type Engine struct {
	opts   Options
	needle []byte
	log    *slog.Logger
	defs   watched
	room   sync.Pool // of *workspace

	stop context.CancelFunc
	done sync.WaitGroup
}

var _ scan.Engine = (*Engine)(nil)

// Open reads the hash lists. Its error names the file, and the line if one is
// to blame.
func Open(_ context.Context, o Options) (*Engine, error) {
	d := scan.DefaultLimits
	o.Limits.Depth = cmp.Or(o.Limits.Depth, d.Depth)
	o.Limits.Entries = cmp.Or(o.Limits.Entries, d.Entries)
	o.Limits.Expanded = cmp.Or(o.Limits.Expanded, d.Expanded)
	o.Limits.Ratio = cmp.Or(o.Limits.Ratio, d.Ratio)
	o.reload = cmp.Or(o.reload, 2*time.Second)
	e := &Engine{opts: o, needle: eicar(), log: o.Log}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if err := e.defs.open(o.HashLists); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	if len(o.HashLists) > 0 {
		e.done.Go(func() { e.defs.follow(ctx, o.reload, e.log) })
	}
	return e, nil
}

// Close stops following the lists, after which nothing is scanned. The box is
// its owner's.
func (e *Engine) Close() error {
	e.stop()
	e.done.Wait()
	e.defs.close()
	return nil
}

var errClosed = fault.New(fault.Unavailable, "builtin.Engine", "", os.ErrClosed)

// Probe tells the definitions. An engine whose lists are broken works on with
// the earlier ones and says so.
func (e *Engine) Probe(ctx context.Context) (scan.Health, error) {
	l, broken := e.defs.state()
	if l == nil {
		return scan.Health{}, errClosed
	}
	// What an operator lists is as good as on its first day.
	h := scan.Health{Ready: true, Version: "builtin " + version, Definitions: l.definitions(), DefinedAt: l.newest, Ageless: true,
		Knows: fmt.Sprintf("EICAR and %d hashes", l.size()), Detail: broken, Limits: e.opts.Limits}
	h.Limits.Encrypted, h.Limits.Exceeded = true, true
	return h, ctx.Err()
}

// chunk is how much of a stream is looked at at once.
const chunk = 256 << 10

// workspace is what one scan needs. Looks depend on the lists and are made
// again when those change.
type workspace struct {
	buf  []byte // TailSize bytes of earlier content and a chunk
	look *archive.Look
	of   *lists
}

func (e *Engine) workspace(l *lists) *workspace {
	ws, _ := e.room.Get().(*workspace)
	if ws == nil {
		ws = &workspace{buf: make([]byte, archive.TailSize+chunk)}
	}
	if ws.of != l {
		ws.of, ws.look = l, archive.NewLook(l.digests(), e.needle)
	}
	ws.look.Reset()
	return ws
}

// Scan looks at s once. See the package for what it can find.
func (e *Engine) Scan(ctx context.Context, s scan.Sample) (scan.Report, error) {
	began := time.Now()
	l, _ := e.defs.state()
	if l == nil {
		return scan.Report{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return scan.Report{}, err
	}
	rep := scan.Report{Engine: "builtin", Definitions: l.definitions(), DefinedAt: l.newest, Engines: 1}
	finish := func(v scan.Verdict, r scan.Reason) (scan.Report, error) {
		rep.Verdict, rep.Reason, rep.Code, rep.Took = v, r, scan.Code(v, r), time.Since(began)
		if v == scan.Infected {
			rep.Detected = 1
		}
		return rep, nil
	}
	if e.opts.Limits.Size > 0 && s.Size > e.opts.Limits.Size {
		return finish(scan.NotScanned, scan.TooLarge)
	}
	ws := e.workspace(l)
	defer e.room.Put(ws)
	found, aside, err := e.stream(ctx, s, ws)
	if aside != nil {
		defer aside.Close()
	}
	if err != nil {
		return scan.Report{}, err
	}
	sums := ws.look.Sums()
	if ws.look.Hit() {
		rep.Threat = Threat
		return finish(scan.Infected, "")
	}
	if name, ok := l.match(&sums, s.Size); ok {
		rep.Threat = name
		return finish(scan.Infected, "")
	}
	switch {
	case !found.Any():
		return finish(scan.Clean, "")
	case e.opts.Box == nil || !found.Opens():
		return finish(scan.NotScanned, scan.Unsupported)
	}
	return e.inside(ctx, s, l, aside, &rep, finish)
}

// stream reads s to its end, and puts it aside where a child will have to read
// it again and cannot read the file itself.
func (e *Engine) stream(ctx context.Context, s scan.Sample, ws *workspace) (found archive.Found, aside *box.Spool, err error) {
	r, err := s.Open(ctx)
	if err != nil {
		return found, nil, err
	}
	defer r.Close()
	kept, total, program := 0, int64(0), false
	for {
		n, rerr := io.ReadFull(r, ws.buf[kept:kept+chunk])
		p := ws.buf[kept : kept+n]
		if total == 0 {
			found = archive.Sniff(p, nil)
			program = archive.IsProgram(p)
			if found.Head.Opens() && s.File == nil && e.opts.Box != nil {
				if aside, err = e.opts.Box.Spool(ctx, s.Size); err != nil && !errors.Is(err, box.ErrFull) {
					return found, nil, err
				}
			}
		}
		found.SeeTar(p, total)
		total += int64(n)
		_, _ = ws.look.Write(p)
		if aside != nil {
			if _, err := aside.File.Write(p); err != nil {
				return found, aside, fault.New(fault.Unavailable, "builtin.Scan", s.Name, err)
			}
		}
		if program && found.Tail == archive.Plain {
			found.Tail = archive.Embedded(ws.buf[max(0, kept-archive.EmbedOverlap) : kept+n])
		}
		if rerr == nil {
			k := min(kept+n, archive.TailSize)
			copy(ws.buf, ws.buf[kept+n-k:kept+n])
			kept = k
			if err := ctx.Err(); err != nil {
				return found, aside, err
			}
			continue
		}
		if rerr != io.EOF && rerr != io.ErrUnexpectedEOF {
			return found, aside, rerr
		}
		if total != s.Size {
			return found, aside, fault.New(fault.Other, "builtin.Scan", s.Name, io.ErrUnexpectedEOF)
		}
		if all := ws.buf[:kept+n]; found.Tail == archive.Plain {
			found.Tail = archive.Sniff(nil, all[max(0, len(all)-archive.TailSize):]).Tail
		}
		return found, aside, nil
	}
}

// inside has a child look into s.
func (e *Engine) inside(ctx context.Context, s scan.Sample, l *lists, aside *box.Spool, rep *scan.Report,
	finish func(scan.Verdict, scan.Reason) (scan.Report, error)) (scan.Report, error) {
	f := s.File
	if f == nil {
		if aside == nil { // a zip that showed at the end only, or too large
			var err error
			if aside, _, err = e.opts.Box.Fetch(ctx, s); errors.Is(err, box.ErrFull) {
				return finish(scan.NotScanned, scan.TooLarge)
			} else if err != nil {
				return scan.Report{}, err
			}
			if aside == nil {
				return scan.Report{}, fault.New(fault.Other, "builtin.Scan", s.Name, errors.New("content changed between two readings"))
			}
			defer aside.Close()
		}
		f = aside.File
	}
	res, err := e.opts.Box.Inspect(ctx, f, s.Size, e.opts.Limits, box.Ask{
		Needle: e.needle, Threat: Threat, Digests: l.digests(), Match: l.match,
	})
	rep.Members = res.Infected
	if len(res.Infected) > 0 {
		rep.Threat = res.Infected[0].Threat
		return finish(scan.Infected, "")
	}
	if err != nil {
		if ctx.Err() == nil && fault.ReasonOf(err) != "" {
			return finish(scan.NotScanned, scan.Reason(fault.ReasonOf(err)))
		}
		return scan.Report{}, err
	}
	if r := res.Facts.Reason; r != "" {
		if res.Facts.Path != "" {
			rep.Members = append(rep.Members, scan.Member{Path: res.Facts.Path, Verdict: scan.NotScanned, Reason: r})
		}
		return finish(scan.NotScanned, r)
	}
	return finish(scan.Clean, "")
}

// definitions is the identity of all that the engine knows.
func (l *lists) definitions() string {
	if l.id == "" {
		return version
	}
	return version + "-" + l.id
}
