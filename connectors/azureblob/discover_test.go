package azureblob

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

func TestDiscover(t *testing.T) {
	t.Parallel()
	srv := servers.Azurite(t)
	client, err := azblob.NewClientFromConnectionString(srv.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"beta", "alpha"} {
		if _, err := client.CreateContainer(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	account := connectors.Unit{Name: "acc", URL: "azblob://" + srv.Account + "?endpoint=" + srv.Blob, Options: map[string]string{"key": srv.Key}}
	list, err := Discover(t.Context(), account)
	if err != nil || len(list) != 2 || list[0].Name != "alpha" || list[1].Name != "beta" {
		t.Fatalf("%+v, %v", list, err)
	}
	u := account
	u.URL = list[0].URL
	d, err := Open(t.Context(), u)
	if err != nil {
		t.Fatalf("%s: %v", u.URL, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	account.URL = "azblob://" + srv.Account + "/alpha?endpoint=" + srv.Blob
	if _, err := Discover(t.Context(), account); !fault.Is(err, fault.Invalid) {
		t.Errorf("an account that names a container: %v", err)
	}
}
