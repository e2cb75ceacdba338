package control

import "fmt"

// ssoName is how a user is found by what their tenant's provider calls them: no
// tenant's provider can speak for another tenant's users.
func ssoName(tenant int64, name string) string { return fmt.Sprintf("%d:%s", tenant, name) }
