package bussock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// DgramConfig is how a datagram socket works. nil, and zero values, mean the defaults.
type DgramConfig struct {
	// Number of the socket at its endpoint, like a port of UDP; 0 takes a free one.
	Number uint16

	// ReceiveBuffer is how many bytes may wait to be received, default 1 MiB; a message counts with its datagrams and 128 bytes. What comes
	// then is lost and counted. Up to twice as much memory is in use.
	ReceiveBuffer int

	// Wait makes a send wait while the bus has no more room for the receiver's endpoint. Otherwise such
	// a datagram is lost, as in a network; the receiver is told how many messages were.
	Wait bool
}

const defaultReceive = 1 << 20

// MaxDgram is the length of the largest datagram.
const MaxDgram = maxDgram

// Dgram makes a datagram socket, whose address is Addr of the endpoint's port id and its number. It sends to
// any other; many datagrams of a batch for one receiver travel in one message. As with UDP nobody promises that
// a datagram arrives, but what was lost on the way, or found no room here, is counted: see DgramStatsOf. With
// Dgram.SetNotices a receive tells of datagrams to sockets whose endpoint is gone. When the connection to the bus breaks, the next receive
// tells it, once, and the address is another from then on.
//
// The OpError's Err is EADDRINUSE where the number is taken, ErrClosed.
func (n *Node) Dgram(cfg *DgramConfig) (*tsocket.Dgram, error) {
	d := &dgram{n: n, readable: make(chan struct{}, 1), gone: make(chan struct{})}
	if cfg != nil {
		d.cfg = *cfg
	}
	if d.cfg.ReceiveBuffer <= 0 {
		d.cfg.ReceiveBuffer = defaultReceive
	}
	if err := n.addDgram(d); err != nil {
		return nil, &tsocket.OpError{Op: "datagram socket", Err: err}
	}
	return tsocket.NewDgram(d), nil
}

func (n *Node) addDgram(d *dgram) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	d.num = d.cfg.Number
	switch {
	case n.closed:
		return errClosed
	case d.num != 0 && n.dgrams[d.num] != nil:
		return &Error{Errno: syscall.EADDRINUSE, Text: fmt.Sprintf("the number %d is taken", d.num)}
	case len(n.dgrams) >= firstStream-1:
		return &Error{Errno: syscall.EADDRINUSE, Text: "all numbers are taken"}
	}
	for d.num == 0 {
		// Those that are not asked for are from the upper half, as of UDP.
		n.nextDgram++
		if k := n.nextDgram | 1<<15; n.dgrams[k] == nil {
			d.num = k
		} else if n.dgrams[n.nextDgram] == nil && len(n.dgrams) > 1<<14 {
			d.num = n.nextDgram
		}
	}
	n.dgrams[d.num] = d
	return nil
}

// Publish registers id, by which others find d with Lookup, until stop is called or the node is closed. d is one of the node's. While the
// bus is away stop waits as long as Config.Linger, a second at least, and the id is given back when the bus has returned.
func (n *Node) Publish(ctx context.Context, id cbid.ID, name string, d *tsocket.Dgram) (stop func() error, err error) {
	fail := func(err error) (func() error, error) {
		return nil, &tsocket.OpError{Op: "publish as " + id.String(), Err: err}
	}
	own, ok := d.Ops().(*dgram)
	if !ok || own.n != n {
		return fail(&Error{Errno: syscall.EINVAL, Text: "no socket of this node"})
	}
	h := connector.Inline(connector.HandlerFunc(func(ctx context.Context, del *connector.Delivery) {
		if !del.Call {
			return
		}
		h, body, ok := parse(del.Msg.Data)
		port, a := n.where()
		switch {
		case !ok || len(body) > 0:
			a = answer{errno: syscall.EINVAL, text: "no message of a socket"}
		case h.op != opLookup:
			a = answer{errno: syscall.EOPNOTSUPP, text: "this is the name of a datagram socket"}
		case h.arg != Version:
			a = answer{errno: syscall.EPROTONOSUPPORT, text: fmt.Sprintf("version %d is not spoken here, but %d", h.arg, Version)}
		case a.errno == 0:
			a = answer{port: port, number: uint32(own.num)}
		}
		_ = del.Reply(ctx, a.append(nil, h.op)) // a caller that is gone needs none
	}))
	if err := n.bus.AddCallback(ctx, id, name, h); err != nil {
		return fail(ofBus(err, ""))
	}
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.names[id] = struct{}{}
	}
	n.mu.Unlock()
	if closed {
		_ = n.unregister(id)
		return fail(errClosed)
	}
	return func() error {
		n.mu.Lock()
		_, mine := n.names[id]
		delete(n.names, id)
		n.mu.Unlock()
		if !mine {
			return nil
		}
		return n.unregister(id)
	}, nil
}

