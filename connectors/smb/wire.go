package smb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/landwaiter/landwaiter/fault"
)

// A wire is the connection below the library. The library asks for signing and
// encryption but takes less: a guest's session is not signed at all, and whether
// anything is encrypted is what the server's last answer says, whose signature
// nobody checks. So each packet is looked at here, as [MS-SMB2] 2.2.1 and 2.2.41
// lay it out, and one that is not protected as demanded does not leave. What comes in
// is measured before the library slices it: a short packet would panic in a
// goroutine of its own.
type wire struct {
	net.Conn
	timeout       time.Duration
	encrypt, sign bool
	onEnd         func() // once, when the connection is of no more use
	end           sync.Once

	head []byte // the length that the library wrote ahead of a packet
	in   *bufio.Reader
	left int // bytes of the current packet that the library has not read

	mu      sync.Mutex
	dialect uint16
	skew    time.Duration // the server's clock less ours
	refused error
}

// Of a packet: the layout, the bounds, the commands that may go in clear.
const (
	headLen      = 64      // of an SMB2 header
	transformLen = 52      // of the header of an encrypted packet
	maxPacket    = 2 << 20 // the library asks for 1 MiB at a time

	plainID  = 0xFE534D42 // FE "SMB"
	sealedID = 0xFD534D42 // FD "SMB"

	cmdNegotiate    = 0
	cmdSessionSetup = 1
	cmdTreeConnect  = 3

	flagSigned = 8
)

func newWire(c net.Conn, o *options, onEnd func()) *wire {
	return &wire{Conn: c, timeout: o.timeout, encrypt: o.encrypt, sign: o.sign, onEnd: onEnd, in: bufio.NewReaderSize(c, 64<<10)}
}

// Write takes a length and then a packet, as the library hands them over, and
// sends both at once.
func (w *wire) Write(p []byte) (int, error) {
	if w.head == nil {
		if len(p) != 4 {
			return 0, errors.New("the library wrote no length")
		}
		w.head = append([]byte(nil), p...)
		return len(p), nil
	}
	if err := w.leaves(p); err != nil {
		w.refuse(err)
		return 0, err
	}
	if err := w.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	both := net.Buffers{w.head, p}
	w.head = nil
	if _, err := both.WriteTo(w.Conn); err != nil {
		w.kill()
		return 0, err
	}
	return len(p), nil
}

// leaves says why a packet must not be sent.
func (w *wire) leaves(p []byte) error {
	if len(p) < headLen {
		return errors.New("the library wrote no packet")
	}
	if binary.BigEndian.Uint32(p) == sealedID {
		return nil
	}
	cmd, signed := binary.LittleEndian.Uint16(p[12:]), binary.LittleEndian.Uint32(p[16:])&flagSigned != 0
	switch {
	case cmd == cmdNegotiate || cmd == cmdSessionSetup:
		return nil
	case (w.sign || w.encrypt) && !signed:
		return fault.New(fault.Denied, "", "", errors.New("the server let us in as a guest, and nothing that a guest sends or gets is signed: mend user and password, or set the option sign (and encrypt) to off and trust everybody on the network"))
	case w.encrypt && cmd != cmdTreeConnect: // that names the share; whether the share is encrypted is its answer
		return fault.New(fault.Denied, "", "", fmt.Errorf("the server (%s) does not encrypt this session or share: switch that on there (Windows: Set-SmbShare -EncryptData $true; Samba: server smb encrypt = required), or set the option encrypt to off, and whoever sees the network can read every file that is scanned", w.speaks()))
	}
	return nil
}

// Read gives the library whole packets of a sane form, and nothing else.
func (w *wire) Read(p []byte) (int, error) {
	if w.left == 0 {
		if err := w.arrives(); err != nil {
			w.kill()
			return 0, err
		}
	}
	n, err := w.in.Read(p[:min(len(p), w.left)])
	w.left -= n
	if err != nil {
		w.kill()
	}
	return n, err
}

// arrives looks at the next packet without taking it.
func (w *wire) arrives() error {
	b, err := w.in.Peek(4)
	if err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(b))
	if size < headLen || size > maxPacket {
		return fmt.Errorf("the server sent a packet of %d bytes: it does not speak SMB 2", size)
	}
	if b, err = w.in.Peek(4 + headLen); err != nil {
		return err
	}
	p := b[4:]
	switch id := binary.BigEndian.Uint32(p); {
	case id == sealedID:
		if size < transformLen+headLen {
			return errors.New("the server sent an encrypted packet that holds none")
		}
	case id != plainID || binary.LittleEndian.Uint32(p[20:]) != 0: // a reply to several requests, which we never send
		return errors.New("the server sent what is no SMB 2 packet")
	default:
		cmd := binary.LittleEndian.Uint16(p[12:])
		if w.encrypt && cmd != cmdNegotiate && cmd != cmdSessionSetup && cmd != cmdTreeConnect {
			return errors.New("the server answered in clear: it does not know the session any more, or it is not the server")
		}
		if cmd == cmdNegotiate {
			w.negotiated(size)
		}
	}
	w.left = 4 + size
	return nil
}

// negotiated takes dialect and clock from the server's first answer, [MS-SMB2]
// 2.2.4.
func (w *wire) negotiated(size int) {
	const need = 4 + headLen + 48
	b, err := w.in.Peek(need)
	if err != nil || size < need-4 {
		return // the library will say so
	}
	body := b[4+headLen:]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialect = binary.LittleEndian.Uint16(body[4:])
	if t := binary.LittleEndian.Uint64(body[40:]); t > epoch && t < 1<<62 {
		w.skew = time.Until(time.Unix(0, int64(t-epoch)*100))
	}
}

// epoch is 1970 as a FILETIME: 100 ns since 1601.
const epoch = 116444736000000000

func (w *wire) speaks() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := fmt.Sprintf("SMB %x.%x", w.dialect>>8, w.dialect>>4&0xf)
	if minor := w.dialect & 0xf; minor != 0 {
		s += fmt.Sprintf(".%x", minor)
	}
	if w.dialect < 0x300 {
		s += ", which cannot encrypt"
	}
	return s
}

// clock returns the server's clock less ours, at the time of the first answer.
func (w *wire) clock() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.skew
}

func (w *wire) refuse(err error) {
	w.mu.Lock()
	w.refused = err
	w.mu.Unlock()
	w.kill()
}

// why returns what the connection was ended for by us, if it was.
func (w *wire) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

// kill ends the connection; whatever waits for it returns.
func (w *wire) kill() {
	w.end.Do(func() {
		_ = w.Conn.Close()
		w.onEnd()
	})
}

// Close is kill, for the library.
func (w *wire) Close() error {
	w.kill()
	return nil
}
