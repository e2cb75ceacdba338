package webhook

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/events"
)

// How much a hook remembers of what it has given to the sink. The window is
// that of the Standard Webhooks' timestamps, both ways: while a call could be
// played again, it is known. Beyond either bound a repeat costs one look at the
// object, which the events behind it must survive anyway.
const (
	recentFor = 10 * time.Minute
	recentMax = 16_384
)

type mark [16]byte

// recent tells repeats of what the sink has from what is new. Only what is
// equal in all that the vendor said, its time and the version included, is a
// repeat: two writes of one key are two notices. What the vendor gave no time or
// no version is always new: two writes may fall into one second.
type recent struct {
	now  func() time.Time
	mu   sync.Mutex
	seen map[mark]time.Time
	line []mark // in order of time; the ring's oldest is at next when it is full
	next int
}

func newRecent(now func() time.Time) *recent {
	return &recent{now: now, seen: make(map[mark]time.Time)}
}

// fresh returns the notices of m that are no repeats, and the marks that keep
// remembers once the sink has them.
func (r *recent) fresh(m message) (out []events.Notice, marks []mark) {
	if m.once {
		marks = append(marks, markOf(m.id))
	}
	out = m.notices[:0:0]
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.once && r.has(marks[0]) {
		return nil, nil
	}
	var within map[events.Notice]bool // one look comes after both
	if len(m.notices) > 1 {
		within = make(map[events.Notice]bool, len(m.notices))
	}
	for _, n := range m.notices {
		if within[n] {
			continue
		}
		if within != nil {
			within[n] = true
		}
		if told(n) {
			k := markOfNotice(n)
			if r.has(k) {
				continue
			}
			marks = append(marks, k)
		}
		out = append(out, n)
	}
	return out, marks
}

// keep remembers what the sink has.
func (r *recent) keep(marks []mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range marks {
		r.add(k)
	}
}

func (r *recent) has(k mark) bool {
	at, ok := r.seen[k]
	return ok && r.now().Sub(at) < recentFor
}

func (r *recent) add(k mark) {
	if _, known := r.seen[k]; known {
		r.seen[k] = r.now()
		return
	}
	if len(r.line) < recentMax {
		r.line = append(r.line, k)
	} else {
		delete(r.seen, r.line[r.next])
		r.line[r.next] = k
		r.next = (r.next + 1) % recentMax
	}
	r.seen[k] = r.now()
}

func markOf(id string) mark {
	sum := sha256.Sum256([]byte("id\x00" + id))
	return mark(sum[:16])
}

// told says whether a notice tells one write from the next.
func told(n events.Notice) bool { return !n.Time.IsZero() && n.Version != "" }

func markOfNotice(n events.Notice) mark {
	h := sha256.New()
	var b [8]byte
	number := func(v int64) { binary.BigEndian.PutUint64(b[:], uint64(v)); h.Write(b[:]) }
	for _, s := range []string{"notice", n.Vendor, n.Account, n.Container, n.Key, n.Version, n.Event} {
		number(int64(len(s)))
		h.Write([]byte(s))
	}
	number(int64(n.Op))
	number(n.Size)
	number(n.Time.UnixNano())
	return mark(h.Sum(nil)[:16])
}
