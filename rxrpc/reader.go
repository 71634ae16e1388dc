package rxrpc

import (
	"context"
	"errors"
	"net/netip"
	"runtime"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/tsocket"
)

// readBatch is how many datagrams are taken from the socket's memory at a time.
const readBatch = 128

// reader is the goroutine that receives.
type reader struct {
	msgs    []tsocket.Message
	handled chan struct{} // what it received has been processed
	done    chan struct{}
	from    tsocket.Addr // the last, and what it is to the protocol
	peer    netip.AddrPort
}

func (e *Endpoint) readLoop() {
	r := &e.reader
	defer close(r.done)
	ctx := context.Background()
	failures := 0
	for {
		n, err := e.dgram.RecvBatch(ctx, r.msgs)
		if err != nil {
			if !e.received(err, &failures) {
				return
			}
			continue
		}
		failures = 0
		e.counters.recvCalls.Add(1)
		e.counters.received.Add(uint64(n))
		e.tok.mu.Lock()
		e.tok.inbox = r.msgs[:n]
		e.take()
		<-r.handled
	}
}

// pushed takes in what a socket of tsocket.PushOps hands over, as readLoop does with what it fetches.
func (e *Endpoint) pushed(msgs []tsocket.Message, err error, over bool) {
	r := &e.reader
	if over && !e.closed.Load() {
		e.log.receiveFailed(err)
		e.post(func(now proto.Time) { e.p.Close(now) }) // calls must not wait for it
		return
	}
	if err != nil {
		failures := 0 // how many there have been tells nothing: what is broken is told by over
		e.received(err, &failures)
		return
	}
	e.counters.recvCalls.Add(1)
	e.counters.received.Add(uint64(len(msgs)))
	e.tok.mu.Lock()
	e.tok.inbox = msgs
	e.take()
	<-r.handled
}

// received looks at an error of the socket, and reports whether to go on.
func (e *Endpoint) received(err error, failures *int) bool {
	var n *tsocket.Notice
	switch {
	case errors.As(err, &n):
		ne := proto.NetError{
			To: n.Dst.AddrPort(), Errno: n.Errno, MTU: n.MTU, Quoted: n.Data,
			Local: n.Offender.IsZero(),
		}
		e.tok.mu.Lock()
		e.tok.news = append(e.tok.news, ne)
		e.take()
		*failures = 0
		return true
	case e.closed.Load() || errors.Is(err, tsocket.ErrClosed):
		return false
	}
	e.log.receiveFailed(err)
	if *failures++; *failures > 100 {
		// The socket is broken: calls must not wait for it.
		e.post(func(now proto.Time) { e.p.Close(now) })
		return false
	}
	runtime.Gosched()
	return true
}

// receive passes datagrams to the protocol. The reader may go on after it.
func (e *Endpoint) receive(now proto.Time, msgs []tsocket.Message) {
	r := &e.reader
	for i := range msgs {
		m := &msgs[i]
		if m.Addr != r.from {
			r.from, r.peer = m.Addr, e.peerOf(m.Addr)
		}
		e.p.Receive(now, r.peer, m.Data)
	}
	r.handled <- struct{}{}
}
