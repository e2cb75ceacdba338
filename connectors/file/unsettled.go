package file

import (
	"container/heap"
	"time"
)

// unsettled is the files that may still be written to, by when to look at them
// again. The kernel's notice of a close is not to be had, so where a lease can
// tell, one that nothing happens to is looked at each time a quarter of its
// quiet time has passed again, after 1 to 25 ms, and less often if there are
// very many. Without a lease it is looked at when its window ends.
type unsettled struct {
	byKey map[string]*waiting
	queue waitQueue
	// The versions that were emitted lately: a creation is told as several
	// events. Two generations, so that the older half can be dropped at once.
	told, toldBefore map[string]string
}

// lookCost is the share of time that each waiting file may take: 10,000 looks a
// second in all.
const lookCost = 100 * time.Microsecond

// maxTold bounds one generation of versions remembered.
const maxTold = 4096

// A waiting file.
type waiting struct {
	key    string
	since  time.Time // first seen
	at     time.Time // look again
	poked  time.Time // when something happened to it last
	token  string    // at the last look
	still  time.Time // since when token is that
	index  int       // in the queue, -1 while it is looked at
	leases bool      // the last look had an answer from a lease
}

func newUnsettled() *unsettled {
	return &unsettled{byKey: map[string]*waiting{}, told: map[string]string{}}
}

func (u *unsettled) len() int { return len(u.byKey) }

// poke says that something happened to key. A new one is looked at at once; one
// that waits for its writer is likely about to be closed, so it is looked at
// again soon, but no more often than its age allows: endless writes must not
// cost endless looks.
func (u *unsettled) poke(key string, now time.Time) {
	f, ok := u.byKey[key]
	if !ok {
		f = &waiting{key: key, since: now, at: now, poked: now}
		u.byKey[key] = f
		heap.Push(&u.queue, f)
		return
	}
	f.poked = now
	if f.leases {
		if at := now.Add(u.pause(now.Sub(f.since) / 64)); at.Before(f.at) {
			f.at = at
			heap.Fix(&u.queue, f.index)
		}
	}
}

// pause keeps a pause between two looks within bounds: a look costs some ten
// microseconds, and all of them together must stay cheap.
func (u *unsettled) pause(d time.Duration) time.Duration {
	return min(max(d, firstLook, lookCost*time.Duration(len(u.byKey)/2)), max(lastLook, lookCost*time.Duration(len(u.byKey))))
}

// drop forgets key: it is settled, gone, or no file.
func (u *unsettled) drop(key string) {
	if f, ok := u.byKey[key]; ok {
		delete(u.byKey, key)
		heap.Remove(&u.queue, f.index)
	}
}

// forget drops key, and that it was ever told.
func (u *unsettled) forget(key string) {
	u.drop(key)
	delete(u.told, key)
	delete(u.toldBefore, key)
}

// next is when the next file is due.
func (u *unsettled) next() (time.Time, bool) {
	if len(u.queue) == 0 {
		return time.Time{}, false
	}
	return u.queue[0].at, true
}

// due returns a file to look at now, or nil. It stays where it is: settled
// moves it on, drop takes it out.
func (u *unsettled) due(now time.Time) *waiting {
	if len(u.queue) == 0 || u.queue[0].at.After(now) {
		return nil
	}
	return u.queue[0]
}

// settled takes what a look found, and says whether the file is to be emitted;
// if not it is due again later. young is how long a further change might not
// show in the token.
func (u *unsettled) settled(f *waiting, kind leased, token string, young, window, most time.Duration, now time.Time) bool {
	if kind == leaseHeld && young <= 0 || now.Sub(f.since) >= most || len(u.byKey) > maxUnsettled {
		return true
	}
	if token != f.token {
		f.token, f.still = token, now
	}
	f.leases = kind == leaseBusy
	switch {
	case f.leases:
		f.at = now.Add(u.pause(now.Sub(f.poked) / 4))
	case kind == leaseHeld:
		f.at = now.Add(young)
	case now.Sub(f.still) >= window && young <= 0:
		return true
	default:
		f.at = later(f.still.Add(window), now.Add(young))
	}
	f.at = earlier(f.at, f.since.Add(most))
	heap.Fix(&u.queue, f.index)
	return false
}

// fresh reports whether this version of key was not emitted lately, and
// remembers it.
func (u *unsettled) fresh(key, token string) bool {
	if u.told[key] == token || u.toldBefore[key] == token {
		return false
	}
	if len(u.told) >= maxTold {
		u.told, u.toldBefore = map[string]string{}, u.told
	}
	u.told[key] = token
	return true
}

// waitQueue is a heap by at.
type waitQueue []*waiting

func (q waitQueue) Len() int           { return len(q) }
func (q waitQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q waitQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *waitQueue) Push(x any) {
	f := x.(*waiting)
	f.index = len(*q)
	*q = append(*q, f)
}

func (q *waitQueue) Pop() any {
	old := *q
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return f
}
