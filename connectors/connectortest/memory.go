package connectortest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Memory is a storage in memory: a Driver with every capability, each act
// conditional on a version that counts up ("v7"). Set its fields before use.
type Memory struct {
	Unit string // the name in the refs of its events
	// Versioned keeps replaced versions: they can be read, tagged and removed.
	Versioned bool
	// Fail, if not nil, is asked before each call and its effect, with op "Stat",
	// "Put" …, and again after the effect with "Put+" …: an error that it returns
	// is the call's. An error after the effect is an answer that was lost.
	Fail func(op, key string) error
	// Unsettled, if not nil, says how long an object is still being written.
	Unsettled func(info object.Info) time.Duration

	mu      sync.Mutex
	closed  bool
	counter int
	objects map[string][]*version // newest first
	log     []object.Event        // all events so far
	more    chan struct{}         // closed and renewed when log grows
}

type version struct {
	info    object.Info
	content []byte
	tags    map[string]string
}

// NewMemory returns an empty storage that is the unit of that name.
func NewMemory(unit string) *Memory {
	return &Memory{Unit: unit, objects: map[string][]*version{}, more: make(chan struct{})}
}

// Write creates or replaces an object as another client would, and returns the
// version. It asks Fail nothing.
func (m *Memory) Write(key string, content []byte) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store(key, content, connectors.PutOptions{}).info.Version
}

// Delete removes every version of an object as another client would.
func (m *Memory) Delete(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		delete(m.objects, key)
		m.event(object.Event{Ref: object.Ref{Unit: m.Unit, Key: key}, Op: object.Delete, Size: -1})
	}
}

// Retag sets tags of the current version as another client would.
func (m *Memory) Retag(key string, tags map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.current(key); v != nil {
		v.tags = maps.Clone(tags)
	}
}

// Overflow makes the watch say that events under prefix were lost.
func (m *Memory) Overflow(prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.event(object.Event{Ref: object.Ref{Unit: m.Unit, Key: prefix}, Cause: "overflow", Size: -1})
}

// Content returns what the current version holds, nil if there is none.
func (m *Memory) Content(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.current(key); v != nil {
		return slices.Clone(v.content)
	}
	return nil
}

// Keys returns the keys that have a current version, in byte order.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sorted("", "")
}

// store adds a version; m.mu is held.
func (m *Memory) store(key string, content []byte, opt connectors.PutOptions) *version {
	m.counter++
	v := &version{content: slices.Clone(content), tags: maps.Clone(opt.Tags), info: object.Info{
		Key: key, Version: "v" + strconv.Itoa(m.counter), Size: int64(len(content)), ModTime: time.Now().UTC(),
		ContentType: opt.ContentType, Meta: maps.Clone(opt.Meta), Latest: true,
	}}
	old := m.objects[key]
	if !m.Versioned {
		old = nil
	}
	for _, o := range old {
		o.info.Latest = false
	}
	m.objects[key] = append([]*version{v}, old...)
	m.event(object.Event{Ref: object.Ref{Unit: m.Unit, Key: key, Version: v.info.Version}, Size: v.info.Size})
	return v
}

func (m *Memory) event(e object.Event) {
	e.Time = time.Now().UTC()
	e.Cause = cmp.Or(e.Cause, "watch")
	m.log = append(m.log, e)
	close(m.more)
	m.more = make(chan struct{})
}

func (m *Memory) current(key string) *version {
	if vs := m.objects[key]; len(vs) > 0 {
		return vs[0]
	}
	return nil
}

