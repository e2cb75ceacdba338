package config

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret bounds what is read from a secret's file, in bytes.
const maxSecret = 64 << 10

const hidden = "***"

// A Secret is a value that is never shown: every way of printing it writes ***.
// In the file it is written as
//
//	the value itself
//	file:/PATH       the content of that file, without its last newline
//	env:NAME         the content of that environment variable
//	credential:NAME  a systemd credential: NAME in $CREDENTIALS_DIRECTORY
//	value:TEXT       TEXT, for values that begin like one of these
type Secret struct {
	// Behind two pointers, so that fmt shows an address and not the value even
	// where it cannot call Format (a secret in an unexported field).
	of *secret
}

type secret struct {
	ref   string  // how it was written, "" for one given by value
	value *string // nil until the reference is resolved
}

// NewSecret returns a secret with that value.
func NewSecret(value string) Secret {
	return Secret{&secret{value: &value}}
}

// ParseSecret reads the form of the file. A reference is not followed yet.
func ParseSecret(s string) (Secret, error) {
	way, rest, ok := strings.Cut(s, ":")
	if !ok {
		return NewSecret(s), nil
	}
	switch way {
	case "value":
		return NewSecret(rest), nil
	case "file":
		if !filepath.IsAbs(rest) {
			return Secret{}, refuse("write it from the root: file:/etc/landwaiter/NAME", "the path of a secret must be absolute")
		}
	case "env":
		if rest == "" || strings.ContainsAny(rest, "= \t") {
			return Secret{}, refuse("write env:NAME", "not the name of an environment variable")
		}
	case "credential":
		if rest == "" || rest == "." || rest == ".." || strings.ContainsRune(rest, '/') {
			return Secret{}, refuse("write credential:NAME", "not the name of a systemd credential")
		}
	default:
		return NewSecret(s), nil
	}
	return Secret{&secret{ref: s}}, nil
}

// IsSet reports whether there is a secret at all.
func (s Secret) IsSet() bool { return s.Reveal() != "" || s.Ref() != "" }

// Reveal returns the value, or "" for a reference that was not resolved.
func (s Secret) Reveal() string {
	if s.of == nil || s.of.value == nil {
		return ""
	}
	return *s.of.value
}

// Ref returns how the secret was written if it is a reference, else "".
func (s Secret) Ref() string {
	if s.of == nil {
		return ""
	}
	return s.of.ref
}

// Resolve returns s with its reference followed, by getenv for variables and
// for CREDENTIALS_DIRECTORY. Resolving again changes nothing.
func (s Secret) Resolve(getenv func(string) (string, bool)) (Secret, error) {
	if s.of == nil || s.of.value != nil {
		return s, nil
	}
	way, name, _ := strings.Cut(s.of.ref, ":")
	var value string
	switch way {
	case "env":
		v, ok := getenv(name)
		if !ok {
			return s, refuse("", "the environment has no %s", name)
		}
		value = v
	case "credential":
		dir, ok := getenv("CREDENTIALS_DIRECTORY")
		if !ok || dir == "" {
			return s, refuse("add LoadCredential="+name+":… to the unit file", "no systemd credentials here: CREDENTIALS_DIRECTORY is not set")
		}
		name = filepath.Join(dir, name)
		fallthrough
	case "file":
		v, err := readSecret(name)
		if err != nil {
			return s, refuse("", "cannot read the secret: %v", err)
		}
		value = v
	}
	if value == "" {
		return s, refuse("", "the secret is empty")
	}
	return Secret{&secret{ref: s.of.ref, value: &value}}, nil
}

func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // a pipe would wait for ever
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxSecret)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// Equal reports whether both are the same secret.
func (s Secret) Equal(t Secret) bool { return s.Reveal() == t.Reveal() && s.Ref() == t.Ref() }

// String returns "***", or "" where there is no secret.
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return hidden
}

// GoString is String for %#v.
func (s Secret) GoString() string { return "config.Secret(" + hidden + ")" }

// Format prints String whatever the verb.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		_, _ = io.WriteString(f, s.GoString())
		return
	}
	_, _ = io.WriteString(f, s.String())
}

// MarshalText is String, for JSON and all that asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML is String.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
