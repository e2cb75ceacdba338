package outbound

import "net/netip"

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// The registries' special-purpose addresses (RFC 6890 and its updates), and what
// clouds use beside them.
var (
	private4 = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")
	global6   = netip.MustParsePrefix("2000::/3")
	private6  = prefixes("2001::/23", "2001:db8::/32", "3fff::/20")
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	// metadata are services that hand out a machine's credentials: AWS and most
	// others, AWS over IPv6, Alibaba, Oracle, Azure's wire server, and GCP over IPv6.
	metadata = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("169.254.170.2")}
)

// permits reports whether an address may be reached.
func (g Guard) permits(a netip.Addr) bool {
	a = a.Unmap()
	if inner, ok := embedded(a); ok {
		return g.permits(inner) // the address that a gateway makes of it
	}
	for _, m := range metadata {
		if a == m {
			return g.names(a)
		}
	}
	for _, p := range g.Allow {
		if p.Masked().Contains(a) {
			return true
		}
	}
	return g.Loopback && a.IsLoopback() || public(a)
}

// names reports whether the list has exactly this address: a wide network in it
// does not open a metadata service.
func (g Guard) names(a netip.Addr) bool {
	for _, p := range g.Allow {
		if p.IsSingleIP() && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

func public(a netip.Addr) bool {
	special := private4
	if !a.Is4() {
		if !global6.Contains(a) {
			return false
		}
		special = private6
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// embedded is the IPv4 address that an IPv6 address of NAT64 or 6to4 leads to.
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case a.Is4():
		return a, false
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return a, false
}
