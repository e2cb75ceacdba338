package sso

import (
	"slices"
	"strings"
)

// roleNames are the claims and attributes in which providers put roles and
// groups, by the end of their name, in lower case. Namespaces before it are the
// provider's own: http://schemas.microsoft.com/ws/2008/06/identity/claims/role.
var roleNames = map[Provider][]string{
	Azure:        {"roles", "role", "groups"},
	Okta:         {"groups", "roles"},
	Auth0:        {"roles", "role"},
	ADFS:         {"role", "roles", "group", "groups"},
	PingFederate: {"memberof", "groups", "roles", "role"},
	OPSWAT:       {"roles", "role", "groups"},
}

// speaksOfRoles reports whether a claim holds roles.
func (p Provider) speaksOfRoles(name string) bool {
	name = strings.ToLower(name)
	if i := strings.LastIndexAny(name, "/:"); i >= 0 {
		name = name[i+1:]
	}
	return slices.Contains(roleNames[p], name)
}

// maxRoles bounds what is looked at of one person.
const maxRoles = 2000

// roles reads a claim: a word, or a list of them.
func roles(v any) (list []string) {
	switch v := v.(type) {
	case string:
		list = append(list, v)
		// memberOf holds distinguished names: CN=Admins,OU=…
		if cn, ok := cutPrefixFold(v, "cn="); ok {
			cn, _, _ = strings.Cut(cn, ",")
			list = append(list, cn)
		}
	case []any:
		for _, e := range v[:min(len(v), maxRoles)] {
			if s, ok := e.(string); ok {
				list = append(list, roles(s)...)
			}
		}
	}
	return list
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// claims are what a provider says of somebody, by name.
type claims map[string]any

// word is the first of the claims that is a text.
func (c claims) word(names ...string) string {
	for _, n := range names {
		if s, ok := c[n].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// person reads claims.
func (c claims) person(p Provider) Person {
	who := Person{Subject: c.word("sub"), Login: c.word("preferred_username", "upn", "email"), Name: c.word("name"), Email: c.word("email")}
	for name, v := range c {
		if p.speaksOfRoles(name) {
			who.Roles = append(who.Roles, roles(v)...)
		}
	}
	return who
}
