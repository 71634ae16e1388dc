package tsocket

import (
	"context"
	"net"
	"sync"
)

// AsNetListener returns l as a net.Listener, whose connections are made by
// AsNetConn. Close closes l. Any number of goroutines may accept at a time.
func AsNetListener(l *Listener) net.Listener { return &netListener{l: l} }

type netListener struct {
	l  *Listener
	mu sync.Mutex // held by the accept that is running
}

func (n *netListener) Accept() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, err := n.l.Accept(context.Background())
	if err != nil {
		return nil, n.fail("accept", err)
	}
	return AsNetConn(s), nil
}

func (n *netListener) Close() error {
	if n.l.word.has(bitClosed) {
		return n.fail("close", net.ErrClosed)
	}
	if err := n.l.Close(); err != nil {
		return n.fail("close", err)
	}
	return nil
}

func (n *netListener) Addr() net.Addr { return asNetAddr(n.l.Addr(), "tcp", "unix") }

func (n *netListener) fail(op string, err error) error {
	a := n.Addr()
	return &net.OpError{Op: op, Net: a.Network(), Addr: a, Err: netCause(false, err)}
}
