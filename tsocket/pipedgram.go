package tsocket

import (
	"bytes"
	"context"
	"sync"
	"syscall"
)

// PipeDgram returns two connected datagram sockets in memory. Each holds up to
// 64 datagrams that were not received yet; then a send waits. They behave as those of UnixDgramPair
// do: nothing is lost, nobody has a name. In a testing/synctest bubble nothing outside makes them
// wait.
func PipeDgram() (*Dgram, *Dgram) {
	a, b := newPipeQueue(), newPipeQueue()
	return NewDgram(&dgramEnd{in: a, out: b}), NewDgram(&dgramEnd{in: b, out: a})
}

// pipeDgrams is how many datagrams wait at most; pipeDgramMax is how large one
// may be.
const (
	pipeDgrams   = 64
	pipeDgramMax = 1 << 20
)

// pipeQueue is what waits to be received by one end.
type pipeQueue struct {
	mu                 sync.Mutex // guards the fields below
	waiting            [][]byte
	noUse              bool // one of the two ends is gone
	readable, writable chan struct{}
}

func newPipeQueue() *pipeQueue {
	return &pipeQueue{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func (q *pipeQueue) put(b []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.noUse:
		return syscall.ECONNREFUSED
	case len(q.waiting) >= pipeDgrams:
		return ErrAgain
	}
	q.waiting = append(q.waiting, bytes.Clone(b))
	wake(q.readable)
	return nil
}

func (q *pipeQueue) take() ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil, ErrAgain
	}
	b := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	wake(q.writable)
	return b, nil
}

// end makes sends fail. What waits can still be received, as from a socket.
func (q *pipeQueue) end() {
	q.mu.Lock()
	q.noUse = true
	q.mu.Unlock()
	wake(q.readable)
	wake(q.writable)
}

// dgramEnd is the ops of one end.
type dgramEnd struct {
	in, out *pipeQueue
	mu      sync.Mutex // guards closed
	closed  bool
}

func (d *dgramEnd) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// TryRecvFrom receives what is there.
func (d *dgramEnd) TryRecvFrom([]byte) ([]byte, Addr, error) {
	if d.isClosed() {
		return nil, Addr{}, ErrClosed
	}
	b, err := d.in.take()
	return b, Addr{}, err
}

// TrySendTo sends if there is room.
func (d *dgramEnd) TrySendTo(b []byte, dst Addr) error {
	switch {
	case d.isClosed():
		return ErrClosed
	case !dst.IsZero():
		return syscall.EISCONN
	case len(b) > pipeDgramMax:
		return syscall.EMSGSIZE
	}
	return d.out.put(b)
}

// RecvFrom waits for the next one.
func (d *dgramEnd) RecvFrom(ctx context.Context, b []byte) ([]byte, Addr, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, Addr{}, err
		}
		if data, src, err := d.TryRecvFrom(b); err != ErrAgain {
			return data, src, err
		}
		select {
		case <-d.in.readable:
		case <-ctx.Done():
		}
	}
}

// SendTo waits for room.
func (d *dgramEnd) SendTo(ctx context.Context, b []byte, dst Addr) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.TrySendTo(b, dst); err != ErrAgain {
			return err
		}
		select {
		case <-d.out.writable:
		case <-ctx.Done():
		}
	}
}

// Disconnect is Close.
func (d *dgramEnd) Disconnect(context.Context) error { return d.Close() }

// Close ends this end.
func (d *dgramEnd) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.in.end()
	d.out.end()
	return nil
}
