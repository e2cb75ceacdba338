package outbound

import (
	"errors"
	"net/netip"
	"strings"
)

var (
	errSpelling = errors.New("write the host as a plain name or address")
	errNumber   = errors.New("write an address as four decimal numbers, or as IPv6")
)

// spelling reads a host as written: the address if it is one, the zero Addr if
// it is a name. Whatever others might read as another host is refused: decimal,
// octal and hexadecimal numbers, short forms, zones, a dot at the end, letters
// beyond ASCII, percent signs.
func spelling(host string) (netip.Addr, error) {
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return netip.Addr{}, errSpelling
		}
		return addr, nil
	}
	if host == "" || len(host) > 253 {
		return netip.Addr{}, errSpelling
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, odd) {
			return netip.Addr{}, errSpelling
		}
	}
	if !number(labels[len(labels)-1]) {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(host) // takes no leading zeros and no short forms
	if err != nil {
		return netip.Addr{}, errNumber
	}
	return addr, nil
}

func odd(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

// number reports whether a host that ends in this label is read as an address by
// anybody: browsers and C libraries do so for digits and 0x.
func number(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(strings.ToLower(label), "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}
