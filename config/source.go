package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxFile bounds the configuration file, in bytes.
const MaxFile = 1 << 20

const (
	maxNodes  = 200_000 // after aliases are followed: what a small file may grow to
	maxDepth  = 40
	maxRow    = 1000 // entries of one line
	maxColumn = 1000 // of the first entry of a line: how far it is indented
)

// A shape is what sort of value a node is.
type shape uint8

const (
	null shape = iota
	text
	number
	boolean
	list
	mapping
)

func (s shape) String() string {
	return [...]string{"nothing", "a text", "a number", "a boolean", "a list", "a mapping"}[s]
}

// A node is a value of the file with its place. Aliases are followed already.
type node struct {
	shape        shape
	text         string // of a scalar, unquoted
	line, column int
	pairs        []pair  // of a mapping, in order, names unique
	items        []*node // of a list
}

type pair struct {
	name  *node
	value *node
}

// A source is a configuration file in memory.
type source struct {
	name     string
	lines    []string
	problems *Problems
	anchors  map[string]ast.Node
	nodes    int
}

// problem notes what is wrong at a place of the file.
func (s *source) problem(line, column int, path, message, hint string) {
	s.problems.add(Problem{File: s.name, Line: line, Column: column, Path: path,
		Message: message, Hint: hint, Excerpt: s.excerpt(line, column)})
}

// unknown notes a key that has no meaning. What follows it is not shown: it may
// be a secret under a misspelt name.
func (s *source) unknown(key *node, path, message, hint string) {
	p := Problem{File: s.name, Line: key.line, Column: key.column, Path: path, Message: message, Hint: hint}
	if key.line >= 1 && key.line <= len(s.lines) {
		runes := []rune(s.lines[key.line-1])
		end := min(len(runes), max(0, key.column-1)+len([]rune(key.text)))
		p.Excerpt = frame(key.line, key.column, mask(printable(string(runes[:end])))+": …")
	}
	s.problems.add(p)
}

// excerpt shows the line with a mark under the column. Only that line: the one
// before it may be part of a secret.
func (s *source) excerpt(line, column int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	return frame(line, column, mask(printable(s.lines[line-1])))
}

func frame(line, column int, shown string) string {
	indent := max(0, min(column-1, len([]rune(shown))))
	return fmt.Sprintf(" %4d | %s\n      | %s^\n", line, shown, strings.Repeat(" ", indent))
}

var (
	secretKey   = regexp.MustCompile(`(?i)(?:key|secret|token|pass|dsn|cred|external_id|options)[a-z_-]*(?:["']\s*:\s*|\s*:\s+)`)
	secretRef   = regexp.MustCompile(`^["']?(?:file|env|credential):`)
	secretBlock = regexp.MustCompile(`[A-Za-z0-9+/=_]{32,}`)
	portOnly    = regexp.MustCompile(`^[0-9]{1,5}$`)
	secretURL   = regexp.MustCompile(`(?i)(://[^/@\s]*:|[?&][a-z_-]*(?:key|secret|token|pass)[a-z_-]*=)[^/@&\s"']+`)
)

// mask hides in an excerpt what is a secret by its key or by its look: errors
// are logged.
func mask(line string) string {
	for _, m := range secretKey.FindAllStringIndex(line, -1) {
		if rest := line[m[1]:]; rest != "" && !secretRef.MatchString(rest) {
			return maskURLs(line[:m[1]]) + hidden // and all that follows on the line
		}
	}
	return maskURLs(line)
}

func maskURLs(line string) string {
	var b strings.Builder
	last := 0
	for _, m := range secretURL.FindAllStringSubmatchIndex(line, -1) {
		b.WriteString(line[last:m[3]])
		switch value := line[m[3]:m[1]]; {
		case strings.HasPrefix(line[m[2]:], "://") && portOnly.MatchString(value) && !strings.HasPrefix(line[m[1]:], "@"):
			b.WriteString(value) // of a host, not the password of a user
		default:
			b.WriteString(hidden)
		}
		last = m[1]
	}
	b.WriteString(line[last:])
	return secretBlock.ReplaceAllString(b.String(), hidden)
}

// printable keeps a line of the file from driving the terminal, within a bound.
func printable(line string) string {
	runes := []rune(strings.ToValidUTF8(line, "\uFFFD"))
	if len(runes) > 160 {
		runes = append(runes[:160:160], '…')
	}
	for i, r := range runes {
		switch {
		case r == '\t':
			runes[i] = ' '
		case !unicode.IsPrint(r):
			runes[i] = '\uFFFD'
		}
	}
	return string(runes)
}

// parse reads data into nodes. It returns nil for an empty file and where a
// problem of the syntax left nothing to read.
func (s *source) parse(data []byte) (root *node) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	s.lines = strings.Split(string(data), "\n")
	if !s.readable(data) || !s.shallow(data) {
		return nil
	}
	// The parser is a library's; a file that makes it panic is a broken file.
	defer func() {
		if r := recover(); r != nil {
			s.problem(1, 1, "", "not YAML that can be read", "")
			root = nil
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		s.syntax(err)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc == nil || doc.Body == nil {
			continue
		}
		if _, ok := doc.Body.(*ast.CommentGroupNode); ok {
			continue
		}
		if body != nil {
			at := doc.Body.GetToken().Position
			s.problem(at.Line, at.Column, "", "a second YAML document", "write everything in one")
			return nil
		}
		body = doc.Body
	}
	if body == nil {
		return nil
	}
	return s.convert(body, 0)
}

