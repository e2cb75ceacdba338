// Package test holds what needs the whole program, and the rules that the
// sources keep: who may import whom, and a few habits.
package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/landwaiter/landwaiter/"

// mayImport says which folders a folder may import. A folder stands for its own
// package; what lies below it is subject to mayImportBelow.
var mayImport = func() map[string][]string {
	vocabulary := []string{"object", "fault"}
	line := slices.Concat(vocabulary, []string{"connectors", "scan", "workflow", "remediation", "ledger"})
	all := slices.Concat(line, []string{"config", "account", "events", "notify", "report", "webhook"})
	return map[string][]string{
		"object":      {},
		"fault":       {},
		"config":      {"fault"},
		"account":     {"fault"},
		"connectors":  {"object", "fault", "config"},
		"events":      {"object", "fault", "config"},
		"scan":        {"object", "fault", "config"},
		"workflow":    {"object", "fault", "scan"},
		"remediation": {"object", "fault", "connectors", "scan", "workflow"},
		"ledger":      {"object", "fault", "scan", "workflow", "remediation"},
		"pipeline":    slices.Concat(line, []string{"events", "notify", "report", "webhook"}),
		"notify":      {"object", "fault", "config", "ledger", "account"},
		"report":      {"object", "fault", "config", "ledger", "account"},
		"webhook":     {"object", "fault", "connectors", "events"},
		"store":       all, // and not pipeline: it declares the interface, store satisfies it
		"control":     all,
		"api":         slices.Concat(all, []string{"control"}),
		"console":     {},
		"internal":    {},
	}
}()

// wires are the folders that put everything together.
var wires = []string{"daemon", "cmd", "test"}

// mayImportBelow lists what lies below a folder and may be imported by others
// than daemon, cmd and test: package → by whom.
var mayImportBelow = map[string][]string{
	"scan/archive":           {"scan"}, // engines open archives
	"scan/box":               {"scan"}, // in a box
	"events":                 {"connectors"},
	"account/sso":            {"control", "api"},   // who somebody is to their provider
	"remediation/quarantine": {"control", "store"}, // what an operator asks of it
}

// testedWith lists what a folder's tests may import beside: what satisfies the
// interfaces that the folder declares.
var testedWith = map[string][]string{"pipeline": {"store"}}

// tables are the folders that name all their siblings.
var tables = []string{"connectors/all", "events/all", "scan/all"}

// helper reports whether a package is for tests alone: the real servers, and
// what is named so (connectortest, scantest).
func helper(dir string) bool {
	return dir == "test/servers" || strings.HasPrefix(dir, "test/servers/") || strings.HasSuffix(dir, "test") && dir != "test"
}

// A source is one Go file.
type source struct {
	path    string // from the root, with slashes
	dir     string
	test    bool
	lines   int
	imports []string // of ours, from the root
	file    *ast.File
	fset    *token.FileSet
}

// sources parses every Go file below the root.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	walk(t, func(name string, data []byte) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		s := source{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), lines: bytes.Count(data, []byte("\n")), fset: token.NewFileSet()}
		file, err := parser.ParseFile(s.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		s.file = file
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if of, ours := strings.CutPrefix(imported, module); ours {
				s.imports = append(s.imports, of)
			}
		}
		out = append(out, s)
	})
	if len(out) < 20 {
		t.Fatalf("only %d Go files found: these rules look at nothing", len(out))
	}
	return out
}

