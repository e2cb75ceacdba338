package connectors

// Derive returns what the driver's interfaces say it can do. What only a probe
// can prove (fences, one read is one version, tags that keep the version) is
// absent. Ordered is part of the List contract and therefore present. A driver
// that wraps another says so with Unwrap() Driver.
func Derive(d Driver) Caps {
	for {
		w, ok := d.(interface{ Unwrap() Driver })
		if !ok {
			break
		}
		d = w.Unwrap()
	}
	var c Caps
	_, c.Watch = d.(Watcher)
	_, c.Settle = d.(Settler)
	_, c.Put = d.(Putter)
	_, c.Copy = d.(Copier)
	_, c.Remove = d.(Remover)
	_, c.Tag = d.(Tagger)
	_, c.Versions = d.(VersionLister)
	_, c.Prune = d.(Pruner)
	c.Ordered = true
	return c
}

// and returns the capabilities that both c and o have.
func (c Caps) and(o Caps) Caps {
	return Caps{
		Watch: c.Watch && o.Watch, Settle: c.Settle && o.Settle, Put: c.Put && o.Put, Copy: c.Copy && o.Copy,
		Remove: c.Remove && o.Remove, Tag: c.Tag && o.Tag, Versions: c.Versions && o.Versions, Prune: c.Prune && o.Prune,
		ReadIsVersion: c.ReadIsVersion && o.ReadIsVersion, FencedRemove: c.FencedRemove && o.FencedRemove,
		FencedPut: c.FencedPut && o.FencedPut, FencedCopy: c.FencedCopy && o.FencedCopy,
		Ordered: c.Ordered && o.Ordered, TagsKeepVersion: c.TagsKeepVersion && o.TagsKeepVersion,
	}
}

// readable returns c without everything that changes an object.
func (c Caps) readable() Caps {
	c.Put, c.Copy, c.Remove, c.Tag, c.Prune = false, false, false, false, false
	c.FencedPut, c.FencedCopy, c.FencedRemove, c.TagsKeepVersion = false, false, false, false
	return c
}

// effective is what a storage may use: the driver's interfaces, what the probe
// proved of them, and what the unit's grant allows.
func effective(u Unit, d Driver, p *Probed) Caps {
	c := Derive(d)
	if p != nil && p.Proven {
		// The guarantees have no interface: they come from the probe alone.
		all := c
		all.ReadIsVersion, all.TagsKeepVersion = true, true
		all.FencedRemove, all.FencedPut, all.FencedCopy = c.Remove, c.Put, c.Copy
		c = all.and(p.Caps)
	}
	if u.ReadOnly {
		c = c.readable()
	}
	return c
}

// Names lists what is there, in words for operators.
func (c Caps) Names() []string {
	var l []string
	for _, x := range []struct {
		has  bool
		name string
	}{{c.Watch, "watch"}, {c.Settle, "settle"}, {c.Put, "put"}, {c.Copy, "copy"}, {c.Remove, "remove"}, {c.FencedRemove, "remove-if"},
		{c.FencedPut, "put-if"}, {c.FencedCopy, "copy-if"}, {c.Tag, "tag"}, {c.Versions, "versions"}, {c.Prune, "prune"}, {c.Ordered, "ordered"}} {
		if x.has {
			l = append(l, x.name)
		}
	}
	return l
}
