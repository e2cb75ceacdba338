package api_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
)

// covered notes which tests had which operations done: answered with success.
var covered = struct {
	sync.Mutex
	by map[string]map[string]bool // "GET /api/group" → tests
}{by: map[string]map[string]bool{}}

// sweeping are the tests that call everything: that they were answered says
// nothing of what was done.
var sweeping = []string{"TestAuthorization", "TestBadRequests", "TestGenerated"}

func (w *world) covers(method, path string, status int) {
	test, _, _ := strings.Cut(w.t.Name(), "/")
	if status/100 != 2 || slices.Contains(sweeping, test) {
		return
	}
	path, _, _ = strings.Cut(path, "?")
	covered.Lock()
	defer covered.Unlock()
	for _, op := range products() {
		if op.method == method && op.matches(path) {
			if covered.by[op.String()] == nil {
				covered.by[op.String()] = map[string]bool{}
			}
			covered.by[op.String()][test] = true
			return
		}
	}
}

// A product operation is one of MetaDefender Storage Security's.
type productOp struct{ method, path string }

// String is as it is written in testdata/mdss.txt.
func (p productOp) String() string { return p.method + " " + p.path }

func (p productOp) matches(path string) bool {
	want, got := strings.Split(p.path, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if !strings.HasPrefix(want[i], "{") && !strings.EqualFold(want[i], got[i]) {
			return false
		}
	}
	return true
}

// products lists the product's operations, those with more words before those
// with more parameters.
var products = sync.OnceValue(func() (list []productOp) {
	data, err := os.ReadFile("testdata/mdss.txt")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(data)) {
		method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		list = append(list, productOp{method, path})
	}
	sort.SliceStable(list, func(i, j int) bool { return strings.Count(list[i].path, "{") < strings.Count(list[j].path, "{") })
	return list
})

// TestProduct: every operation of the product is there.
func TestProduct(t *testing.T) {
	w := start(t, setup{})
	doc := w.document()
	missing := 0
	for _, p := range products() {
		if !slices.ContainsFunc(doc.operations, func(op operation) bool { return op.method == p.method && sameShape(op.path, p.path) }) {
			missing++
			t.Errorf("%s is not there", p)
		}
	}
	t.Logf("operations=%d missing=%d", len(products()), missing)
	if w.url == "" || len(products()) < 142 {
		t.Errorf("only %d operations are looked for", len(products()))
	}
}

func sameShape(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if strings.HasPrefix(x[i], "{") != strings.HasPrefix(y[i], "{") || !strings.HasPrefix(x[i], "{") && !strings.EqualFold(x[i], y[i]) {
			return false
		}
	}
	return true
}

const (
	tableBegin = "<!-- The table is written by UPDATE=1 go test ./test/api -->\n"
	tableEnd   = "<!-- end of the table -->\n"
	tableFile  = "../../docs/api.md"
)

// coverage writes, or checks, the table of operations and their tests in
// docs/api.md. It is asked after a whole run only.
func coverage() error {
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" {
		return nil
	}
	if f := flag.Lookup("test.list"); f != nil && f.Value.String() != "" {
		return nil
	}
	list := slices.Clone(products())
	sort.Slice(list, func(i, j int) bool { return list[i].path+list[i].method < list[j].path+list[j].method })
	var b bytes.Buffer
	b.WriteString(tableBegin + "| operation | test |\n|---|---|\n")
	var bare []string
	for _, p := range list {
		tests := make([]string, 0, 2)
		for name := range covered.by[p.String()] {
			tests = append(tests, name)
		}
		if len(tests) == 0 {
			bare = append(bare, p.String())
			continue
		}
		slices.Sort(tests)
		fmt.Fprintf(&b, "| `%s` | %s |\n", p, strings.Join(tests[:min(len(tests), 3)], ", "))
	}
	b.WriteString(tableEnd)
	if len(bare) > 0 {
		return fmt.Errorf("%d operations were never done by a test:\n%s", len(bare), strings.Join(bare, "\n"))
	}
	text, err := os.ReadFile(tableFile)
	if err != nil {
		return err
	}
	begin, end := bytes.Index(text, []byte(tableBegin)), bytes.Index(text, []byte(tableEnd))
	if begin < 0 || end < begin {
		return fmt.Errorf("%s has no place for the table", tableFile)
	}
	now := slices.Concat(text[:begin], b.Bytes(), text[end+len(tableEnd):])
	if os.Getenv("UPDATE") != "" {
		return os.WriteFile(tableFile, now, 0o644)
	}
	if !bytes.Equal(now, text) {
		return fmt.Errorf("the table in %s is not current: run UPDATE=1 go test ./test/api", tableFile)
	}
	return nil
}

// TestHead: what has a GET has no other side door.
func TestHead(t *testing.T) {
	w := start(t, setup{})
	a := w.admin()
	if resp, body := a.do(http.MethodHead, "/api/group", nil); resp.StatusCode != http.StatusMethodNotAllowed || len(body) > 0 {
		t.Errorf("HEAD: %s %q", resp.Status, body)
	}
	if got := a.call("GET", "/api/nothing/here", nil, http.StatusNotFound); at(got, "result") != 3.0 {
		t.Errorf("%v", got)
	}
}
