package rxagent

import ierrno "github.com/cnbus/cnbus/rxrpc/internal/errno"

// Errnos that Linux has and others have not.
const (
	errBadSlot = ierrno.BadSlot
	errNoKey   = ierrno.NoKey
)
