package config

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/landwaiter/landwaiter/fault"
)

// Options say what a configuration is made of.
type Options struct {
	File string     // path of the YAML file, "" = none
	Data []byte     // its content, if it was read already
	Env  []string   // as os.Environ gives it; nil = no variables count
	Set  []Override // from flags, by rising strength

	// Unresolved leaves references to secrets alone, where they are not or not
	// all of them are needed: Resolve follows them later.
	Unresolved bool
	// Storages, Engines and Sources are the URL schemes that exist; nil = any.
	Storages, Engines, Sources []string
}

// An Override is a setting from a flag.
type Override struct {
	Path  string // server.listen
	Value string
	Flag  string // --listen, for errors
}

// Load reads, completes and validates a configuration. What is wrong with it
// comes as Problems; a file that cannot be read is fault.NotFound, Denied or
// Other.
func Load(o Options) (*Config, error) {
	c := &Config{origins: map[string]Origin{}, secrets: map[string]string{}, env: o.Env}
	preset(reflect.ValueOf(c).Elem())
	var problems Problems
	if o.File != "" {
		if err := c.read(o, &problems); err != nil {
			return nil, err
		}
	}
	c.environment(o.Env, &problems)
	c.override(o.Set, &problems)
	c.complete()
	if len(problems) == 0 {
		problems = append(problems, c.check(o)...)
	}
	if len(problems) == 0 && !o.Unresolved {
		c.resolve(&problems, "")
	}
	if c.src != nil {
		c.src.problems = nil
	}
	return c, problems.err()
}

// read decodes the file into c.
func (c *Config) read(o Options, problems *Problems) error {
	data := o.Data
	if data == nil {
		var err error
		if data, err = readFile(o.File); err != nil {
			return err
		}
	}
	c.src = &source{name: o.File, problems: problems}
	if len(data) > MaxFile {
		c.src.problem(1, 1, "", "the file is larger than "+FormatSize(MaxFile), "")
		return nil
	}
	root := c.src.parse(data)
	if root == nil {
		return nil
	}
	d := &decoder{src: c.src, origins: c.origins}
	d.decode(root, reflect.ValueOf(c).Elem(), "", field{})
	return nil
}

func readFile(name string) ([]byte, error) {
	const op = "config.Load"
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not make us wait
	if err == nil {
		defer func() { _ = f.Close() }() // only read
		if info, serr := f.Stat(); serr != nil || !info.Mode().IsRegular() {
			return nil, fault.New(fault.Other, op, name, errors.Join(serr, errors.New("not a regular file")))
		}
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, MaxFile+1)); err == nil {
			return data, nil
		}
	}
	kind := fault.Other
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = fault.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = fault.Denied
	}
	return nil, fault.New(kind, op, "", err)
}

// Resolve follows the references to secrets at and below path (units[0], pools;
// "" = everywhere) that Load left alone. What it cannot follow comes as
// Problems, and stays a reference. Resolving again changes nothing.
func (c *Config) Resolve(path string) error {
	var problems Problems
	c.resolve(&problems, path)
	return problems.err()
}

func (c *Config) resolve(problems *Problems, below string) {
	vars := variables(c.env)
	getenv := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	follow := func(s Secret, path string) Secret {
		if !covers(below, path) {
			return s
		}
		if ref := s.Ref(); ref != "" {
			c.secrets[path] = ref
		}
		out, err := s.Resolve(getenv)
		if err != nil {
			c.refused(problems, path, err)
		}
		return out
	}
	c.Store.DSN = follow(c.Store.DSN, "store.dsn")
	options := func(m map[string]Secret, at string) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			m[name] = follow(m[name], join(at+".options", name))
		}
	}
	for i := range c.Units {
		options(c.Units[i].Options, unitPath(i))
	}
	for i := range c.Accounts {
		options(c.Accounts[i].Options, accountPath(i))
	}
	for i := range c.Sources {
		options(c.Sources[i].Options, sourcePath(i))
	}
	for i := range c.Hooks {
		options(c.Hooks[i].Options, hookPath(i))
	}
	for i := range c.Pools {
		for j := range c.Pools[i].Instances {
			in := &c.Pools[i].Instances[j]
			in.APIKey = follow(in.APIKey, instancePath(i, j)+".api_key")
			in.Password = follow(in.Password, instancePath(i, j)+".password")
		}
	}
}

// covers reports whether path names what is at above, or a part of it.
func covers(above, path string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (above == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// refused notes what is wrong with the value at path, wherever it came from.
func (c *Config) refused(problems *Problems, path string, err error) {
	message, hint := err.Error(), ""
	var r *refusal
	if errors.As(err, &r) {
		message, hint = r.message, r.hint
	}
	problems.add(c.at(path, message, hint))
}

// Problem returns a problem with the place of the value at path (units[0].url),
// or of what holds it.
func (c *Config) Problem(path, message, hint string) Problem { return c.at(path, message, hint) }

func (c *Config) at(path, message, hint string) Problem {
	p := Problem{Path: path, Message: message, Hint: hint}
	for at := path; ; at = parent(at) {
		o, ok := c.origins[at]
		switch {
		case ok && o.From == "file":
			p.File, p.Line, p.Column = o.Name, o.Line, o.Column
			p.Excerpt = c.src.excerpt(o.Line, o.Column)
			return p
		case ok:
			p.From = o.Name
			return p
		case at == "":
			return p
		}
	}
}

// parent returns the path of what holds the value at path.
func parent(path string) string {
	quoted := false
	for i := len(path) - 1; i >= 0; i-- {
		switch {
		case path[i] == '"' && (i == 0 || path[i-1] != '\\'):
			quoted = !quoted
		case !quoted && (path[i] == '.' || path[i] == '['):
			return path[:i]
		}
	}
	return ""
}
