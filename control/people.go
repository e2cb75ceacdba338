package control

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/landwaiter/landwaiter/account"
)

// A UserQuery selects users: those with a role, or those who wait for one.
type UserQuery struct {
	Waiting    bool
	Search     string // in login, name or email, whatever the case
	By         string // userName, fullName, email, role; "" = userName
	Descending bool
	Start      int
	Count      int
}

// maxPage bounds a page of users.
const maxPage = 1000

// userKeys are what users are ordered by.
var userKeys = map[string]func(account.User) string{
	"username": func(u account.User) string { return u.Login },
	"fullname": func(u account.User) string { return strings.ToLower(u.Name) },
	"email":    func(u account.User) string { return u.Email },
	"role":     func(u account.User) string { return u.Role.String() },
}

// Users lists a page of the users whom the caller sees, and how many there are
// in all.
func (c *Control) Users(ctx context.Context, q UserQuery) (list []account.User, total int, err error) {
	err = c.do(ctx, act{action: "user.list"}, func(ctx context.Context, who account.Caller) error {
		all, err := c.Store.Users(ctx, reach(who))
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(u account.User) bool { return (u.Role == account.None) != q.Waiting || !q.finds(u) })
		key := userKeys[strings.ToLower(q.By)]
		if key == nil {
			key = userKeys["username"]
		}
		slices.SortStableFunc(all, func(a, b account.User) int {
			order := cmp.Compare(key(a), key(b))
			if q.Descending {
				return -order
			}
			return order
		})
		total = len(all)
		start := min(max(q.Start, 0), total)
		list = all[start:min(start+min(max(q.Count, 1), maxPage), total)]
		return nil
	})
	return list, total, err
}

func (q UserQuery) finds(u account.User) bool {
	word := strings.ToLower(strings.TrimSpace(q.Search))
	return word == "" || strings.Contains(u.Login, word) || strings.Contains(strings.ToLower(u.Name), word) || strings.Contains(u.Email, word)
}

// Me is the caller as a user.
func (c *Control) Me(ctx context.Context) (account.User, error) {
	return get(ctx, c, act{action: "user.me"}, func(ctx context.Context, who account.Caller) (account.User, error) {
		return c.Store.User(ctx, who.ID)
	})
}
