package control

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
)

// An archive is a tenant's configuration in a file: a first line that says what
// it is, and JSON, packed, under AES-256-GCM with a key that argon2id makes of a
// password. Without a password it is not encrypted, and has no secrets in it.
const (
	archivePlain  = "landwaiter configuration 1\n"
	archiveSealed = "landwaiter configuration 1 sealed\n"
	archiveHead   = "landwaiter configuration "
)

// MaxArchive bounds an archive, and what is packed in it, in bytes.
const (
	MaxArchive  = 8 << 20
	maxUnpacked = 64 << 20
)

const saltSize = 16

// What can be wrong with an archive, each with its own answer.
var (
	ErrArchiveEmpty    = errors.New("there is no file in the request")
	ErrArchiveInvalid  = errors.New("this is no configuration archive, or it is damaged")
	ErrArchiveContent  = errors.New("the archive's content makes no sense")
	ErrArchiveVersion  = errors.New("the archive is of another version, which this release does not know")
	ErrArchiveLocked   = errors.New("the archive has a password: it is needed")
	ErrArchivePassword = errors.New("the password is wrong, or the archive is damaged")
)

// archived is the JSON in an archive.
type archived struct {
	Made  time.Time      `json:"made"`
	Nouns []archivedNoun `json:"nouns"`
}

type archivedNoun struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	Parent   string          `json:"parent,omitempty"`
	Disabled bool            `json:"disabled,omitempty"`
	Body     json.RawMessage `json:"body"` // secrets in it as {"$secret": text}, or null where they were left out
}

// pack writes an archive; password "" = not encrypted.
func pack(ctx context.Context, a archived, password string) ([]byte, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return nil, fault.New(fault.Internal, "control.Export", "", err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fault.New(fault.Internal, "control.Export", "", err)
	}
	if password == "" {
		return append([]byte(archivePlain), z.Bytes()...), nil
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	aead, err := archiveCipher(ctx, password, salt)
	if err != nil {
		return nil, err
	}
	out := append([]byte(archiveSealed), salt...)
	return aead.Seal(out, nil, z.Bytes(), []byte(archiveSealed)), nil
}

func archiveCipher(ctx context.Context, password string, salt []byte) (cipher.AEAD, error) {
	key, err := account.KeyOf(ctx, password, salt)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// unpack reads an archive.
func unpack(ctx context.Context, data []byte, password string) (a archived, err error) {
	bad := func(why error) (archived, error) {
		return archived{}, fault.New(fault.Invalid, "control.Import", "", why)
	}
	var body []byte
	switch {
	case len(data) == 0:
		return bad(ErrArchiveEmpty)
	case bytes.HasPrefix(data, []byte(archiveSealed)):
		body = data[len(archiveSealed):]
		if password == "" {
			return bad(ErrArchiveLocked)
		}
		if len(body) < saltSize {
			return bad(ErrArchiveInvalid)
		}
		aead, err := archiveCipher(ctx, password, body[:saltSize])
		if err != nil {
			return a, err
		}
		if body, err = aead.Open(nil, nil, body[saltSize:], []byte(archiveSealed)); err != nil {
			return bad(ErrArchivePassword)
		}
	case bytes.HasPrefix(data, []byte(archivePlain)):
		body = data[len(archivePlain):]
	case bytes.HasPrefix(data, []byte(archiveHead)):
		return bad(ErrArchiveVersion)
	default:
		return bad(ErrArchiveInvalid)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return bad(ErrArchiveInvalid)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err != nil || len(text) > maxUnpacked {
		return bad(ErrArchiveInvalid)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return bad(fmt.Errorf("%w: %w", ErrArchiveContent, err))
	}
	return a, nil
}
