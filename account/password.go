package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/landwaiter/landwaiter/fault"
)

// Bounds of a password, in characters and bytes.
const (
	MinPassword = 12
	MaxPassword = 1024
)

// The cost of a hash: 46 MiB and one pass, OWASP's second choice for argon2id.
const (
	hashMemory  = 46 << 10 // KiB
	hashTime    = 1
	hashThreads = 1
	hashSize    = 32
	saltSize    = 16
)

// hashing bounds the memory that hashes take, two at once, and queue how many wait
// for that: a flood of logins is turned away, not kept.
var (
	hashing = semaphore.NewWeighted(2)
	queue   = semaphore.NewWeighted(maxHashes)
)

const maxHashes = 200

// CheckPassword says what is wrong with a new password.
func CheckPassword(password, login string) error {
	bad := func(words string) error { return fault.New(fault.Invalid, "account", "", errors.New(words)) }
	switch {
	case !utf8.ValidString(password):
		return bad("a password is text in UTF-8")
	case utf8.RuneCountInString(password) < MinPassword:
		return bad(fmt.Sprintf("a password has at least %d characters", MinPassword))
	case len(password) > MaxPassword:
		return bad(fmt.Sprintf("a password has at most %d bytes", MaxPassword))
	case login != "" && strings.EqualFold(password, login):
		return bad("a password is not the user's name")
	}
	return nil
}

// HashPassword returns the argon2id hash of a password in PHC form. It waits
// while others are hashed.
func HashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	sum, err := hash(ctx, password, salt, hashTime, hashMemory, hashThreads)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

func hash(ctx context.Context, password string, salt []byte, passes, memory uint32, threads uint8) ([]byte, error) {
	if !queue.TryAcquire(1) {
		return nil, &fault.Error{Op: "account", Kind: fault.Throttled, After: time.Second, Err: errors.New("too many log in at once")}
	}
	defer queue.Release(1)
	if err := hashing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer hashing.Release(1)
	return argon2.IDKey([]byte(password), salt, passes, memory, threads, hashSize), nil
}

// SamePassword reports whether phc is the hash of password. A user who is not
// there, or has no password, takes as long: phc is then "".
func SamePassword(ctx context.Context, phc, password string) (bool, error) {
	if len(password) > MaxPassword {
		return false, nil
	}
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(phc, "$")
	salt, want := make([]byte, saltSize), []byte(nil)
	known := len(parts) == 6 && parts[1] == "argon2id"
	if known {
		var serr, werr error
		_, verr := fmt.Sscanf(parts[2], "v=%d", &version)
		_, perr := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads)
		salt, serr = base64.RawStdEncoding.DecodeString(parts[4])
		want, werr = base64.RawStdEncoding.DecodeString(parts[5])
		if err := errors.Join(verr, perr, serr, werr); err != nil || version != argon2.Version || memory > 1<<20 || passes > 16 || threads == 0 || passes == 0 {
			return false, fault.New(fault.Corrupt, "account", "", errors.New("a stored password cannot be read"))
		}
	} else {
		memory, passes, threads = hashMemory, hashTime, hashThreads
	}
	sum, err := hash(ctx, password, salt, passes, memory, threads)
	if err != nil {
		return false, err
	}
	return known && subtle.ConstantTimeCompare(sum, want) == 1, nil
}

// KeyOf makes a key of 32 bytes from a password and a salt, as slowly as a hash.
func KeyOf(ctx context.Context, password string, salt []byte) ([]byte, error) {
	return hash(ctx, password, salt, hashTime, hashMemory, hashThreads)
}
