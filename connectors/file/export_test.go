package file

import "time"

// WithoutLeases makes d behave as where no lease can be had.
func (d *Driver) WithoutLeases() { d.leaseless = true }

// Stepwise makes d behave as on a kernel without openat2.
func (d *Driver) Stepwise() { d.stepwise = true }

// LimitWatches bounds the bytes of the names of watched folders.
func (d *Driver) LimitWatches(n int) { d.maxPaths = n }

// Clean removes temporary files as Open would do at that time.
func (d *Driver) Clean(now time.Time) int { return d.clean(now) }
