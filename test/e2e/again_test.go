package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFolderMadeAgain removes a watched folder and makes it again: it is watched as before.
func TestFolderMadeAgain(t *testing.T) {
	dir := t.TempDir()
	inbox := filepath.Join(dir, "inbox")
	write(t, filepath.Join(inbox, "first.txt"), []byte("first"))
	p := serve(t, filepath.Join(dir, "data"), "--watch", inbox)
	p.finished("inbox", "first.txt", verdict("clean"))
	if err := os.RemoveAll(inbox); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(inbox, "second.com"), eicar())
	p.finished("inbox", "second.com", verdict("infected"))
}
