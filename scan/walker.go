package scan

import "context"

// A Walker opens archives within bounds and says what it met. It judges
// structure alone, so that what an engine did not say can be held against what
// was there to see. It is safe for concurrent use.
type Walker interface {
	// Walk looks into s, as deep as l allows; zero fields of l mean
	// DefaultLimits, except Size, where zero means no bound. An error says that nothing is known: the
	// walk crashed, timed out or ended with ctx, or s could not be read. A fault
	// carries the Reason (engine_crash, timeout) where one fits. What stands in
	// the way of a complete look is no error but Facts.Reason.
	Walk(ctx context.Context, s Sample, l Limits) (Facts, error)
}

// Facts are what a walk met. Numbers are lower bounds where Reason is set.
type Facts struct {
	Kind      string `json:"kind,omitempty"` // of the outermost container ("zip", "tar", "7z"); "" = plain content
	Depth     int    `json:"depth"`          // 0 plain, 1 an archive, 2 an archive in one …
	Entries   int    `json:"entries"`        // members at all depths
	Expanded  int64  `json:"expanded"`       // bytes unpacked at all depths
	Largest   int64  `json:"largest"`        // bytes of the largest member
	Ratio     int64  `json:"ratio"`          // Expanded for each byte of the sample
	Encrypted int    `json:"encrypted"`      // members that need a password
	// Reason says why not everything was seen: encrypted, unsupported,
	// archive_depth, archive_files, archive_size, too_large, timeout; "" =
	// everything was. Path is where that was first met, as Member.Path.
	Reason Reason `json:"reason,omitempty"`
	Path   string `json:"path,omitempty"`
}
