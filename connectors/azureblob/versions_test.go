package azureblob

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/connectortest"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/object"
)

// TestContractOnStandIns: no emulator has accounts that keep versions, nor such
// with a hierarchical namespace. These are stand-ins from the documents.
func TestContractOnStandIns(t *testing.T) {
	t.Parallel()
	for name, hns := range map[string]bool{"stand-in that keeps versions": false, "stand-in with a hierarchical namespace": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var at *standIn
			wants := connectors.Caps{Put: true, Copy: true, Remove: true, Tag: true, ReadIsVersion: true, FencedRemove: true,
				FencedPut: true, FencedCopy: true, Ordered: true, TagsKeepVersion: !hns, Versions: !hns}
			connectortest.Run(t, connectortest.Harness{
				Open: func(t *testing.T) connectors.Driver {
					at = newStandIn(t)
					at.hns = hns
					return at.open(defaultLimits)
				},
				Write:      func(t *testing.T, key string, content []byte) { at.stranger(t, "PUT", "in/"+key, content) },
				Remove:     func(t *testing.T, key string) { at.stranger(t, "DELETE", "in/"+key, nil) },
				Wants:      wants,
				Refuses:    func(key string) bool { return !utf8.ValidString(key) || strings.Contains(key, `\`) },
				Bucketlike: !hns,
			})
		})
	}
}

// versionsOf lists key as "content", with "*" for the current version.
func versionsOf(t *testing.T, d *Driver, key string) (out []string) {
	t.Helper()
	for info, err := range d.ListVersions(t.Context(), key, "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := read(t.Context(), d, object.Ref{Key: key, Version: info.Version}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if info.Latest {
			b = append(b, '*')
		}
		out = append(out, string(b))
	}
	return out
}

// TestRemoveVersions runs on the stand-in that keeps versions: exactly the
// version named goes, and what is kept is told.
func TestRemoveVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(s *standIn)
		remove  int // which version, from the newest
		left    []string
		rem     connectors.Removed
		kind    fault.Kind
		words   string
	}{
		"current":     {remove: 0, left: []string{"two", "one"}},
		"previous":    {remove: 1, left: []string{"three*", "one"}},
		"soft delete": {prepare: func(s *standIn) { s.soft = true }, remove: 0, left: []string{"two", "one"}, rem: connectors.Removed{Marker: true}},
		"policy on the current": {prepare: func(s *standIn) {
			s.immutable = func(string) string {
				return "This operation is not permitted as the blob is immutable due to a policy."
			}
		}, remove: 0, left: []string{"three", "two", "one"}, rem: connectors.Removed{Marker: true}},
		"hold on a previous": {prepare: func(s *standIn) {
			s.immutable = func(string) string {
				return "This operation is not permitted as the blob is immutable due to one or more legal holds."
			}
		}, remove: 2, left: []string{"three*", "two", "one"}, kind: fault.Denied, words: "legal hold keeps it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t)
			d := s.open(defaultLimits)
			for _, content := range []string{"one", "two", "three"} {
				s.stranger(t, "PUT", "in/key", []byte(content))
			}
			if c.prepare != nil {
				c.prepare(s)
			}
			var all []object.Info
			for info := range d.ListVersions(t.Context(), "", "") {
				all = append(all, info)
			}
			ref := object.Ref{Key: "key", Version: all[c.remove].Version}
			rem, err := d.Remove(t.Context(), ref, connectors.Fence{})
			if rem != c.rem || fault.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("Remove = %+v, %v; want %+v, %v", rem, err, c.rem, c.kind)
			}
			if diff := cmp.Diff(c.left, versionsOf(t, d, "key")); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			// A run that died between the two deletions is done again.
			if c.kind == fault.Other && c.remove == 0 && !rem.Marker {
				if _, err := d.Remove(t.Context(), ref, connectors.Fence{}); !fault.Is(err, fault.NotFound) {
					t.Errorf("again: %v", err)
				}
			}
		})
	}
}

// TestRemoveGoesOn, on the stand-in that keeps versions: a run that died after
// the current version became a previous one is finished by the next.
func TestRemoveGoesOn(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	d := s.open(defaultLimits)
	s.stranger(t, "PUT", "in/key", []byte("one"))
	info, err := d.Stat(t.Context(), object.Ref{Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	s.stranger(t, "DELETE", "in/key", nil)
	ref := object.Ref{Key: "key", Version: info.Version}
	if st, err := d.Stat(t.Context(), ref); err != nil || st.Latest {
		t.Errorf("the version that is hidden: %+v, %v", st, err)
	}
	for range d.List(t.Context(), "", "") {
		t.Error("a key without a current version is listed")
	}
	if rem, err := d.Remove(t.Context(), ref, connectors.Fence{}); err != nil || rem.Marker {
		t.Errorf("Remove = %+v, %v", rem, err)
	}
	if got := versionsOf(t, d, "key"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestManyVersions, on the stand-in that keeps versions: pages cut through the
// versions of a key, and a key with more than fit is a gap.
func TestManyVersions(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string]bool{"flat": false, "folder by folder": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t)
			lim := defaultLimits
			lim.list, lim.versions = 3, 8
			d := s.open(lim)
			d.tree.Store(tree)
			for _, v := range strings.Fields("1 2 3 4 5 6 7 8 9 10 11 12") {
				for _, key := range []string{"a", "b/c", "b!"} {
					if key != "a" && len(v) > 1 {
						continue
					}
					s.stranger(t, "PUT", "in/"+key, []byte(v))
				}
			}
			s.stranger(t, "DELETE", "in/b!", nil)
			got, gaps := map[string]string{}, []string{}
			for info, err := range d.ListVersions(t.Context(), "", "") {
				if err != nil {
					if !gap(err) {
						t.Fatal(err)
					}
					gaps = append(gaps, err.Error())
					continue
				}
				b, err := read(t.Context(), d, object.Ref{Key: info.Key, Version: info.Version}, 0)
				if err != nil {
					t.Fatal(err)
				}
				got[info.Key] += " " + string(b)
			}
			if len(gaps) != 2 && len(gaps) != 3 || !strings.HasPrefix(got["a"], " 12 11 10 9") || !strings.HasPrefix(got["b/c"], " 9 8 7 6") || !strings.HasPrefix(got["b!"], " 9 8 7 6") {
				t.Errorf("got %q, gaps %q", got, gaps)
			}
			var keys []string
			for info, err := range d.List(t.Context(), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, info.Key)
			}
			if diff := cmp.Diff([]string{"a", "b/c"}, keys); diff != "" {
				t.Error(diff)
			}
		})
	}
}
