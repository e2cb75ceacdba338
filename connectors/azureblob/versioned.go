package azureblob

import (
	"context"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

type versionID struct{}

// withVersion has the calls made with ctx speak of one version of the blob; ""
// is the current one.
func withVersion(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return context.WithValue(ctx, versionID{}, id)
}

// versioned is the policy behind withVersion. The SDK's own way takes the URL
// apart and puts it together anew, which not every name survives.
type versioned struct{}

func (versioned) Do(req *policy.Request) (*http.Response, error) {
	if id, ok := req.Raw().Context().Value(versionID{}).(string); ok {
		q := req.Raw().URL.Query()
		q.Set("versionid", id)
		req.Raw().URL.RawQuery = q.Encode()
	}
	return req.Next()
}
