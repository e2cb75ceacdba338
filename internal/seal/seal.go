// Package seal keeps secrets of operators at rest: AES-256-GCM under a key that
// is not in the ledger. What is sealed for one place opens for no other, so that
// a sealed text cannot be moved to where it would be shown or sent elsewhere.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// FileName is the key's file in the data folder, where no key is given.
const FileName = "encryption.key"

// A Box seals with its key, and opens what that key or the one before sealed. It
// is safe for concurrent use.
type Box struct{ keys atomic.Pointer[keys] }

type keys struct {
	key      []byte
	now, old cipher.AEAD // old is nil where there was none
}

// ErrOpen says that a text was not sealed with this key for this place.
var ErrOpen = errors.New("sealed with another key, or damaged")

// prefix marks a sealed text and its form.
const prefix = "sealed:1:"

// New returns the box of a key, which must be KeySize bytes.
func New(key []byte) (*Box, error) {
	b := &Box{}
	return b, b.Turn(key, nil)
}

// Turn makes key the one that seals; old, which may be nil, still opens.
func (b *Box) Turn(key, old []byte) (err error) {
	k := &keys{key: bytes.Clone(key)}
	if k.now, err = cipherOf(key); err != nil {
		return err
	}
	if old != nil {
		if k.old, err = cipherOf(old); err != nil {
			return err
		}
	}
	b.keys.Store(k)
	return nil
}

func cipherOf(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("an encryption key has %d bytes, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// NewKey returns a random key.
func NewKey() []byte {
	b := make([]byte, KeySize)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// ParseKey reads a key in base64, as File writes it.
func ParseKey(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) != KeySize {
		return nil, fmt.Errorf("not %d bytes in base64", KeySize)
	}
	return b, nil
}

// FormatKey writes what ParseKey reads.
func FormatKey(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// Load reads the key in dir, and makes one, readable by us alone, if there is
// none. old is the key before, nil unless it is still needed.
func Load(dir string) (key, old []byte, err error) {
	path := filepath.Join(dir, FileName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = NewKey()
		return key, nil, Save(dir, key, nil)
	}
	if err != nil {
		return nil, nil, err
	}
	lines := strings.Fields(string(b))
	if len(lines) == 0 || len(lines) > 2 {
		return nil, nil, fmt.Errorf("%s: not a key", path)
	}
	if key, err = ParseKey(lines[0]); err == nil && len(lines) == 2 {
		old, err = ParseKey(lines[1])
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, old, nil
}

// Save puts key into dir, and old behind it unless it is nil, whole or not at all.
func Save(dir string, key, old []byte) (err error) {
	f, err := os.CreateTemp(dir, FileName+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	text := FormatKey(key) + "\n"
	if old != nil {
		text += FormatKey(old) + "\n"
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, FileName)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal returns text sealed for a place, a word that Open must name again. An
// empty text stays empty.
func (b *Box) Seal(place, text string) string {
	if text == "" {
		return ""
	}
	return prefix + base64.RawStdEncoding.EncodeToString(b.keys.Load().now.Seal(nil, nil, []byte(text), []byte(place)))
}

// Open returns what was sealed for the place, or ErrOpen.
func (b *Box) Open(place, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	raw, ok := strings.CutPrefix(sealed, prefix)
	if !ok {
		return "", ErrOpen
	}
	data, err := base64.RawStdEncoding.DecodeString(raw)
	if err != nil {
		return "", ErrOpen
	}
	k := b.keys.Load()
	text, err := k.now.Open(nil, nil, data, []byte(place))
	if err != nil && k.old != nil {
		text, err = k.old.Open(nil, nil, data, []byte(place))
	}
	if err != nil {
		return "", ErrOpen
	}
	return string(text), nil
}

// Sealed reports whether text is in the form that Seal writes.
func Sealed(text string) bool { return strings.HasPrefix(text, prefix) }

// Derive returns 32 bytes for a purpose that say nothing of the key: for
// signing, which must not use the key itself.
func (b *Box) Derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, b.keys.Load().key, nil, "landwaiter "+purpose, KeySize)
}
