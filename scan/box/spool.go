package box

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive"
)

// ErrFull says that a content is larger than all that may be put aside.
var ErrFull = &fault.Error{Op: "box.Spool", Kind: fault.Invalid, Reason: string(scan.TooLarge)}

// A Spool is a place for a stream that a child is to read at random: memory if
// it is small, else a file without a name. Write to File, close after use.
type Spool struct {
	File *os.File
	sem  *semaphore.Weighted
	size int64
}

// Spool returns a place for size bytes. It waits while others hold the room,
// and returns ErrFull where there can never be enough.
func (p *Pool) Spool(ctx context.Context, size int64) (*Spool, error) {
	s := &Spool{size: size, sem: p.disk}
	if size <= memoryFile {
		s.sem = p.memory
	} else if size > p.opts.Budget {
		return nil, ErrFull
	}
	if err := s.sem.Acquire(ctx, size); err != nil {
		return nil, err
	}
	var err error
	if s.sem == p.memory {
		s.File, err = memFile()
	} else {
		s.File, err = tempFile(p.opts.Dir)
	}
	if err != nil {
		s.sem.Release(size)
		return nil, fault.New(fault.Unavailable, "box.Spool", p.opts.Dir, err)
	}
	return s, nil
}

// Close gives the room back.
func (s *Spool) Close() error {
	err := s.File.Close()
	s.sem.Release(s.size)
	return err
}

// Fetch reads s to its end and, if it looks like an archive or a program, puts
// it aside; else the spool is nil. It may read twice: what a stream's end
// claims is only known when it is there.
func (p *Pool) Fetch(ctx context.Context, s scan.Sample) (*Spool, archive.Found, error) {
	for whole := false; ; whole = true {
		sp, found, err := p.fetch(ctx, s, whole)
		if err != nil || sp != nil || !found.Any() {
			return sp, found, err
		}
	}
}

func (p *Pool) fetch(ctx context.Context, s scan.Sample, whole bool) (sp *Spool, found archive.Found, err error) {
	r, err := s.Open(ctx)
	if err != nil {
		return nil, found, err
	}
	defer r.Close()
	defer func() {
		if err != nil && sp != nil {
			sp.Close()
			sp = nil
		}
	}()
	const chunk = 256 << 10
	buf := make([]byte, archive.TailSize+chunk)
	kept, total := 0, int64(0) // kept: bytes of the earlier chunk in front
	for {
		n, rerr := io.ReadFull(r, buf[kept:kept+chunk])
		p1 := buf[kept : kept+n]
		if total == 0 {
			found.Head = archive.Sniff(p1, nil).Head
			if whole || found.Head != archive.Plain || archive.IsProgram(p1) {
				if sp, err = p.Spool(ctx, s.Size); err != nil {
					return nil, found, err
				}
			}
		}
		found.SeeTar(p1, total)
		if total += int64(n); total > s.Size {
			return sp, found, errors.New("longer than its size")
		}
		if sp != nil {
			if _, err := sp.File.Write(p1); err != nil {
				return sp, found, fault.New(fault.Unavailable, "box.Fetch", "", err)
			}
		}
		if rerr == nil {
			k := min(kept+n, archive.TailSize)
			copy(buf, buf[kept+n-k:kept+n])
			kept = k
			continue
		}
		if rerr != io.EOF && rerr != io.ErrUnexpectedEOF {
			return sp, found, rerr
		}
		if total != s.Size {
			return sp, found, io.ErrUnexpectedEOF
		}
		all := buf[:kept+n]
		found.Tail = archive.Sniff(nil, all[max(0, len(all)-archive.TailSize):]).Tail
		return sp, found, nil
	}
}

// memFile returns a file in memory.
func memFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("landwaiter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memory"), nil
}

// tempFile returns a file in dir that has no name and goes with its last
// descriptor.
func tempFile(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	if f, err = os.CreateTemp(dir, ".landwaiter-*"); err != nil { // a file system without O_TMPFILE
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
