package pipeline

import (
	"crypto/sha256"
	"path"
	"strings"
	"sync"

	"github.com/landwaiter/landwaiter/scan"
)

// cacheSize bounds the reports kept in each of the cache's two halves.
const cacheSize = 32_768

// cache keeps complete reports by content, pool, definitions and request. It
// is two generations: when the young one is full it becomes the old one.
type cache struct {
	mu         sync.Mutex
	size       int
	young, old map[[32]byte]scan.Report
}

func (c *cache) init(size int) { c.size, c.young = size, map[[32]byte]scan.Report{} }

func (c *cache) get(k [32]byte, ok bool) (scan.Report, bool) {
	if !ok {
		return scan.Report{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rep, found := c.young[k]
	if !found {
		if rep, found = c.old[k]; found {
			c.put(k, rep)
		}
	}
	rep.Cached = found
	return rep, found
}

func (c *cache) put(k [32]byte, rep scan.Report) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[[32]byte]scan.Report, c.size/4)
	}
	c.young[k] = rep
}

// cacheKey names a question to a pool. It is false where no answer may be kept:
// the definitions or the content are not known.
func cacheKey(pool, definitions string, s scan.Sample, sum []byte) ([32]byte, bool) {
	if definitions == "" || len(sum) == 0 {
		return [32]byte{}, false
	}
	b := make([]byte, 0, 256)
	for _, part := range [...]string{pool, definitions, s.Rule, s.UserAgent, strings.ToLower(path.Ext(s.Name)), string(sum)} {
		b = append(b, part...)
		b = append(b, 0)
	}
	return sha256.Sum256(b), true
}

// remember keeps the report of a pool if it is one that would come again: clean
// or infected, under definitions that are the same after the scan as before.
func (p *Pipeline) remember(pool Scanner, name string, s scan.Sample, sum []byte, rep scan.Report) {
	if rep.Cached || s.Sanitize || len(s.Passwords) > 0 || rep.Sanitized != nil || rep.Verdict != scan.Clean && rep.Verdict != scan.Infected {
		return
	}
	if rep.Definitions == "" || rep.Definitions != pool.Definitions() {
		return
	}
	k, ok := cacheKey(name, rep.Definitions, s, sum)
	if !ok {
		return
	}
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	p.cache.put(k, rep)
}
