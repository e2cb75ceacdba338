package file

// WithoutLeases makes d behave as where no lease can be had.
func (d *Driver) WithoutLeases() { d.leaseless = true }

// Stepwise makes d behave as on a kernel without openat2.
func (d *Driver) Stepwise() { d.stepwise = true }

// LimitWatches bounds the bytes of the names of watched folders.
func (d *Driver) LimitWatches(n int) { d.maxPaths = n }
