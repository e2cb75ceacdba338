package webhook

import (
	"log/slog"
	"time"
)

// Check says what is wrong with a hook, without talking to anybody: fault.Invalid.
func Check(h Hook) error {
	_, err := New([]Hook{h}, nil, slog.New(slog.DiscardHandler), time.Now)
	return err
}
