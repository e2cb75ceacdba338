package servers

import (
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An Azure is a running emulator of Azure Storage.
type Azure struct {
	Blob    string // http://127.0.0.1:port/account, of the blob service
	Queue   string // the same of the queue service
	Account string // its name
	Key     string // its shared key, in base64
}

// ConnectionString is what Azure's portal would show for the account.
func (a Azure) ConnectionString() string {
	return strings.Join([]string{"DefaultEndpointsProtocol=http", "AccountName=" + a.Account, "AccountKey=" + a.Key,
		"BlobEndpoint=" + a.Blob, "QueueEndpoint=" + a.Queue}, ";")
}

// Azurite starts Azurite with an empty account in memory. It keeps no versions,
// and ignores preconditions of Set Blob Tags.
func Azurite(t testing.TB) Azure {
	t.Helper()
	node, script := Binary(t, "node"), filepath.Join(npmDir(), "azurite", "dist", "src", "azurite.js")
	if _, err := os.Stat(script); err != nil {
		Missing(t, "azurite")
	}
	blob, queue, table := FreePort(t), FreePort(t), FreePort(t)
	a := Azure{Account: "landwaiter", Key: base64.StdEncoding.EncodeToString([]byte("landwaiter-secret"))}
	a.Blob, a.Queue = "http://"+loopback(blob)+"/"+a.Account, "http://"+loopback(queue)+"/"+a.Account
	// Without disableTelemetry it talks to a host outside.
	cmd := exec.Command(node, script, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence",
		"--blobHost", "127.0.0.1", "--blobPort", strconv.Itoa(blob),
		"--queueHost", "127.0.0.1", "--queuePort", strconv.Itoa(queue),
		"--tableHost", "127.0.0.1", "--tablePort", strconv.Itoa(table))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+a.Account+":"+a.Key)
	start(t, cmd, func(ctx context.Context) error {
		if err := answersAtAll(ctx, a.Blob); err != nil {
			return err
		}
		return answersAtAll(ctx, a.Queue)
	})
	return a
}

// npmDir is where install.sh puts the servers that are Node programs.
func npmDir() string { return filepath.Join(filepath.Dir(binDir()), "npm", "node_modules") }

// answersAtAll is a readiness check for a server that lets nobody in without a
// signature: any reply will do.
func answersAtAll(ctx context.Context, url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
