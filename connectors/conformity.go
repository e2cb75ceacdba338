package connectors

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

func (c *conformer) list(ctx context.Context) (string, error) {
	n := 0
	last := ""
	for info, err := range c.d.List(ctx, "", "") {
		if gap := new(Gap); errors.As(err, &gap) {
			continue
		}
		if err != nil {
			return "", err
		}
		if n > 0 && info.Key <= last {
			return "", fmt.Errorf("%s is listed after %s", object.FormatKey(info.Key), object.FormatKey(last))
		}
		if last = info.Key; n >= 1000 {
			break
		}
		n++
	}
	return fmt.Sprintf("%d objects seen, in byte order", n), nil
}

func (c *conformer) missing(ctx context.Context) (string, error) {
	_, err := c.d.Stat(ctx, object.Ref{Key: c.prefix + "missing"})
	if !fault.Is(err, fault.NotFound) {
		return "", fmt.Errorf("a look at what is not there: %w", orNone(err))
	}
	if _, _, err := c.content(ctx, object.Ref{Key: c.prefix + "missing"}, 0); !fault.Is(err, fault.NotFound) {
		return "", fmt.Errorf("reading what is not there: %w", orNone(err))
	}
	return "not found, as it should be", nil
}

func (c *conformer) canceled(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.d.Stat(ctx, object.Ref{Key: c.prefix + "missing"}); !errors.Is(err, context.Canceled) {
		return "", fmt.Errorf("a call whose caller had gone: %w", orNone(err))
	}
	return "", nil
}

func (c *conformer) create(ctx context.Context) (string, error) {
	info, err := c.put(ctx, "object", []byte("first content"), "")
	if err != nil {
		return "", err
	}
	seen, err := c.d.Stat(ctx, object.Ref{Key: c.prefix + "object"})
	if err != nil {
		return "", err
	}
	if seen.Version != info.Version || seen.Size != 13 {
		return "", fmt.Errorf("written as %q, 13 bytes; seen as %q, %d bytes", info.Version, seen.Version, seen.Size)
	}
	wrong := sha256.Sum256([]byte("something else"))
	_, err = c.d.(Putter).Put(ctx, c.prefix+"corrupt", strings.NewReader("first content"), PutOptions{Size: 13, SHA256: wrong[:], TempName: tempName()})
	if !fault.Is(err, fault.Changed) {
		return "", fmt.Errorf("content that is not what was announced: %w", orNone(err))
	}
	if _, err := c.d.Stat(ctx, object.Ref{Key: c.prefix + "corrupt"}); !fault.Is(err, fault.NotFound) {
		return "", fmt.Errorf("after content that is not what was announced: %w", orNone(err))
	}
	return "version " + info.Version, nil
}

// race has eight writers create one object: one may win.
func (c *conformer) race(ctx context.Context) (string, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, others := 0, []error{}
	for i := range 8 {
		wg.Go(func() {
			content := fmt.Appendf(nil, "writer %d", i)
			info, err := c.d.(Putter).Put(ctx, c.prefix+"race", bytes.NewReader(content), PutOptions{Size: int64(len(content)), TempName: tempName()})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
				c.objects["race"] = info.Version
			case !fault.Is(err, fault.Exists, fault.Unavailable, fault.Changed):
				others = append(others, err)
			}
		})
	}
	wg.Wait()
	if won != 1 || len(others) > 0 {
		return "", errors.Join(append(others, fmt.Errorf("%d of 8 writers created the same object", won))...)
	}
	return "1 of 8 writers won", nil
}

func (c *conformer) read(ctx context.Context) (string, error) {
	b, info, err := c.content(ctx, c.ref("object"), 0)
	if err != nil || string(b) != "first content" || info.Version != c.objects["object"] {
		return "", fmt.Errorf("%q, version %q: %w", b, info.Version, orNone(err))
	}
	if b, _, err = c.content(ctx, c.ref("object"), 6); err != nil || string(b) != "content" {
		return "", fmt.Errorf("from byte 6: %q: %w", b, orNone(err))
	}
	return "", nil
}

