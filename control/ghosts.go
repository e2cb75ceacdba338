package control

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/account"
)

// ghosts are logins that are nobody's. They are treated as a user's would be, so
// that nobody learns which is which. The zero value is ready.
type ghosts struct {
	mu   sync.Mutex
	seen map[string]ghost // by the login's hash
}

type ghost struct {
	failures int
	last     time.Time
}

// maxGhosts bounds what is remembered of them: then all are forgotten.
const maxGhosts = 10_000

// prove refuses a password, as late as a user's wrong one, and says when the next
// may come.
func (g *ghosts) prove(ctx context.Context, login, password string) error {
	key := string(account.SumOf(strings.ToLower(strings.TrimSpace(login))))
	g.mu.Lock()
	was := g.seen[key]
	g.mu.Unlock()
	if err := tooSoon(was.failures, was.last); err != nil {
		return err
	}
	if _, err := account.SamePassword(ctx, "", password); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil || len(g.seen) >= maxGhosts {
		g.seen = map[string]ghost{}
	}
	g.seen[key] = ghost{g.seen[key].failures + 1, time.Now()}
	return Unknown("control.Authenticate", errLogin)
}