// DgramStats counts what did not come through.
type DgramStats struct {
	Overflow uint64 // datagrams that found the receive buffer full
	Lost     uint64 // messages with datagrams for any socket of the node that the bus dropped
	Invalid  uint64 // messages that were no datagrams
	Failed   uint64 // messages that were sent to an endpoint that is gone
}

// DgramStatsOf returns the counts of a datagram socket of a Node; false for another.
func DgramStatsOf(d *tsocket.Dgram) (DgramStats, bool) {
	o, ok := d.Ops().(*dgram)
	if !ok {
		return DgramStats{}, false
	}
	return DgramStats{
		Overflow: o.overflow.Load(), Lost: o.lost.Load(), Invalid: o.invalid.Load(), Failed: o.undeliveredCount.Load(),
	}, true
}

// dgram is a datagram socket: the ops of a tsocket.Dgram.
type dgram struct {
	n   *Node
	num uint16
	cfg DgramConfig

	readable chan struct{} // of one
	gone     chan struct{} // closed by Close
	notices  atomic.Bool

	overflow, lost, invalid, undeliveredCount atomic.Uint64

	mu     sync.Mutex // guards what follows
	queue  []parcel
	first  int    // in queue
	bytes  int    // in queue, with parcelCost each
	tail   *chunk // which has room for the next
	errs   []error
	closed bool

	lent []*chunk // whose data was received last; of the receive

	// Of the send.
	out batch
	nw  noWait
}

// parcel is a message with datagrams, as far as they were not received.
type parcel struct {
	c    *chunk
	rest []byte
	from tsocket.Addr
}

// parcelCost is what a message takes besides its bytes. Those that are small share a chunk.
const parcelCost = 128

// mostErrors is how many errors wait to be told.
const mostErrors = 64

// arrived takes in a message.
func (d *dgram) arrived(port uint32, number uint16, body []byte) {
	count, ok := countDgrams(body)
	if !ok {
		d.invalid.Add(1)
		return
	}
	d.mu.Lock()
	switch {
	case d.closed:
	case d.bytes > 0 && d.bytes+len(body)+parcelCost > d.cfg.ReceiveBuffer:
		d.overflow.Add(uint64(count))
	default:
		c := d.tail
		if c == nil || len(c.b)-c.n < len(body) {
			c = chunks.Get().(*chunk)
			c.n, c.parcels = 0, 0
			d.tail = c
		}
		at := c.n
		c.n += copy(c.b[at:], body)
		c.parcels++
		d.queue = append(d.queue, parcel{c, c.b[at:c.n:c.n], Addr(port, number)})
		d.bytes += len(body) + parcelCost
	}
	d.mu.Unlock()
	wake(d.readable)
}

func (d *dgram) missed(messages uint64) { d.lost.Add(messages) }

// undelivered is told that a message to a socket did not arrive.
func (d *dgram) undelivered(to tsocket.Addr, why error) {
	d.undeliveredCount.Add(1)
	if d.notices.Load() {
		d.tell(&tsocket.Notice{Dst: to, Errno: ofBus(why, "").Errno})
	}
}

// interrupted is told that the connection to the bus broke.
func (d *dgram) interrupted(why *Error) { d.tell(why) }

func (d *dgram) tell(err error) {
	d.mu.Lock()
	if len(d.errs) < mostErrors && !d.closed {
		d.errs = append(d.errs, err)
	}
	d.mu.Unlock()
	wake(d.readable)
}

// SetNotices implements tsocket.NoticeOps.
func (d *dgram) SetNotices(on bool) error {
	d.notices.Store(on)
	return nil
}

// Notices implements tsocket.NoticeOps.
func (d *dgram) Notices() (bool, error) { return d.notices.Load(), nil }

// MaxDatagram returns MaxDgram.
func (d *dgram) MaxDatagram() int { return MaxDgram }