// keys writes keys that servers are known to get wrong, and lists them.
func (c *conformer) keys(ctx context.Context) (string, error) {
	var refused []string
	var want []string
	for _, name := range []string{"k/a b", "k/a+b", "k/a%20b", "k/a&b=c", "k/ä", "k/\u65e5\u672c", "k/a.b", "k/a-b/c", "k/a/c", "k/~", "k/" + strings.Repeat("x", 200)} {
		if _, err := c.put(ctx, name, []byte(name), ""); fault.Is(err, fault.Invalid, fault.Unsupported) {
			refused = append(refused, object.FormatKey(name[2:]))
			continue
		} else if err != nil {
			return "", fmt.Errorf("%s: %w", object.FormatKey(name), err)
		}
		want = append(want, c.prefix+name)
	}
	slices.Sort(want)
	var got []string
	for info, err := range c.d.List(ctx, c.prefix+"k/", "") {
		if err != nil {
			return "", err
		}
		got = append(got, info.Key)
		if v := c.objects[strings.TrimPrefix(info.Key, c.prefix)]; v != info.Version {
			return "", fmt.Errorf("%s was written as version %q and is listed as %q", object.FormatKey(info.Key), v, info.Version)
		}
	}
	if !slices.Equal(got, want) {
		return "", fmt.Errorf("listed %q, written %q", got, want)
	}
	if len(want) < 4 {
		return "", fmt.Errorf("refused: %s", strings.Join(refused, ", "))
	}
	got = nil
	for info, err := range c.d.List(ctx, c.prefix+"k/", want[3]) {
		if err != nil {
			return "", err
		}
		got = append(got, info.Key)
	}
	if !slices.Equal(got, want[4:]) {
		return "", fmt.Errorf("from after %s: listed %q", object.FormatKey(want[3]), got)
	}
	if len(refused) > 0 {
		return "refused, with words: " + strings.Join(refused, ", "), nil
	}
	return "", nil
}

func (c *conformer) replace(ctx context.Context) (string, error) {
	old := c.ref("object")
	if _, err := c.put(ctx, "object", []byte("second content"), old.Version); err != nil {
		return "", err
	}
	if c.objects["object"] == old.Version {
		return "", errors.New("other content has the same version")
	}
	if _, err := c.put(ctx, "object", []byte("third content"), old.Version); !fault.Is(err, fault.Changed) {
		return "", fmt.Errorf("replacing a version that has passed: %w", orNone(err))
	}
	if !c.caps.Versions {
		if _, _, err := c.content(ctx, old, 0); !fault.Is(err, fault.Changed, fault.NotFound) {
			return "", fmt.Errorf("reading a version that has passed: %w", orNone(err))
		}
	}
	b, _, err := c.content(ctx, c.ref("object"), 0)
	if err != nil || string(b) != "second content" {
		return "", fmt.Errorf("%q: %w", b, orNone(err))
	}
	return "", nil
}

func (c *conformer) copy(ctx context.Context) (string, error) {
	copier := c.d.(Copier)
	info, err := copier.Copy(ctx, c.ref("object"), c.prefix+"copy", PutOptions{Size: -1})
	if err != nil {
		return "", err
	}
	c.objects["copy"] = info.Version
	b, _, err := c.content(ctx, c.ref("copy"), 0)
	if err != nil || string(b) != "second content" {
		return "", fmt.Errorf("%q: %w", b, orNone(err))
	}
	return "", nil
}

func (c *conformer) tag(ctx context.Context) (string, error) {
	t := c.d.(Tagger)
	info, err := t.Tag(ctx, c.ref("object"), map[string]string{"landwaiter-conform": "1"})
	if err != nil {
		return "", err
	}
	c.objects["object"] = info.Version
	tags, err := t.Tags(ctx, c.ref("object"))
	if err != nil || tags["landwaiter-conform"] != "1" {
		return "", fmt.Errorf("read back %v: %w", tags, orNone(err))
	}
	return "", nil
}

// removeStale has the object replaced, and then removed as what it was.
func (c *conformer) removeStale(ctx context.Context) (string, error) {
	was := c.ref("object")
	if _, err := c.put(ctx, "object", []byte("newer content"), was.Version); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte("second content"))
	_, err := c.d.(Remover).Remove(ctx, was, Fence{Aside: rand.Text(), SHA256: sum[:]})
	if !c.caps.Versions && !fault.Is(err, fault.Changed, fault.NotFound) {
		return "", fmt.Errorf("removing a version that has passed: %w", orNone(err))
	}
	b, _, err := c.content(ctx, c.ref("object"), 0)
	if err != nil || string(b) != "newer content" {
		return "", fmt.Errorf("the newer object is %q: %w", b, orNone(err))
	}
	return "", nil
}

func (c *conformer) remove(ctx context.Context) (string, error) {
	r, err := c.drop(ctx, "object")
	if err != nil {
		return "", err
	}
	if _, err := c.d.Stat(ctx, object.Ref{Key: c.prefix + "object"}); !fault.Is(err, fault.NotFound) {
		return "", fmt.Errorf("after its removal: %w", orNone(err))
	}
	switch {
	case r.Unfenced:
		return "not bound to the version: only units that say unfenced do this", nil
	case r.Marker:
		return "the server keeps the bytes behind a marker", nil
	}
	return "", nil
}
