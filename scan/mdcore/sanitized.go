package mdcore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
)

// maxSanitized bounds a copy of which the report gives no size.
const maxSanitized = 10 << 30

// OpenSanitized reads the sanitised copy of the job that rep is about. What the
// report says of its size and SHA-256 is checked: a copy that differs ends with
// an error in place of io.EOF, so only what was read to io.EOF may be used. It
// returns fault.NotFound if the instance keeps no copy (any more).
func (e *Engine) OpenSanitized(ctx context.Context, rep scan.Report) (io.ReadCloser, error) {
	const op = "mdcore.OpenSanitized"
	if rep.Sanitized == nil || !validID(rep.JobID) {
		return nil, fault.New(fault.NotFound, op, e.name, errors.New("the report names no sanitised copy"))
	}
	if err := e.open(op); err != nil {
		return nil, err
	}
	var body io.ReadCloser
	err := e.authorized(ctx, func(key string) (err error) {
		body, err = e.converted(ctx, key, rep)
		return err
	})
	return body, err
}

func (e *Engine) converted(ctx context.Context, key string, rep scan.Report) (io.ReadCloser, error) {
	const op = "mdcore.OpenSanitized"
	inner, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(inner, http.MethodGet, e.base+"/file/converted/"+rep.JobID, nil)
	if err != nil {
		cancel()
		return nil, fault.New(fault.Internal, op, e.name, err)
	}
	e.setHeader(req, key, nil)
	guard := newStall(e.o.Stall, cancel)
	guard.arm()
	resp, err := e.client.Do(req)
	if err != nil {
		guard.stop()
		cancel()
		return nil, e.broken(ctx, op, err)
	}
	c := &copyReader{e: e, ended: ctx.Err, cancel: cancel, guard: guard, resp: resp, r: bufio.NewReaderSize(resp.Body, 32<<10),
		want: rep.Sanitized.Size, left: maxSanitized, sum: sha256.New(), hash: rep.Sanitized.SHA256}
	if c.want > 0 {
		c.left = c.want
	}
	gone := resp.StatusCode == http.StatusNotFound
	if resp.StatusCode == http.StatusOK {
		head, _ := c.r.Peek(1025) // a miss is shorter, and may come with 200
		gone = notFound(head, rep.JobID)
	}
	if resp.StatusCode == http.StatusOK && !gone {
		guard.hold()
		return c, nil
	}
	r, err := e.read(ctx, op, resp)
	_ = c.Close()
	switch {
	case gone:
		return nil, fault.New(fault.NotFound, op, e.name, errors.New("the instance keeps no sanitised copy"))
	case err != nil:
		return nil, err
	}
	return nil, e.refused(op, r)
}

// A copyReader checks a sanitised copy while it is read.
type copyReader struct {
	e      *Engine
	ended  func() error // whether the caller gave up
	cancel func()
	guard  *stall
	resp   *http.Response
	r      *bufio.Reader
	want   int64 // 0 = unknown
	left   int64 // may still come
	sum    hash.Hash
	hash   string // "" = unknown
	err    error
}

func (c *copyReader) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	c.guard.arm()
	n, err := c.r.Read(p)
	c.guard.hold()
	c.sum.Write(p[:n])
	if c.left -= int64(n); c.left < 0 {
		n, err = 0, c.wrong(errors.New("the copy is longer than it should be"))
	} else if err == io.EOF {
		err = c.end()
	} else if err != nil {
		if gone := c.ended(); gone != nil {
			err = gone
		} else {
			err = c.e.broken(context.Background(), "mdcore.OpenSanitized", err)
		}
	}
	c.err = err
	return n, err
}

// end returns io.EOF if all that was read is what the report promised.
func (c *copyReader) end() error {
	if c.want > 0 && c.left > 0 {
		return c.wrong(fmt.Errorf("the copy is %d bytes short", c.left))
	}
	if got := hex.EncodeToString(c.sum.Sum(nil)); c.hash != "" && !strings.EqualFold(got, c.hash) {
		return c.wrong(errors.New("the copy has another SHA-256"))
	}
	return io.EOF
}

func (c *copyReader) wrong(err error) error { return c.e.malformed("mdcore.OpenSanitized", err) }

// Close lets go of the connection.
func (c *copyReader) Close() error {
	c.guard.stop()
	c.cancel()
	return c.resp.Body.Close()
}