// LocalAddr returns the address of the socket.
func (d *dgram) LocalAddr() tsocket.Addr { return Addr(d.n.ep.Port(), d.num) }

// RemoteAddr returns that it is connected to nobody.
func (d *dgram) RemoteAddr() tsocket.Addr { return tsocket.Addr{} }

// pop returns the next datagram, or ErrAgain. d.mu is held.
func (d *dgram) pop() (data []byte, from tsocket.Addr, err error) {
	switch {
	case d.closed:
		return nil, tsocket.Addr{}, tsocket.ErrClosed
	case len(d.errs) > 0:
		err := d.errs[0]
		d.errs = d.errs[1:]
		return nil, tsocket.Addr{}, err
	case d.first == len(d.queue):
		return nil, tsocket.Addr{}, tsocket.ErrAgain
	}
	p := &d.queue[d.first]
	data, p.rest, _ = nextDgram(p.rest) // it was looked through when it came
	d.bytes -= entryLen + len(data)
	from = p.from
	if len(p.rest) == 0 {
		d.lent = append(d.lent, p.c)
		d.bytes -= parcelCost
		*p = parcel{}
		if d.first++; d.first == len(d.queue) {
			d.queue, d.first = d.queue[:0], 0
		} else if d.first >= 64 && 2*d.first >= len(d.queue) {
			d.queue = d.queue[:copy(d.queue, d.queue[d.first:])]
			d.first = 0
		}
	}
	return data, from, nil
}

// giveBack ends the loan of what was received last. d.mu is held.
func (d *dgram) giveBack() {
	for i, c := range d.lent {
		d.lent[i] = nil
		if c.parcels--; c.parcels > 0 {
			continue
		}
		if c == d.tail {
			d.tail = nil
		}
		chunks.Put(c)
	}
	d.lent = d.lent[:0]
}

// TryRecvFrom receives what is there.
func (d *dgram) TryRecvFrom(b []byte) ([]byte, tsocket.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveBack()
	data, from, err := d.pop()
	if err == nil && len(data) <= len(b) {
		data = b[:copy(b, data)]
	}
	return data, from, err
}

// TryRecvBatch receives as many as there are.
func (d *dgram) TryRecvBatch(msgs []tsocket.Message) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveBack()
	for n < len(msgs) && (n == 0 || len(d.errs) == 0) { // an error waits for the next receive
		data, from, err := d.pop()
		if err != nil {
			if n > 0 {
				break
			}
			return 0, err
		}
		m := &msgs[n]
		if m.Data, m.Addr = data, from; len(data) <= len(m.Buf) {
			m.Data = m.Buf[:copy(m.Buf, data)]
		}
		n++
	}
	return n, nil
}

// wait waits until there may be something to receive.
func (d *dgram) wait(ctx context.Context) error {
	select {
	case <-d.readable:
	case <-d.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// RecvFrom waits for the next datagram.
func (d *dgram) RecvFrom(ctx context.Context, b []byte) ([]byte, tsocket.Addr, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, tsocket.Addr{}, err
		}
		if data, src, err := d.TryRecvFrom(b); err != tsocket.ErrAgain {
			return data, src, err
		}
		if err := d.wait(ctx); err != nil {
			return nil, tsocket.Addr{}, err
		}
	}
}

// RecvBatch waits for at least one datagram.
func (d *dgram) RecvBatch(ctx context.Context, msgs []tsocket.Message) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n, err := d.TryRecvBatch(msgs); err != tsocket.ErrAgain {
			return n, err
		}
		if err := d.wait(ctx); err != nil {
			return 0, err
		}
	}
}

// batch gathers the datagrams for one receiver.
type batch struct {
	c      *chunk
	port   uint32
	number uint16
	count  int
}

// add takes a datagram, if it is for the same receiver and there is room.
func (b *batch) add(port uint32, number uint16, data []byte) bool {
	c := b.c
	if b.count > 0 && (port != b.port || number != b.number || c.n+entryLen+len(data) > len(c.b)) {
		return false
	}
	if b.count == 0 {
		b.port, b.number, c.n = port, number, headerLen
	}
	binary.LittleEndian.PutUint16(c.b[c.n:], uint16(len(data)))
	c.n += entryLen + copy(c.b[c.n+entryLen:], data)
	b.count++
	return true
}

