package daemon

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/landwaiter/landwaiter/config"
	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/remediation/quarantine"
)

// The private folder of a unit, where a quarantine may be in it, and the file
// there that tells a quarantine: its own private folder has it.
const (
	privateDir    = ".landwaiter"
	quarantineDir = "quarantine"
	marker        = "this-is-a-quarantine"
)

// openQuarantine opens the vault's unit. It is in the set, so that plans can
// name it, and never watched.
func (d *Daemon) openQuarantine(ctx context.Context, at string) error {
	u, err := url.Parse(at)
	if err != nil {
		return fault.New(fault.Invalid, "daemon.Quarantine", at, err)
	}
	if err := mark(u.Path); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	if err := d.set.Open(ctx, connectors.Unit{Name: control.QuarantineUnit, URL: at}, d.open); err != nil {
		return err
	}
	st, err := d.set.Get(control.QuarantineUnit)
	if err != nil {
		return err
	}
	d.vault = &vault{Vault: quarantine.New(control.QuarantineUnit, st), db: d.db}
	return nil
}

// enterQuarantine writes into the ledger where the vault is.
func (d *Daemon) enterQuarantine(ctx context.Context) (err error) {
	u := connectors.Unit{Name: control.QuarantineUnit, URL: (&fileURL{d.quarantineDir()}).String(), Disabled: true, Managed: true}
	d.vault.place, err = d.db.EnsureUnit(ctx, u)
	return err
}

func (d *Daemon) quarantineDir() string {
	if d.o.Quarantine != "" {
		return abs(d.o.Quarantine)
	}
	return filepath.Join(abs(d.o.Config.Data), "quarantine")
}

// apart refuses a quarantine that lies in a folder that is watched, other than
// where every command leaves it out: what is put away would be found again by
// the next one that does not know of this quarantine.
func (d *Daemon) apart(units []config.Unit) error {
	at := localPath((&fileURL{d.quarantineDir()}).String())
	if strings.HasPrefix(at, localPath((&fileURL{abs(d.o.Config.Data)}).String())) {
		return nil // which every unit of ours leaves out
	}
	for _, u := range units {
		dir := localPath(u.URL)
		if dir == "" || !strings.HasPrefix(at, dir) {
			continue
		}
		if own := dir + privateDir + "/" + quarantineDir; !strings.HasPrefix(at, own+"/") {
			return fault.New(fault.Invalid, "daemon.Quarantine", strings.TrimSuffix(at, "/"), fmt.Errorf(
				"the quarantine lies in the folder of unit %s, where another command would scan it; take %s, or a folder outside", u.Name, own))
		}
	}
	return nil
}

// localPath is the folder of a unit without symbolic links and with '/' at its
// end, "" if it is not a local one.
func localPath(raw string) string {
	if s := all.Scheme(raw); s != "" && s != "file" {
		return ""
	}
	_, path := connectors.Place(connectors.Unit{URL: raw})
	return path
}

// mark makes the folder of a quarantine, with what tells every command that it
// is one, whatever ledger it has.
func mark(dir string) error {
	private := filepath.Join(dir, privateDir)
	if err := os.MkdirAll(private, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(private, marker), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// noQuarantine refuses a unit that is a quarantine, or a part of one, whoever
// made it: its content is masked, so that nothing in it could be found.
func noQuarantine(u connectors.Unit) error {
	path := localPath(u.URL)
	if path == "" || u.Name == control.QuarantineUnit {
		return nil
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if isQuarantine(dir) {
			return fault.New(fault.Invalid, "daemon.Open", u.Name, fmt.Errorf(
				"%s is a quarantine of landwaiter: its content is masked and is not scanned; landwaiter quarantine list shows it", dir))
		}
		if dir == "/" {
			return nil
		}
	}
}

// isQuarantine reports whether a folder has the mark. It counts where nobody
// but us, or who we may look after as root, can have put it: strangers must not
// keep anything from being looked at.
func isQuarantine(dir string) bool {
	private := filepath.Join(dir, privateDir)
	var at, file unix.Stat_t
	if unix.Lstat(private, &at) != nil || unix.Lstat(filepath.Join(private, marker), &file) != nil {
		return false
	}
	us := os.Geteuid()
	return at.Mode&unix.S_IFMT == unix.S_IFDIR && file.Mode&unix.S_IFMT == unix.S_IFREG && at.Mode&0o077 == 0 &&
		at.Uid == file.Uid && (us == 0 || int(at.Uid) == us)
}
