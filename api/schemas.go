package api

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// A namer names the schemas of the document. Two types of one name (bodies that
// are written where they are used) are told apart by their operation.
type namer struct {
	taken     map[string]reflect.Type
	operation string // being registered
}

func (n *namer) name(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if other, ok := n.taken[name]; ok && other != t {
		name = strings.ToUpper(n.operation[:1]) + n.operation[1:] + name
	}
	n.taken[name] = t
	return name
}
