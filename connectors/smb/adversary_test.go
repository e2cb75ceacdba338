package smb

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	smb2 "github.com/hirochachacha/go-smb2"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/test/servers"
)

// An adversary, a second client of the server, changes files between the look
// and the act, in every way that SMB offers. No act may touch bytes that were
// not scanned: what is removed or replaced is the scanned content.
//
// Samba itself loses files that are deleted and made anew, or renamed to one
// name, by two clients at once: it looks and then renames, and a deletion that
// waits for another's handle may hit the next file of that name. Where two clients
// without this driver do just that, 12 of 2,000 files are lost by the one and
// 304 of 1,500 by the other. Such trials are counted apart, and bounded.
func TestAdversary(t *testing.T) {
	t.Parallel()
	const n = 400
	srv := servers.StartSamba(t)
	p := newPlace(t, srv, "streams")
	d := p.open(t)
	closing(t, d)
	evil := p.client(t)
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	wrong, acted, refused, left, server := 0, 0, 0, 0, 0
	for i := range n {
		key := fmt.Sprintf("f%d", i)
		scanned := fmt.Sprintf("scanned content %d %s", i, strings.Repeat("s", rng.IntN(3000)))
		other := strings.Repeat("E", len(scanned)) // of the same size
		evil.must(t, key, scanned)
		ref := look(t, d, key)
		old, err := evil.Lstat(evil.path(key))
		if err != nil {
			t.Fatal(err)
		}
		act := i % 2
		var open *smb2.File // a writer that has it open through the act
		inPlace := func() error {
			f, err := evil.OpenFile(evil.path(key), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte(other), 0)
			return errors.Join(err, f.Close())
		}
		attack := func(kind int) (done bool) {
			switch kind {
			case 0: // removed, and another renamed in its place
				if evil.write("other", []byte(other)) != nil || evil.Share.Remove(evil.path(key)) != nil {
					return false
				}
				return evil.Rename(evil.path("other"), evil.path(key)) == nil
			case 1: // written in place
				return inPlace() == nil
			case 2: // written in place, with the times put back: only the hash tells
				return inPlace() == nil && evil.Chtimes(evil.path(key), old.ModTime(), old.ModTime()) == nil
			case 3: // appended
				f, err := evil.OpenFile(evil.path(key), os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					return false
				}
				_, err = f.Write([]byte(other))
				return errors.Join(err, f.Close()) == nil
			case 4: // removed and made again
				return evil.Share.Remove(evil.path(key)) == nil && evil.write(key, []byte(other)) == nil
			case 5: // opened to write, and written to after the act
				var err error
				open, err = evil.OpenFile(evil.path(key), os.O_RDWR, 0)
				return err == nil
			}
			return false
		}
		kind, raced := rng.IntN(10), rng.IntN(3) == 0 // 6 and above: no attack
		if kind == 2 && act == 1 {
			kind = 1 // Put is bound to the token alone, which does not tell on Samba: see docs
		}
		hit := make(chan bool, 1)
		if raced && kind < 5 {
			pause := time.Duration(rng.IntN(3000)) * time.Microsecond
			go func() {
				<-time.After(pause)
				hit <- attack(kind)
			}()
		} else {
			raced = false
			hit <- attack(kind)
		}
		switch act {
		case 0:
			_, err = d.Remove(t.Context(), ref, connectors.Fence{Aside: key, SHA256: hashOf(scanned)})
		case 1:
			_, err = d.Put(t.Context(), key, strings.NewReader("replacement"), connectors.PutOptions{Size: 11, IfVersion: ref.Version, TempName: key})
		}
		attacked := <-hit
		if open != nil {
			if _, werr := open.WriteAt([]byte(other), 0); werr != nil {
				t.Errorf("trial %d: the open file is no longer to be written: %v", i, werr)
			}
			if cerr := open.Close(); cerr != nil {
				t.Error(cerr)
			}
		}
		if err != nil {
			refused++
			if !fault.Is(err, fault.Changed, fault.Unavailable, fault.NotFound) {
				t.Errorf("trial %d act %d attack %d: %v", i, act, kind, err)
			}
		} else {
			acted++
		}
		now, _ := os.ReadFile(filepath.Join(p.local, key))
		kept := inside(t, p.local)
		there := bytes.Contains(now, []byte("EEE")) || len(kept) > 0
		switch {
		case !attacked && !raced && err != nil:
			t.Errorf("trial %d act %d without an attack: %v", i, act, err)
		case attacked && !there && raced && (kind == 0 || kind == 4):
			server++
		case attacked && !there:
			wrong++
			t.Errorf("trial %d act %d attack %d raced %v: the unscanned bytes are gone (%v)", i, act, kind, raced, err)
		case attacked && !raced && err == nil:
			wrong++
			t.Errorf("trial %d act %d attack %d: acted on a changed or open file", i, act, kind)
		}
		for _, name := range kept {
			if !strings.HasPrefix(name, asideDir+keptPrefix) {
				left++
				t.Errorf("trial %d act %d attack %d raced %v: %s is left (%v)", i, act, kind, raced, name, err)
			}
			_ = os.Remove(filepath.Join(p.local, name))
		}
		_ = os.Remove(filepath.Join(p.local, key))
		_ = os.Remove(filepath.Join(p.local, "other"))
	}
	t.Logf("cases=%d violations=%d seed=%d acted=%d refused=%d left=%d server=%d", n, wrong, seed, acted, refused, left, server)
	if wrong > 0 || left > 0 || server > n/50 || acted == 0 || refused == 0 {
		t.Errorf("%d wrong acts, %d files left, %d acted, %d refused", wrong, left, acted, refused)
	}
}
