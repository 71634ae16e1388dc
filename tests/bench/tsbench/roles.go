package tsbench

import (
	"context"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// Names of the roles.
const (
	rolePeer     = "tsocket-peer"
	roleMeasured = "tsocket-measured"
)

// Roles are the processes that the suite is made of.
var Roles = map[string]role.Func{
	rolePeer:     peer,
	roleMeasured: measured,
}

// peerArgs are the arguments of the role peer.
type peerArgs struct {
	Socket string // where it is told what to do
	Pin    bool   // to one processor
}

// measuredArgs are the arguments of the role measured.
type measuredArgs struct {
	Peer string // the peer's socket
	Pin  bool
	Case string // key of cases
}

// opRun is the operation of the role measured.
const opRun = "run"

// runArgs ask for one run.
type runArgs struct {
	Ours bool
	N    int // operations at least
}

// took is what a run took, all of it together.
type took struct {
	N      int // operations
	CPU    int64
	Wall   int64 // both in ns
	Allocs uint64
}

// measured holds both sides of a case, so that both run in the same code and
// memory layout.
func measured(ctx context.Context, p *role.Proc) error {
	var a measuredArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	if a.Pin {
		if err := pin(); err != nil {
			return err
		}
	}
	b := &bench{peer: a.Peer}
	defer b.close()
	ours, rival, err := cases[a.Case](b)
	if err != nil {
		return err
	}
	role.Handle(p, opRun, func(_ context.Context, r runArgs) (took, error) {
		s := rival
		if r.Ours {
			s = ours
		}
		return measure(s, r.N)
	})
	return p.Serve(ctx, nil)
}
