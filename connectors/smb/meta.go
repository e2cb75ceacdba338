package smb

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/fault"
)

// stream is the alternate data stream that holds the metadata of a file that we
// wrote, as JSON. It moves with the file and goes with it.
const stream = ":landwaiter.meta"

const maxMeta = 64 << 10 // bytes of metadata that are read

// writeMeta writes the metadata of a file. It returns what the server keeps:
// nothing where it has no streams.
func (d *Driver) writeMeta(ctx context.Context, op, key string, meta map[string]string) (map[string]string, error) {
	if len(meta) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, short(key), err)
	}
	_, err = do(ctx, d, op, key, nil, func(sh *smb2.Share) (struct{}, error) {
		return struct{}{}, sh.WriteFile(d.path(key)+stream, b, 0o666)
	})
	if fault.Is(err, fault.Invalid, fault.Unsupported, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return meta, nil
}

// readMeta returns a file's metadata, nil if it has none that can be read.
func (d *Driver) readMeta(ctx context.Context, key string) map[string]string {
	b, err := do(ctx, d, "smb.Stat", key, nil, func(sh *smb2.Share) (b []byte, err error) {
		f, err := sh.OpenFile(d.path(key)+stream, os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		return io.ReadAll(io.LimitReader(f, maxMeta))
	})
	var meta map[string]string
	if err != nil || json.Unmarshal(b, &meta) != nil {
		return nil
	}
	return meta
}
