package tsagent

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// AllowAll is the policy that forbids nothing: for a bus within one process.
func AllowAll() Policy { return PolicyFunc(func(*Access) error { return nil }) }

// DefaultPolicy is the policy of who has none: processes of the agent's own uid may do everything. Others may use
// IPv4 and IPv6, but bind no port below 1024, and no unix socket at all, for whoever is connected to
// would take the agent's credentials for theirs.
func DefaultPolicy() Policy { return defaultPolicy{uint32(os.Getuid())} }

type defaultPolicy struct{ self uint32 }

func (p defaultPolicy) Allow(a *Access) error {
	switch {
	case a.Cred.UID == p.self:
	case a.Family == "unix":
		return fmt.Errorf("default policy, rule %q: uid %d is not the agent's, which is %d", "unix sockets for the agent's uid only", a.Cred.UID, p.self)
	case (a.Op == OpBind || a.Op == OpListen) && a.Addr.Port() != 0 && a.Addr.Port() < 1024:
		return fmt.Errorf("default policy, rule %q: uid %d is not the agent's, which is %d", "ports below 1024 for the agent's uid only", a.Cred.UID, p.self)
	}
	return nil
}

// allow asks the policy.
func (s *sock) allow(op Op, addr tsocket.Addr) error {
	a := Access{Cred: s.own.cred, Port: s.own.port, Op: op, Family: familyName(s.family), Stream: s.kind == kindStream, Addr: addr}
	if err := s.a.cfg.Policy.Allow(&a); err != nil {
		s.a.stats.denied.Add(1)
		what := op.String()
		if !addr.IsZero() {
			what += " " + addr.String()
		}
		return &Error{syscall.EACCES, fmt.Sprintf("%s: not permitted: %v", what, err)}
	}
	return nil
}