// walk reads every file of the project.
func walk(t *testing.T, each func(name string, data []byte)) {
	t.Helper()
	root := ".."
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator)))
		if d.IsDir() {
			switch {
			case rel == ".git", rel == "bin", rel == "dist", rel == "inbox", rel == "landwaiter-data", d.Name() == "node_modules":
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		each(rel, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func top(dir string) string { t, _, _ := strings.Cut(dir, "/"); return t }

// allowed reports whether a package may import another, and if not, why.
func allowed(from, to string, test bool) (string, bool) {
	a, b := top(from), top(to)
	switch {
	case test && (helper(to) || a == b && strings.HasPrefix(to, from+"/")): // a package is tested with what stands on it
		return "", true
	case test && slices.Contains(testedWith[a], b): // and with the real thing behind its interfaces
		return "", true
	case helper(to) && !slices.Contains(wires, a) && !helper(from):
		return "it is for tests alone", false
	case slices.Contains(wires, a):
		if slices.Contains(wires, b) && a != b && !(a == "cmd" && b == "daemon" || a == "test" && b == "daemon") {
			return a + " does not need " + b, false
		}
		return "", true
	case b == "internal":
		return "", true
	case a == b:
		switch {
		case to == a: // its parent
			return "", true
		case from == a:
			return "a folder's own package does not know what is below it", false
		case slices.Contains(tables, from), slices.Contains(mayImportBelow[to], a):
			return "", true
		case strings.HasPrefix(to, from+"/"), strings.HasPrefix(from, to+"/"):
			return "", true
		}
		return "siblings do not know each other", false
	}
	folders, known := mayImport[a]
	switch {
	case !known:
		return "the table does not know " + a, false
	case to != b && !test && !slices.Contains(mayImportBelow[to], a): // a test may use a real vendor
		return "across folders one imports the folder's own package", false
	case !slices.Contains(folders, b) && !slices.Contains(mayImportBelow[to], a) && !slices.Contains(mayImportBelow[b], a):
		return a + " may import " + strings.Join(folders, ", ") + " only", false
	}
	return "", true
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, to := range s.imports {
			if to == s.dir { // an external test of its own package
				continue
			}
			if why, ok := allowed(s.dir, to, s.test); !ok {
				t.Errorf("%s imports %s: %s", s.path, to, why)
			}
		}
	}
}

// The rules themselves, so that a change of them is a decision.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test, ok bool
	}{
		{"object", "fault", false, false}, {"config", "fault", false, true}, {"config", "object", false, false},
		{"connectors", "object", false, true}, {"connectors/s3", "connectors", false, true}, {"connectors/s3", "connectors/file", false, false},
		{"connectors/s3", "events", false, true}, {"connectors/all", "connectors/s3", false, true}, {"connectors", "connectors/s3", false, false},
		{"pipeline", "connectors/s3", false, false}, {"pipeline", "store", false, false}, {"pipeline", "config", false, false},
		{"store", "pipeline", false, false}, {"store", "ledger", false, true}, {"control", "pipeline", false, false},
		{"scan/builtin", "scan/archive", false, true}, {"scan/builtin", "scan/box", false, true}, {"scan/clamd", "scan/mdcore", false, false},
		{"scan/box", "scan/archive", false, true}, {"scan", "workflow", false, false}, {"workflow", "scan", false, true},
		{"remediation/quarantine", "remediation", false, true}, {"remediation", "remediation/quarantine", false, false},
		{"pipeline", "remediation/quarantine", false, false},
		{"daemon", "connectors/all", false, true}, {"cmd/landwaiter", "daemon", false, true}, {"store", "daemon", false, false},
		{"store", "test/servers", true, true}, {"store", "test/servers", false, false}, {"pipeline", "connectors/connectortest", true, true},
		{"pipeline", "connectors/connectortest", false, false}, {"ledger", "internal/backoff", false, true}, {"new", "object", false, false},
		{"pipeline", "store", true, true}, {"pipeline", "control", true, false},
		{"remediation", "connectors/file", true, true}, {"remediation", "connectors/file", false, false}, {"object", "connectors/file", true, false},
	} {
		if _, ok := allowed(c.from, c.to, c.test); ok != c.ok {
			t.Errorf("%s → %s (test %v): %v, want %v", c.from, c.to, c.test, ok, c.ok)
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if strings.Contains(s.path, "testdata/") {
			continue
		}
		if s.test && !documented[s.dir] && s.dir != "test" {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 20
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init: use an explicit table or a constructor", s.fset.Position(f.Pos()))
			}
		}
	}
}

func TestFilesAreSmall(t *testing.T) {
	var lines []int
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		lines = append(lines, s.lines)
		if s.lines > 600 {
			t.Errorf("%s has %d lines; split it by what it does (600 at most)", s.path, s.lines)
		}
	}
	sort.Ints(lines)
	if median := lines[len(lines)/2]; median >= 200 {
		t.Errorf("the median file has %d lines, want less than 200", median)
	}
}

// Virus scanners on a developer's machine must have nothing to find here, nor
// in the program: the compiler joins constants, so they must not be joined by +.
func TestEicarIsNowhereWhole(t *testing.T) {
	eicar := append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$`), "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"...)
	walk(t, func(name string, data []byte) {
		if bytes.Contains(data, eicar) {
			t.Errorf("%s holds the EICAR string: make it of two halves at run time", name)
		}
	})
	for _, s := range sources(t) {
		if s.test || helper(s.dir) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if ok && bytes.Contains([]byte(folded(e)), eicar) {
				t.Errorf("%s: the compiler makes the EICAR string of this: use append", s.fset.Position(e.Pos()))
				return false
			}
			return true
		})
	}
}

// folded is what the compiler makes of string literals joined by +.
func folded(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.ParenExpr:
		return folded(e.X)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return folded(e.X) + folded(e.Y)
		}
	}
	return ""
}

// A newcomer finds every folder in CONTRIBUTING.md.
func TestEveryFolderIsIntroduced(t *testing.T) {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if folder := top(s.dir); !seen[folder] {
			seen[folder] = true
			if !bytes.Contains(text, []byte("`"+folder+"/`")) {
				t.Errorf("CONTRIBUTING.md says nothing of %s/", folder)
			}
		}
	}
}
