package busbench

import (
	"context"
	"fmt"
)

// Names of the systems.
const (
	sysBus   = "cnbus"
	sysNATS  = "nats"
	sysRelay = "relay"
	sysDBus  = "dbus"
)

// target is where messages go: a group, or a single receiver by its port.
type target struct {
	Group uint32
	Port  uint32

	// Lossy lets a group message be dropped for a receiver that is full; otherwise
	// the sender waits. Of the rivals nothing is dropped either way: their
	// limits are raised.
	Lossy bool
}

// conn is one client's connection to a system.
type conn interface {
	// echo answers each request to topic with the bytes of the request.
	echo(ctx context.Context, topic uint32) error

	// caller returns a function that makes one round trip to topic and returns
	// the length of the answer.
	caller(ctx context.Context, topic uint32) (func(ctx context.Context, payload []byte) (int, error), error)

	// subscribe calls on for each message of the group (0: sent to this client
	// alone), one at a time, and lost for each report of a loss. It returns
	// where to send.
	subscribe(ctx context.Context, group uint32, on func(payload []byte), lost func(n uint64)) (target, error)

	// publisher returns a function that sends one message, and one that
	// returns when all sent have left this process.
	publisher(ctx context.Context, to target) (post func(payload []byte) error, flush func() error, err error)

	close() error
}

// systems are the ways to connect, by name of the system.
var systems = map[string]func(ctx context.Context, addr string) (conn, error){
	sysBus:   dialBus,
	sysNATS:  dialNATS,
	sysRelay: dialRelay,
	sysDBus:  dialDBus,
}

// place names a running system.
type place struct {
	System string
	Addr   string
}

func (p place) dial(ctx context.Context) (conn, error) {
	f, ok := systems[p.System]
	if !ok {
		return nil, fmt.Errorf("no system %q", p.System)
	}
	c, err := f(ctx, p.Addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %s: %w", p.System, p.Addr, err)
	}
	return c, nil
}
