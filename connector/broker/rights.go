package broker

import (
	"slices"

	"github.com/cnbus/cnbus/connector"
)

// knownRights spares clients that are alike rights of their own: the last ones worked out, which
// nobody changes.
type knownRights struct {
	rules    *Policy
	uid, gid uint32
	gids     []uint32
	rights   *rights
}

// of returns what rightsOf does, and gids, which may be somebody else's too.
func (k *knownRights) of(p *Policy, cred connector.Cred, gids []uint32) ([]uint32, *rights) {
	if k.rules != p || k.uid != cred.UID || k.gid != cred.GID || !slices.Equal(k.gids, gids) {
		*k = knownRights{rules: p, uid: cred.UID, gid: cred.GID, gids: gids, rights: p.rightsOf(cred, gids)}
	}
	return k.gids, k.rights
}
