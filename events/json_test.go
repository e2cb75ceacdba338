package events

import (
	"fmt"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/fault"
)

// A name that comes twice in one object is found whatever the number of names,
// the case, the escapes and the objects between; the same name in two objects is none.
func TestCheckNames(t *testing.T) {
	object := func(n int, more string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"name%d":{"name%d":[{"a":1},{"a":2}]},`, i, i)
		}
		return "{" + b.String() + more + "}"
	}
	for _, n := range []int{0, 1, fewNames - 1, fewNames, fewNames + 1, 5 * fewNames} {
		for _, c := range []struct {
			more string
			ok   bool
		}{
			{`"last":0`, true},
			{`"last":{"last":{"last":0}}`, true},
			{`"last":0,"last":0`, false},
			{`"last":0,"LAST":0`, false},
			{`"last":0,"l\u0061st":0`, false},
			{`"last":0,"la\u017ft":0`, false}, // ſ folds to s
			{`"last":0,"laſt":0`, false},
			{`"last":0,"läst":0`, true},
			{`"last":{"b":0,"B":0}`, false},
			{`"last":[{"b":0},{"c":0,"c":0}]`, false},
		} {
			body := object(n, c.more)
			if err := Check([]byte(body)); (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("%d names and %s: %v", n, c.more, err)
			}
		}
		for _, i := range []int{0, n / 2, n - 1} {
			if n > 0 && Check([]byte(object(n, fmt.Sprintf(`"name%d":0`, i)))) == nil {
				t.Errorf("name %d of %d comes twice", i, n)
			}
		}
	}
}
