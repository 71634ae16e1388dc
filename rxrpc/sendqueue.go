package rxrpc

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/tsocket"
)

// A sendQueue stands before a socket whose sends may wait for the receiver. The owner
// of the protocol's state must not wait with them: two endpoints that do so for each other never go on. What
// the socket takes at once is sent by the owner; the rest is copied, and a goroutine waits in its place.
type sendQueue struct {
	e      *Endpoint
	limit  int // of bytes
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // guards what follows; the socket may be tried under it
	msgs    []tsocket.Message
	mem     []byte // of their data
	sending bool   // the goroutine has some too: what comes now is behind them
	closing bool
}

// sendLinger is how long the last datagrams of an endpoint, which end its calls, may wait for their receiver.
const sendLinger = 250 * time.Millisecond

func newSendQueue(e *Endpoint) *sendQueue {
	q := &sendQueue{e: e, limit: e.cfg.SendBuffer, wake: make(chan struct{}, 1), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.run()
	return q
}

// send takes datagrams, whose memory stays the caller's. The owner calls it.
func (q *sendQueue) send(now proto.Time, msgs []tsocket.Message) {
	e := q.e
	q.mu.Lock()
	for !q.sending && len(q.msgs) == 0 && len(msgs) > 0 {
		n, err := e.dgram.TrySendBatch(msgs)
		e.counters.sendCalls.Add(1)
		e.counters.sent.Add(uint64(n))
		msgs = msgs[n:]
		if err == nil || len(msgs) == 0 || errors.Is(err, tsocket.ErrClosed) {
			q.mu.Unlock()
			return
		}
		if errors.Is(err, tsocket.ErrAgain) {
			break
		}
		q.mu.Unlock()
		e.refused(now, msgs[0], err)
		q.mu.Lock()
		msgs = msgs[1:]
	}
	lost := 0
	for _, m := range msgs {
		if len(q.mem)+len(m.Data) > q.limit {
			lost++
			continue
		}
		at := len(q.mem)
		q.mem = append(q.mem, m.Data...)
		q.msgs = append(q.msgs, tsocket.Message{Data: q.mem[at:len(q.mem):len(q.mem)], Addr: m.Addr})
	}
	waiting := len(q.msgs) > 0
	q.mu.Unlock()
	e.counters.sendErrors.Add(uint64(lost))
	if waiting {
		q.rouse()
	}
}

func (q *sendQueue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run waits for the socket in the place of the owner.
func (q *sendQueue) run() {
	defer close(q.done)
	var msgs []tsocket.Message
	var mem []byte
	for {
		q.mu.Lock()
		clear(msgs)
		msgs, q.msgs = q.msgs, msgs[:0]
		mem, q.mem = q.mem, mem[:0]
		q.sending = len(msgs) > 0
		over := q.closing && !q.sending
		q.mu.Unlock()
		switch {
		case over:
			return
		case len(msgs) == 0:
			<-q.wake
		default:
			q.wait(msgs)
		}
	}
}

// wait sends msgs, however long it takes.
func (q *sendQueue) wait(msgs []tsocket.Message) {
	e := q.e
	for len(msgs) > 0 {
		n, err := e.dgram.SendBatch(q.ctx, msgs)
		e.counters.sendCalls.Add(1)
		e.counters.sent.Add(uint64(n))
		msgs = msgs[n:]
		if err == nil || len(msgs) == 0 || errors.Is(err, tsocket.ErrClosed) || q.ctx.Err() != nil {
			return
		}
		m := msgs[0]
		// The owner may be busy for a while: it gets a copy.
		m.Data = append([]byte(nil), m.Data...)
		e.post(func(now proto.Time) { e.refused(now, m, err) })
		msgs = msgs[1:]
	}
}

// close sends what there is still, if that does not take long.
func (q *sendQueue) close() {
	timer := time.AfterFunc(sendLinger, q.cancel)
	defer timer.Stop()
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.rouse()
	<-q.done
	q.cancel()
}

// refused tells the protocol that the socket would not have a datagram, and that
// of its length none will go if it was too long: such a socket has nothing that tells of path MTUs.
func (e *Endpoint) refused(now proto.Time, m tsocket.Message, err error) {
	to := m.Addr.AddrPort()
	if e.only {
		to = onlyPeer
	}
	if tsocket.Errno(err) != syscall.EMSGSIZE {
		e.sendFailed(now, to, m.Data, err)
		return
	}
	e.counters.sendErrors.Add(1)
	e.log.sendFailed(to, syscall.EMSGSIZE)
	e.p.NetError(now, proto.NetError{To: to, Errno: syscall.EMSGSIZE, Local: true, Length: len(m.Data)})
}
