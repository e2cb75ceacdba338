package smb

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
)

// A server that sends nonsense, or nothing, costs an error and never the
// process: a stand-in, since no real server does that.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	frame := func(size int, packet ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(size)), packet...)
	}
	plain := make([]byte, headLen)
	binary.BigEndian.PutUint32(plain, plainID)
	compound := append([]byte(nil), plain...)
	compound[20] = 0xff // the next reply, far behind the end
	sealed := make([]byte, headLen)
	binary.BigEndian.PutUint32(sealed, sealedID)
	for name, reply := range map[string][]byte{
		"empty":           frame(0),
		"short":           frame(10, plain[:10]...),
		"huge":            frame(0xffffff, plain...),
		"http":            []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 100)),
		"compound":        frame(headLen, compound...),
		"empty sealed":    frame(headLen, sealed...),
		"no body":         frame(headLen, plain...),
		"cut off":         frame(1000, plain...),
		"sealed too soon": frame(200, append(sealed, make([]byte, 200-headLen)...)...),
		"silence":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				if reply != nil {
					_, _ = c.Write(reply)
				}
				_ = c.SetReadDeadline(time.Now().Add(patience))
				_, _ = io.Copy(io.Discard, c)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			d, err := Open(ctx, connectors.Unit{Name: "u", URL: "smb://" + l.Addr().String() + "/share", Options: map[string]string{"user": "u", "timeout": "1s"}})
			if err == nil {
				_ = d.Close()
				t.Error("Open succeeded")
			} else if !fault.Is(err, fault.Unavailable, fault.Denied) || ctx.Err() != nil {
				t.Errorf("Open: %v", err)
			}
			_ = l.Close()
			<-served
		})
	}
}
