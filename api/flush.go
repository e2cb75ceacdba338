package api

import (
	"net/http"
	"time"
)

// A flusher writes to a caller who reads along, and gives up on one who does not.
type flusher struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newFlusher(w http.ResponseWriter) *flusher {
	f := &flusher{w: w, c: http.NewResponseController(w)}
	_ = f.c.SetReadDeadline(time.Time{}) // that of the request, which was read; who has gone is seen by writing
	return f
}

func (f *flusher) write(text string) error {
	if err := f.c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := f.w.Write([]byte(text)); err != nil {
		return err
	}
	return f.c.Flush()
}

// Write is write, of bytes.
func (f *flusher) Write(p []byte) (int, error) {
	if err := f.write(string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
