package azureblob

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"go.uber.org/goleak"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The SDK's default transport, which strangers use, keeps idle connections.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// A place is a container on a real server, seen from behind the driver's back.
type place struct {
	srv    servers.Azure
	name   string
	prefix string
	client *container.Client // a stranger's
}

var containers atomic.Int32

func newPlace(t testing.TB, srv servers.Azure) place {
	t.Helper()
	p := place{srv: srv, name: fmt.Sprintf("container-%d", containers.Add(1)), prefix: "in box/"}
	key, err := blob.NewSharedKeyCredential(srv.Account, srv.Key)
	if err != nil {
		t.Fatal(err)
	}
	p.client, err = container.NewClientWithSharedKeyCredential(srv.Blob+"/"+p.name, key, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p place) unit() connectors.Unit {
	return connectors.Unit{
		Name:    "azure",
		URL:     "azblob://" + p.srv.Account + "/" + p.name + "/in%20box?endpoint=" + p.srv.Blob,
		Options: map[string]string{"key": p.srv.Key},
	}
}

func (p place) open(t testing.TB) *Driver {
	t.Helper()
	return p.openWith(t, defaultLimits)
}

func (p place) openWith(t testing.TB, lim limits) *Driver {
	t.Helper()
	d, err := open(t.Context(), p.unit(), lim)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (p place) blob(key string) *blockblob.Client { return p.client.NewBlockBlobClient(p.prefix + key) }

// put writes as a stranger does.
func (p place) put(t testing.TB, key string, content []byte) {
	t.Helper()
	if err := p.tryPut(key, content); err != nil {
		t.Errorf("put %q: %v", key, err)
	}
}

func (p place) tryPut(key string, content []byte) error {
	_, err := p.blob(key).UploadBuffer(context.Background(), content, nil)
	return err
}

func (p place) remove(t testing.TB, key string) {
	t.Helper()
	if _, err := p.blob(key).Delete(context.Background(), nil); err != nil {
		t.Errorf("remove %q: %v", key, err)
	}
}

// refuses are keys that the service cannot hold or takes for others, and what
// Azurite cannot spell in a listing: its reply to that is 500.
func refuses(key string) bool {
	return !utf8.ValidString(key) || strings.ContainsAny(key, "\\\x01")
}

func TestContract(t *testing.T) {
	t.Parallel()
	srv := servers.Azurite(t)
	var at place
	connectortest.Run(t, connectortest.Harness{
		Open: func(t *testing.T) connectors.Driver {
			at = newPlace(t, srv)
			return at.open(t)
		},
		Write:  func(t *testing.T, key string, content []byte) { at.put(t, key, content) },
		Remove: func(t *testing.T, key string) { at.remove(t, key) },
		Wants: connectors.Caps{Put: true, Copy: true, Remove: true, Tag: true, ReadIsVersion: true, FencedRemove: true,
			FencedPut: true, FencedCopy: true, Ordered: true, TagsKeepVersion: true},
		Refuses:    refuses,
		Bucketlike: true,
	})
}
