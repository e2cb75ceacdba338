package smb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"strings"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// Probe finds out, in a folder of its own under prefix, what the server and the
// account can do: that a rename never replaces, that it is refused while a file
// is open and moves no token where old and new name are the same, that other
// bytes are put back. Where nothing may be written, all that is left is to look.
func (d *Driver) Probe(ctx context.Context, prefix string) (caps connectors.Caps, err error) {
	const op = "smb.Probe"
	caps = connectors.Caps{Settle: true, Ordered: true}
	p := probe{d: d, op: op, key: prefix + rand.Text() + "/probe"}
	info, err := p.put(ctx, "first")
	if fault.Is(err, fault.Denied) {
		return caps, nil
	}
	if err != nil {
		return connectors.Caps{}, err
	}
	defer func() { err = errors.Join(err, p.clean(ctx)) }()
	caps.Put = true
	_, err = p.put(ctx, "second")
	if caps.FencedPut = fault.Is(err, fault.Exists); err == nil || !caps.FencedPut && !fault.Is(err, fault.Denied) {
		return caps, errors.Join(errors.New("a rename replaced a file, or failed as it should not"), err)
	}
	if err := p.tokens(ctx, info); err != nil {
		return connectors.Caps{}, err
	}
	if caps.Remove, err = p.removal(ctx); err != nil {
		return connectors.Caps{}, err
	}
	caps.FencedRemove, caps.Prune = caps.Remove, caps.Remove
	return caps, nil
}

type probe struct {
	d       *Driver
	op, key string
}

func hashOf(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func (p *probe) put(ctx context.Context, s string) (object.Info, error) {
	return p.d.Put(ctx, p.key, strings.NewReader(s), connectors.PutOptions{Size: int64(len(s)), SHA256: hashOf(s)})
}

// tokens looks at what moves the token and what does not, and notes what is not
// as it should be.
func (p *probe) tokens(ctx context.Context, info object.Info) error {
	var wanting []string
	if _, err := p.d.exclusive(ctx, p.op, p.key); err != nil {
		return err
	}
	same, err := p.d.lstat(ctx, p.op, p.key)
	if err != nil {
		return err
	}
	if same.token() != info.Version {
		p.d.selfMoves.Store(true)
		wanting = append(wanting, "renaming a file to its own name moves its change time, so whether somebody has a file open is not asked: files count as fully written when they stood still")
	}
	// The same bytes again, with the times put back: does anything tell?
	_, err = do(ctx, p.d, p.op, p.key, nil, func(sh *smb2.Share) (struct{}, error) {
		f, err := sh.OpenFile(p.d.path(p.key), os.O_RDWR, 0)
		if err != nil {
			return struct{}{}, err
		}
		_, err = f.WriteAt([]byte("First"), 0)
		if err = errors.Join(err, f.Close()); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, sh.Chtimes(p.d.path(p.key), same.LastAccessTime, same.LastWriteTime)
	})
	if err != nil {
		return err
	}
	after, err := p.d.lstat(ctx, p.op, p.key)
	if err != nil {
		return err
	}
	if after.token() == same.token() {
		wanting = append(wanting, "the server keeps no change time of its own (Samba does not): content that is exchanged for as many other bytes, with the write time put back, is not noticed by a sweep")
	}
	if wanting == nil {
		p.d.degraded.Store(nil)
		return nil
	}
	all := strings.Join(wanting, "; ")
	p.d.degraded.Store(&all)
	return nil
}

// removal tries the fence: a file that is open stays, so do other bytes than
// were scanned, and what is left goes.
func (p *probe) removal(ctx context.Context) (bool, error) {
	const now = "First" // since tokens
	st, err := p.d.lstat(ctx, p.op, p.key)
	if err != nil {
		return false, err
	}
	ref := object.Ref{Key: p.key, Version: st.token()}
	r, err := p.d.Open(ctx, ref, 0)
	if err != nil {
		return false, err
	}
	_, err = p.d.Remove(ctx, ref, connectors.Fence{Aside: "probe-" + rand.Text(), SHA256: hashOf(now)})
	if cerr := r.Close(); cerr != nil {
		return false, cerr
	}
	if fault.Is(err, fault.Denied) {
		return false, nil
	}
	if !fault.Is(err, fault.Unavailable) {
		return false, errors.Join(errors.New("a file was removed while it was open"), err)
	}
	_, err = p.d.Remove(ctx, ref, connectors.Fence{Aside: "probe-" + rand.Text(), SHA256: hashOf("other bytes")})
	if !fault.Is(err, fault.Changed) {
		return false, errors.Join(errors.New("other bytes than were scanned were removed"), err)
	}
	if st, err = p.d.lookup(ctx, p.op, p.key); err != nil { // put back; its change time may have moved
		return false, err
	}
	ref.Version = st.token()
	_, err = p.d.Remove(ctx, ref, connectors.Fence{Aside: "probe-" + rand.Text(), SHA256: hashOf(now)})
	if err != nil {
		return false, err
	}
	n, err := p.d.Prune(ctx, p.key)
	if err == nil && n == 0 {
		err = errors.New("an empty folder could not be removed")
	}
	return err == nil, err
}

// clean removes what is left.
func (p *probe) clean(ctx context.Context) error {
	ctx, cancel := p.d.finish(ctx)
	defer cancel()
	if err := p.d.unlink(ctx, p.op, p.key); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	_, err := p.d.Prune(ctx, p.key)
	return err
}
