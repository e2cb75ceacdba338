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

// Multigrain reports whether each change after a look moves ctime.
func (d *Driver) Multigrain() bool { return d.multi }

// Coarse makes d behave as where changes within a tick share their time.
func (d *Driver) Coarse() { d.multi = false }
