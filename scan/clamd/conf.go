package clamd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/scan"
)

// places are where distributions keep clamd.conf.
var places = [...]string{
	"/etc/clamav/clamd.conf", "/etc/clamd.d/scan.conf", "/etc/clamd.conf",
	"/usr/local/etc/clamav/clamd.conf", "/usr/local/etc/clamd.conf",
}

// limits returns what clamd's settings say, those of Options first. Zero where
// they cannot be read: canaries find out then.
func (e *Engine) limits(version string) (scan.Limits, error) {
	var lim scan.Limits
	var err error
	if e.o.Conf != "" {
		var c conf
		if c, err = readConf(e.o.Conf); err == nil {
			lim = c.limits(version)
		}
	} else {
		for _, place := range places {
			if c, err := readConf(place); err == nil && c.serves(e.o.Network, e.o.Address) {
				lim = c.limits(version)
				break
			}
		}
	}
	o := e.o.Limits
	if o.Size > 0 {
		lim.Size = o.Size
	}
	if o.Expanded > 0 {
		lim.Expanded = o.Expanded
	}
	if o.Depth > 0 {
		lim.Depth = o.Depth
	}
	if o.Entries > 0 {
		lim.Entries = o.Entries
	}
	if o.Timeout > 0 {
		lim.Timeout = o.Timeout
	}
	return lim, err
}

// conf is a clamd.conf: the last value of each option, in lower case.
type conf map[string]string

func readConf(path string) (conf, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("not a file")}
	}
	if err != nil {
		return nil, err
	}
	c := make(conf)
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for lines.Scan() {
		name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if name == "" || name[0] == '#' {
			continue
		}
		c[strings.ToLower(name)] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// serves says whether the clamd with this file listens at address.
func (c conf) serves(network, address string) bool {
	if network == "unix" {
		return c["localsocket"] == address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || c["tcpsocket"] != port {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// limits are clamd's defaults (clamd.conf(5)) with what the file says. Before
// 1.0 they were lower.
func (c conf) limits(version string) scan.Limits {
	size, expanded, depth := int64(100<<20), int64(400<<20), int64(17)
	if major, _, _ := strings.Cut(version, "."); major == "0" {
		size, expanded, depth = 25<<20, 100<<20, 16
	}
	const most = 2<<30 - 1 // clamd opens no larger file, whatever it is told
	size = c.number("maxfilesize", size, most)
	expanded = c.number("maxscansize", expanded, 1<<62)
	alerts := c.yes("alertencrypted") || c.yes("alertencryptedarchive") && c.yes("alertencrypteddoc")
	return scan.Limits{
		Size:      min(size, expanded, most),
		Expanded:  expanded,
		Depth:     int(c.number("maxrecursion", depth, 100)),
		Entries:   int(c.number("maxfiles", 10_000, 1<<30)),
		Timeout:   time.Duration(c.number("maxscantime", 120_000, 0)) * time.Millisecond,
		Encrypted: alerts || c.yes("archiveblockencrypted"),
		Exceeded:  c.yes("alertexceedsmax"),
	}
}

// number reads a size or count, with K, M or G behind. clamd's 0 is "no bound".
func (c conf) number(name string, def, none int64) int64 {
	v := strings.ToUpper(c[name])
	unit := int64(1)
	if i := strings.IndexByte("KMG", lastByte(v)); i >= 0 && v != "" {
		unit, v = 1<<(10*(i+1)), v[:len(v)-1]
	}
	n, err := strconv.ParseInt(v, 10, 64)
	switch {
	case err != nil || n < 0 || n > 1<<62/unit:
		return def
	case n == 0:
		return none
	}
	return n * unit
}

func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

func (c conf) yes(name string) bool {
	switch strings.ToLower(c[name]) {
	case "yes", "true", "1":
		return true
	}
	return false
}
