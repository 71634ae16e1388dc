package broker

import (
	"slices"
)

// knownRights spares clients that are alike rights of their own: the last ones worked out, which
// nobody changes.
type knownRights struct {
	rules    *Policy
	uid, gid uint32
	gids     []uint32
	foreign  bool
	host     string
	rights   *rights
}

// of returns what rightsOf does, and gids, which may be somebody else's too.
func (k *knownRights) of(p *Policy, w who) ([]uint32, *rights) {
	if k.rules != p || k.uid != w.cred.UID || k.gid != w.cred.GID || k.foreign != w.foreign || k.host != w.host || !slices.Equal(k.gids, w.gids) {
		*k = knownRights{rules: p, uid: w.cred.UID, gid: w.cred.GID, gids: w.gids, foreign: w.foreign, host: w.host, rights: p.rightsOf(w)}
	}
	return k.gids, k.rights
}