// shallow finds nesting that no configuration needs before the parser builds a
// tree of it, which for 100 KB of brackets takes it gigabytes.
func (s *source) shallow(data []byte) bool {
	open, entries, line := 0, 0, 0
	for _, t := range lexer.Tokenize(string(data)) {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			entries++ // of one line: "- - - x", "? ? ? x", "a: b: c"
		}
		first := entries == 1 && open == 0
		if open > maxDepth || entries > maxRow || first && t.Position.Column > maxColumn {
			s.problem(line, t.Position.Column, "", fmt.Sprintf("nested deeper than %d", maxDepth), "")
			return false
		}
	}
	return true
}

// readable finds what no YAML may hold before the parser stumbles over it.
func (s *source) readable(data []byte) bool {
	for i, line := range s.lines {
		column := 1
		for rest := line; rest != ""; column++ {
			r, n := utf8.DecodeRuneInString(rest)
			if r == utf8.RuneError && n == 1 {
				s.problem(i+1, column, "", "not UTF-8", "save the file as UTF-8")
				return false
			}
			if r < ' ' && r != '\t' || r == 0x7f {
				s.problem(i+1, column, "", fmt.Sprintf("a control character (%U)", r), "remove it")
				return false
			}
			rest = rest[n:]
		}
		if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") && strings.TrimSpace(line) != "" {
			s.problem(i+1, strings.IndexByte(line, '\t')+1, "", "a tab in the indentation", "indent with spaces")
			return false
		}
	}
	return true
}

func (s *source) syntax(err error) {
	line, column, message := 1, 1, err.Error()
	var known yaml.Error
	if errors.As(err, &known) {
		message = known.GetMessage()
		if tok := known.GetToken(); tok != nil && tok.Position != nil {
			line, column = tok.Position.Line, tok.Position.Column
		}
	}
	s.problem(line, column, "", "not valid YAML: "+printable(message), "")
}

// convert turns the library's tree into ours.
func (s *source) convert(from ast.Node, depth int) *node {
	n := &node{}
	if from == nil {
		return n
	}
	if tok := from.GetToken(); tok != nil {
		n.line, n.column = place(tok)
	}
	s.nodes++
	if s.nodes > maxNodes || depth > maxDepth {
		if s.nodes != maxNodes*2 { // say it once
			s.problem(n.line, n.column, "", "too large once its aliases are followed, or nested too deep", "")
			s.nodes = maxNodes * 2
		}
		s.nodes--
		return n
	}
	switch from := from.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		n.shape, n.text = text, from.Value
	case *ast.LiteralNode:
		n.shape, n.text = text, from.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.shape, n.text = number, from.GetToken().Value
	case *ast.BoolNode:
		n.shape, n.text = boolean, strconv.FormatBool(from.Value)
	case *ast.MappingNode:
		n.shape = mapping
		s.pairs(n, from.Values, depth)
	case *ast.MappingValueNode:
		n.shape = mapping
		s.pairs(n, []*ast.MappingValueNode{from}, depth)
	case *ast.SequenceNode:
		n.shape = list
		for _, item := range from.Values {
			n.items = append(n.items, s.convert(item, depth+1))
		}
	case *ast.AnchorNode:
		if s.anchors == nil {
			s.anchors = map[string]ast.Node{}
		}
		value := s.convert(from.Value, depth+1)
		s.anchors[from.Name.GetToken().Value] = from.Value // after: an anchor cannot hold itself
		return value
	case *ast.AliasNode:
		name := from.Value.GetToken().Value
		target, ok := s.anchors[name]
		if !ok {
			s.problem(n.line, n.column, "", "no anchor "+quote(name)+" before this alias", "")
			return n
		}
		return s.convert(target, depth+1)
	case *ast.TagNode:
		s.problem(n.line, n.column, "", "YAML tags such as "+quote(from.Start.Value)+" are not read", "remove it")
	default:
		s.problem(n.line, n.column, "", "this sort of YAML ("+strings.ToLower(from.Type().String())+") is not read", "")
	}
	return n
}

// pairs fills a mapping, refusing names that stand twice.
func (s *source) pairs(n *node, values []*ast.MappingValueNode, depth int) {
	seen := map[string]int{}
	for _, v := range values {
		name := &node{shape: text, text: v.Key.GetToken().Value}
		name.line, name.column = place(v.Key.GetToken())
		if v.Key.IsMergeKey() {
			s.problem(name.line, name.column, "", "merge keys (<<) are not read", "write the values out, or use an alias for a whole value")
			continue
		}
		if line, twice := seen[name.text]; twice {
			s.problem(name.line, name.column, "", quote(name.text)+" stands here twice", fmt.Sprintf("it is in line %d already", line))
			continue
		}
		seen[name.text] = name.line
		if len(n.pairs) == 0 {
			n.line, n.column = name.line, name.column
		}
		n.pairs = append(n.pairs, pair{name, s.convert(v.Value, depth+1)})
	}
}

func place(tok *token.Token) (line, column int) {
	if tok.Position == nil {
		return 0, 0
	}
	return tok.Position.Line, tok.Position.Column
}

// get returns the value under name, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, p := range n.pairs {
		if p.name.text == name {
			return p.value
		}
	}
	return nil
}

// plain returns the node as the values that encoding/json knows.
func (n *node) plain() any {
	switch n.shape {
	case text:
		return n.text
	case number:
		if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(n.text, 64); err == nil && f-f == 0 {
			return f
		}
		return n.text
	case boolean:
		return n.text == "true"
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.plain()
		}
		return out
	case mapping:
		out := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			out[p.name.text] = p.value.plain()
		}
		return out
	}
	return nil
}

func quote(s string) string { return strconv.Quote(s) }
