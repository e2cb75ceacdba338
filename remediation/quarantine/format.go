package quarantine

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// The file: magic, length of the header (4 bytes, big endian), header (JSON),
// body (the object under AES-256-CTR with the header's key), SHA-256 of all
// before. The key lies beside what it hides on purpose: it keeps scanners from
// biting and users from running the file, and is no secret.
const (
	magic      = "LWQUAR1\n"
	maxHeader  = 1 << 20
	lenPrefix  = len(magic) + 4
	lenTrailer = sha256.Size
)

// A Header is what is known of an item; it lies in front of the content.
type Header struct {
	Entry       string            `json:"entry"`
	Unit        string            `json:"unit"`
	Key         []byte            `json:"key"` // bytes: base64
	Version     string            `json:"version"`
	Size        int64             `json:"size"` // of the original
	SHA256      []byte            `json:"sha256"`
	ContentType string            `json:"content_type,omitempty"`
	ModTime     time.Time         `json:"mod_time,omitzero"`
	Meta        map[string]string `json:"meta,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Verdict     scan.Verdict      `json:"verdict"`
	Threat      string            `json:"threat,omitempty"`
	At          time.Time         `json:"at"`
	Expiry      time.Time         `json:"expiry,omitzero"` // zero = kept until purged
	Mask        []byte            `json:"mask"`            // AES-256 key
	IV          []byte            `json:"iv"`
}

// stream returns the key stream of the body.
func (h Header) stream() (cipher.Stream, error) {
	block, err := aes.NewCipher(h.Mask)
	if err != nil {
		return nil, err
	}
	return cipher.NewCTR(block, h.IV), nil
}

// length is that of the whole file.
func (h Header) length(head []byte) int64 { return int64(len(head)) + h.Size + int64(lenTrailer) }

// encode gives h a fresh mask and returns the bytes in front of the body.
func (h *Header) encode() ([]byte, error) {
	h.Mask, h.IV = make([]byte, 32), make([]byte, aes.BlockSize)
	_, _ = rand.Read(h.Mask) // never fails
	_, _ = rand.Read(h.IV)
	data, err := json.Marshal(h)
	if err == nil && len(data) > maxHeader {
		err = errors.New("the object has too much metadata")
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "quarantine.Store", h.Entry, err)
	}
	head := append([]byte(magic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(head[len(magic):], uint32(len(data)))
	return append(head, data...), nil
}

// seal returns the file of an object: head, r under the mask, trailer.
func (h Header) seal(head []byte, r io.Reader) (io.Reader, error) {
	stream, err := h.stream()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	body := io.TeeReader(io.MultiReader(bytes.NewReader(head), cipher.StreamReader{S: stream, R: r}), sum)
	return io.MultiReader(body, &trailer{sum: sum}), nil
}

// A trailer yields the sum once it is asked: when all else was read.
type trailer struct {
	sum  hash.Hash
	left []byte
	done bool
}

func (t *trailer) Read(p []byte) (int, error) {
	if !t.done {
		t.left, t.done = t.sum.Sum(nil), true
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// An opened item yields the original bytes. The last Read fails with
// fault.Corrupt if anything in the file is not as it was written.
type opened struct {
	Header
	body  io.Reader // the original bytes
	raw   io.Reader
	sum   hash.Hash // of the file
	plain hash.Hash // of the original
	err   error
}

// unseal reads the head and returns the item.
func unseal(r io.Reader) (*opened, error) {
	o := &opened{sum: sha256.New(), plain: sha256.New()}
	o.raw = r
	tee := io.TeeReader(r, o.sum)
	head := make([]byte, lenPrefix)
	if _, err := io.ReadFull(tee, head); err != nil {
		return nil, damaged(err)
	}
	n := binary.BigEndian.Uint32(head[len(magic):])
	if string(head[:len(magic)]) != magic || n > maxHeader {
		return nil, damaged(errors.New("it does not begin as one"))
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(tee, data); err != nil {
		return nil, damaged(err)
	}
	if err := json.Unmarshal(data, &o.Header); err != nil {
		return nil, damaged(err)
	}
	if o.Size < 0 || len(o.SHA256) != sha256.Size || len(o.Mask) != 32 || len(o.IV) != aes.BlockSize {
		return nil, damaged(errors.New("its header lacks what is needed to read it"))
	}
	stream, err := o.stream()
	if err != nil {
		return nil, damaged(err)
	}
	o.body = io.TeeReader(cipher.StreamReader{S: stream, R: io.LimitReader(tee, o.Size)}, o.plain)
	return o, nil
}

func (o *opened) Read(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.body.Read(p)
	if err == io.EOF {
		err = o.check()
	} else if err != nil {
		err = damaged(err)
	}
	o.err = err
	return n, err
}

// check reads the trailer and returns io.EOF if all is as it was written.
func (o *opened) check() error {
	want := make([]byte, lenTrailer+1)
	n, err := io.ReadFull(o.raw, want)
	switch {
	case err == nil || n < lenTrailer && (err == io.ErrUnexpectedEOF || err == io.EOF):
		return damaged(fmt.Errorf("it has not the length that its header says"))
	case err != io.ErrUnexpectedEOF:
		return err
	case !bytes.Equal(want[:lenTrailer], o.sum.Sum(nil)):
		return damaged(errors.New("its checksum is wrong"))
	case !bytes.Equal(o.plain.Sum(nil), o.SHA256):
		return damaged(errors.New("its content is not what was put away"))
	}
	return io.EOF
}

// damaged is the error of a file that is not as it was written. What a storage
// says by itself stays as it is.
func damaged(err error) error {
	if fault.KindOf(err) != fault.Other || fault.Canceled(err) {
		return err
	}
	return fault.New(fault.Corrupt, "quarantine.Open", "", fmt.Errorf("not an intact quarantine file: %w", err))
}

// sumOf returns the SHA-256 of at most size bytes and one.
func sumOf(r io.Reader, size int64) ([]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(r, size+1)); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
