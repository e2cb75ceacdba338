package control

import (
	"context"
	"time"
)

// auditFrom is from when on a tenant's audit is shown.
func (c *Control) auditFrom(ctx context.Context, tenant int64) (time.Time, error) {
	return time.Time{}, nil
}