func (m *Memory) sorted(prefix, start string) []string {
	var keys []string
	for k := range m.objects {
		if strings.HasPrefix(k, prefix) && k > start {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// find returns the version that ref names; m.mu is held.
func (m *Memory) find(op string, ref object.Ref) (*version, error) {
	vs := m.objects[ref.Key]
	switch {
	case len(vs) == 0:
		return nil, fault.New(fault.NotFound, "memory."+op, ref.String(), nil)
	case ref.Version == "":
		return vs[0], nil
	}
	for _, v := range vs {
		if v.info.Version == ref.Version {
			return v, nil
		}
	}
	return nil, fault.New(fault.Changed, "memory."+op, ref.String(), nil)
}

// begin is the start of each call: it locks, unless the call fails.
func (m *Memory) begin(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.Fail != nil {
		if err := m.Fail(op, key); err != nil {
			return err
		}
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return fault.New(fault.Unavailable, "memory."+op, m.Unit, errors.New("closed"))
	}
	return nil
}

// end unlocks and asks whether the answer is lost.
func (m *Memory) end(op, key string, err *error) {
	m.mu.Unlock()
	if m.Fail != nil && *err == nil {
		*err = m.Fail(op+"+", key)
	}
}

func valid(op, key string) error {
	if key == "" || strings.HasPrefix(key, "/") {
		return fault.New(fault.Invalid, "memory."+op, object.FormatKey(key), errors.New("not a key"))
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return fault.New(fault.Invalid, "memory."+op, object.FormatKey(key), errors.New("not a key"))
		}
	}
	return nil
}

// List implements connectors.Driver.
func (m *Memory) List(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return m.list(ctx, "List", prefix, start, false)
}

// ListVersions implements connectors.VersionLister.
func (m *Memory) ListVersions(ctx context.Context, prefix, start string) iter.Seq2[object.Info, error] {
	return m.list(ctx, "ListVersions", prefix, start, true)
}

// list takes its keys a page at a time, as a vendor would: what changes behind
// the page is seen.
func (m *Memory) list(ctx context.Context, op, prefix, start string, all bool) iter.Seq2[object.Info, error] {
	const page = 1000
	return func(yield func(object.Info, error) bool) {
		for {
			if err := m.begin(ctx, op, prefix); err != nil {
				yield(object.Info{}, err)
				return
			}
			keys := m.sorted(prefix, start)
			last := len(keys) <= page
			keys = keys[:min(page, len(keys))]
			var infos []object.Info
			for _, k := range keys {
				for _, v := range m.objects[k] {
					if all || v.info.Latest {
						i := v.info
						i.Meta = nil
						infos = append(infos, i)
					}
				}
				start = k
			}
			m.mu.Unlock()
			for _, i := range infos {
				if err := ctx.Err(); err != nil {
					yield(object.Info{}, err)
					return
				}
				if !yield(i, nil) {
					return
				}
			}
			if last {
				return
			}
		}
	}
}

// Stat implements connectors.Driver.
func (m *Memory) Stat(ctx context.Context, ref object.Ref) (info object.Info, err error) {
	if err := valid("Stat", ref.Key); err != nil {
		return info, err
	}
	if err := m.begin(ctx, "Stat", ref.Key); err != nil {
		return info, err
	}
	defer m.end("Stat", ref.Key, &err)
	v, err := m.find("Stat", ref)
	if err != nil {
		return info, err
	}
	info = v.info
	info.Meta = maps.Clone(info.Meta)
	return info, nil
}

// Open implements connectors.Driver.
func (m *Memory) Open(ctx context.Context, ref object.Ref, offset int64) (r connectors.Reader, err error) {
	if err := valid("Open", ref.Key); err != nil {
		return nil, err
	}
	if err := m.begin(ctx, "Open", ref.Key); err != nil {
		return nil, err
	}
	defer m.end("Open", ref.Key, &err)
	v, err := m.find("Open", ref)
	if err != nil {
		return nil, err
	}
	at := min(max(offset, 0), int64(len(v.content)))
	return &memoryReader{m: m, ctx: ctx, r: bytes.NewReader(v.content[at:]), info: v.info}, nil
}

type memoryReader struct {
	m    *Memory
	ctx  context.Context // of Open: reading ends with it
	r    *bytes.Reader
	info object.Info
}

func (r *memoryReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.m.Fail != nil {
		if err := r.m.Fail("Read", r.info.Key); err != nil {
			return 0, err
		}
	}
	return r.r.Read(p)
}

func (r *memoryReader) Info() object.Info { return r.info }
func (r *memoryReader) Close() error      { return nil }

// Close implements connectors.Driver.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Put implements connectors.Putter.
func (m *Memory) Put(ctx context.Context, key string, r io.Reader, opt connectors.PutOptions) (info object.Info, err error) {
	if err := valid("Put", key); err != nil {
		return info, err
	}
	content, err := io.ReadAll(readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	}))
	if err != nil {
		return info, err
	}
	sum := sha256.Sum256(content)
	if opt.Size >= 0 && int64(len(content)) != opt.Size || opt.SHA256 != nil && !bytes.Equal(sum[:], opt.SHA256) {
		return info, fault.New(fault.Changed, "memory.Put", object.FormatKey(key), errors.New("not the bytes that were announced"))
	}
	if err := m.begin(ctx, "Put", key); err != nil {
		return info, err
	}
	defer m.end("Put", key, &err)
	if err := m.may("Put", key, opt); err != nil {
		return info, err
	}
	return m.store(key, content, opt).info, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// may checks the precondition of a write.
func (m *Memory) may(op, key string, opt connectors.PutOptions) error {
	v := m.current(key)
	switch {
	case opt.IfVersion == "" && v != nil:
		return fault.New(fault.Exists, "memory."+op, object.FormatKey(key), nil)
	case opt.IfVersion != "" && (v == nil || v.info.Version != opt.IfVersion):
		return fault.New(fault.Changed, "memory."+op, object.FormatKey(key), nil)
	}
	return nil
}

// Copy implements connectors.Copier.
func (m *Memory) Copy(ctx context.Context, src object.Ref, key string, opt connectors.PutOptions) (info object.Info, err error) {
	if err := valid("Copy", key); err != nil {
		return info, err
	}
	if err := m.begin(ctx, "Copy", src.Key); err != nil {
		return info, err
	}
	defer m.end("Copy", src.Key, &err)
	v, err := m.find("Copy", src)
	if err != nil {
		return info, err
	}
	if err := m.may("Copy", key, opt); err != nil {
		return info, err
	}
	if opt.ContentType == "" {
		opt.ContentType = v.info.ContentType
	}
	opt.Meta, opt.Tags = merged(v.info.Meta, opt.Meta), merged(v.tags, opt.Tags)
	return m.store(key, v.content, opt).info, nil
}

func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

// Remove implements connectors.Remover.
func (m *Memory) Remove(ctx context.Context, ref object.Ref, _ connectors.Fence) (rem connectors.Removed, err error) {
	if err := m.begin(ctx, "Remove", ref.Key); err != nil {
		return rem, err
	}
	defer m.end("Remove", ref.Key, &err)
	v, err := m.find("Remove", ref)
	if err != nil {
		return rem, err
	}
	left := slices.DeleteFunc(m.objects[ref.Key], func(o *version) bool { return o == v })
	if len(left) == 0 {
		delete(m.objects, ref.Key)
	} else {
		left[0].info.Latest = true
		m.objects[ref.Key] = left
	}
	m.event(object.Event{Ref: object.Ref{Unit: m.Unit, Key: ref.Key, Version: ref.Version}, Op: object.Delete, Size: -1})
	return rem, nil
}

// Tags implements connectors.Tagger.
func (m *Memory) Tags(ctx context.Context, ref object.Ref) (tags map[string]string, err error) {
	if err := m.begin(ctx, "Tags", ref.Key); err != nil {
		return nil, err
	}
	defer m.end("Tags", ref.Key, &err)
	v, err := m.find("Tags", ref)
	if err != nil {
		return nil, err
	}
	return merged(v.tags, nil), nil
}

// Tag implements connectors.Tagger.
func (m *Memory) Tag(ctx context.Context, ref object.Ref, set map[string]string) (info object.Info, err error) {
	if err := m.begin(ctx, "Tag", ref.Key); err != nil {
		return info, err
	}
	defer m.end("Tag", ref.Key, &err)
	v, err := m.find("Tag", ref)
	if err != nil {
		return info, err
	}
	tags := merged(v.tags, set)
	maps.DeleteFunc(tags, func(_, val string) bool { return val == "" })
	v.tags = tags
	return v.info, nil
}

// Watch implements connectors.Watcher. Its cursor counts events.
func (m *Memory) Watch(ctx context.Context, cursor string, emit connectors.Emit) error {
	if err := m.begin(ctx, "Watch", cursor); err != nil {
		return err
	}
	at := len(m.log)
	m.mu.Unlock()
	if cursor != "" {
		n, err := strconv.Atoi(cursor)
		if err != nil || n < 0 || n > at {
			return fault.New(fault.Invalid, "memory.Watch", cursor, errors.New("not a cursor"))
		}
		at = n
	}
	for {
		m.mu.Lock()
		batch, more := slices.Clone(m.log[at:]), m.more
		m.mu.Unlock()
		if len(batch) > 0 {
			if err := emit(ctx, batch, strconv.Itoa(at+len(batch))); err != nil {
				return err
			}
			at += len(batch)
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

// Settled implements connectors.Settler.
func (m *Memory) Settled(ctx context.Context, info object.Info) (wait time.Duration, err error) {
	if err := m.begin(ctx, "Settled", info.Key); err != nil {
		return 0, err
	}
	m.mu.Unlock()
	if m.Unsettled != nil {
		return m.Unsettled(info), nil
	}
	return 0, nil
}

// Prune implements connectors.Pruner: there are no folders to remove.
func (m *Memory) Prune(ctx context.Context, key string) (int, error) {
	if err := m.begin(ctx, "Prune", key); err != nil {
		return 0, err
	}
	m.mu.Unlock()
	return 0, nil
}

// MetadataOnly implements connectors.Comparer: no token moves by metadata.
func (m *Memory) MetadataOnly(a, b string) bool { return false }

// Probe implements connectors.Prober.
func (m *Memory) Probe(ctx context.Context, _ string) (connectors.Caps, error) {
	if err := m.begin(ctx, "Probe", ""); err != nil {
		return connectors.Caps{}, err
	}
	m.mu.Unlock()
	return AllCaps(), nil
}

// AllCaps returns every capability: what Memory has.
func AllCaps() connectors.Caps {
	return connectors.Caps{Watch: true, Settle: true, Put: true, Copy: true, Remove: true, Tag: true, Versions: true, Prune: true,
		ReadIsVersion: true, FencedRemove: true, FencedPut: true, FencedCopy: true, Ordered: true, TagsKeepVersion: true}
}