// send posts msgs and returns how many. The error is about the one after these.
func (d *dgram) send(ctx context.Context, msgs []tsocket.Message) (sent int, err error) {
	select {
	case <-d.gone:
		return 0, tsocket.ErrClosed
	default:
	}
	b := &d.out
	b.c, b.count = chunks.Get().(*chunk), 0
	defer func() {
		chunks.Put(b.c)
		b.c = nil
	}()
	for i := 0; i < len(msgs); {
		m := &msgs[i]
		port, number, ok := ParseAddr(m.Addr)
		err = nil
		switch {
		case m.Addr.IsZero():
			err = syscall.EDESTADDRREQ
		case !ok || port == 0 || number == 0:
			err = syscall.EAFNOSUPPORT
		case len(m.Data) > MaxDgram:
			err = syscall.EMSGSIZE
		case b.add(port, number, m.Data):
			i++
			continue
		}
		// Those before it go first.
		if b.count > 0 {
			n := b.count
			if err := d.post(ctx); err != nil {
				return sent, err
			}
			sent += n
		}
		if err != nil {
			return sent, err
		}
	}
	n := b.count
	if err := d.post(ctx); err != nil {
		return sent, err
	}
	return sent + n, nil
}

// post sends the batch.
func (d *dgram) post(ctx context.Context) error {
	b := &d.out
	if b.count == 0 {
		return nil
	}
	b.count = 0
	header{op: opDgrams, sock: uint32(b.number)}.put(b.c.b[:])
	m := connector.Message{ID: cbid.BusSock, Seq: uint32(d.num), Ack: uint32(b.number), Data: b.c.b[:b.c.n]}
	to := connector.Dest{Port: b.port, Full: connector.FullDrop}
	if d.cfg.Wait {
		to.Full = connector.FullDefault
	}
	err := d.n.ep.Post(ctx, m, to)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, connector.ErrClosed):
		return tsocket.ErrClosed
	}
	return ofBus(err, "")
}

// try is send that does not wait.
func (d *dgram) try(msgs []tsocket.Message) (int, error) {
	d.nw.over.Store(false)
	n, err := d.send(&d.nw, msgs)
	if err != nil && d.nw.over.Load() {
		err = tsocket.ErrAgain
	}
	return n, err
}

// TrySendTo sends without waiting.
func (d *dgram) TrySendTo(b []byte, dst tsocket.Addr) error {
	one := [1]tsocket.Message{{Data: b, Addr: dst}}
	_, err := d.try(one[:])
	return err
}

// SendTo sends one datagram.
func (d *dgram) SendTo(ctx context.Context, b []byte, dst tsocket.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	one := [1]tsocket.Message{{Data: b, Addr: dst}}
	_, err := d.sendWaiting(ctx, one[:])
	return err
}

// TrySendBatch sends without waiting.
func (d *dgram) TrySendBatch(msgs []tsocket.Message) (int, error) { return d.try(msgs) }

// SendBatch sends msgs in order.
func (d *dgram) SendBatch(ctx context.Context, msgs []tsocket.Message) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return d.sendWaiting(ctx, msgs)
}

// sendWaiting is send, which Close ends.
func (d *dgram) sendWaiting(ctx context.Context, msgs []tsocket.Message) (int, error) {
	n, err := d.try(msgs)
	if err != tsocket.ErrAgain {
		return n, err
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(d.closing(), cancel)
	defer stop()
	k, err := d.send(wait, msgs[n:])
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		err = tsocket.ErrClosed
	}
	return n + k, err
}

// closing is a context that ends when the socket is closed.
func (d *dgram) closing() context.Context { return doneContext{context.Background(), d.gone} }

type doneContext struct {
	context.Context
	done <-chan struct{}
}

func (d doneContext) Done() <-chan struct{} { return d.done }

func (d doneContext) Err() error {
	select {
	case <-d.done:
		return context.Canceled
	default:
		return nil
	}
}

// Disconnect is Close.
func (d *dgram) Disconnect(context.Context) error { return d.Close() }

// Close ends the socket.
func (d *dgram) Close() error {
	d.n.mu.Lock()
	if d.n.dgrams[d.num] == d {
		delete(d.n.dgrams, d.num)
	}
	d.n.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.gone)
		d.queue, d.first, d.bytes = nil, 0, 0
		d.lent, d.tail = nil, nil // who receives may still look at it
	}
	return nil
}
