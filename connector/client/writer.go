package client

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/tsocket"
)

// writer is the sending half of a connection: a buffer of whole frames, and at
// most one goroutine that writes it.
//
// A frame on its own is written by the caller, in one system call that does not wait:
// handing it to another goroutine would cost more than the call. Frames that
// come closer together than batchGap, or while a write is under way, are only
// appended; a flusher that lives as long as there is something to do takes all
// of them in one system call. So is the rest of a write that the socket had no room for.
type writer struct {
	s      *tsocket.Stream
	try    bool   // false where every write may wait
	max    int    // bytes in buf beyond which callers wait
	onRoom func() // called without locks when waiting callers may look again
	onFail func() // called once, without locks, when the socket refuses

	mu      sync.Mutex
	buf     []byte // frames that nobody has begun to write
	spare   []byte // the other buffer, while nobody writes from it
	fly     []byte // being written
	flyOff  int    // written bytes of fly
	base    uint64 // stream offset of the first byte of fly, or of buf without fly
	count   uint64 // frames appended, with the Hello that came before
	heard   uint64 // stream offset up to which the broker has handled all, and has told Stop where it had to
	asked   uint64 // offset of the last Ping that asked for that
	asking  bool   // its Ack has not come
	parting bool   // nothing more is to be asked
	writing bool   // some goroutine owns fly
	waiting int    // callers that wait for room
	last    time.Duration
	err     error
	quiet   sync.Cond // writing became false
	flush1  func()    // flusher, bound once: a go statement with arguments allocates
}

// batchGap is how close two posts must be for the second to wait for company.
const batchGap = 5 * time.Microsecond

// keepBuf is the size of a drained mailbox that is kept for the next burst, and
// how much may be held together before it is written.
const keepBuf = 64 << 10

// A sender can only heed a Stop that it has read, and a reader may be late: its thread
// may have to wait, or a callback may keep it. So no more than sendWindow bytes are on their way
// beyond what the broker has answered a Ping for, with Stop told before: however slow the
// reader is, the broker takes all of it (docs/protocol.md, Full receivers) and never ends the reading of this connection.
const (
	sendWindow = 768 << 10
	askEvery   = 256 << 10 // there is at most one Ping under way
	askTag     = 0         // which no request has
)

// since is the clock of batchGap.
var epoch = time.Now()

func since() time.Duration { return time.Since(epoch) }

// pace says how soon a frame has to leave.
type pace uint8

const (
	paceNow   pace = iota // somebody waits for the answer
	paceBatch             // company is welcome
	paceCork              // a flush follows
)

func (w *writer) init(s *tsocket.Stream, limit int) {
	w.s, w.max = s, limit
	_, w.try = s.Ops().(tsocket.TryStreamOps)
	w.quiet.L = &w.mu
	w.flush1 = w.flusher
	w.last = -time.Hour
	w.count = 1 // Hello
}

// roomLocked reports whether a frame of n bytes may be appended. An empty
// buffer takes any frame, within the window.
func (w *writer) roomLocked(n int) bool {
	return (len(w.buf) == 0 || len(w.buf)+n <= w.max) && w.endLocked()+uint64(n) <= w.heard+sendWindow
}

// askLocked appends a Ping when it is time to.
func (w *writer) askLocked() {
	if w.asking || w.parting || w.err != nil || w.endLocked() < w.asked+askEvery {
		return
	}
	w.buf = frame.Header{Type: frame.Ping, Tag: askTag}.Append(w.buf)
	w.count++
	w.asking, w.asked = true, w.endLocked()
}

// answered is called by the reader when the Ack of that Ping has come.
func (w *writer) answered() {
	w.mu.Lock()
	w.asking, w.heard = false, w.asked
	told := w.waiting > 0
	w.askLocked()
	if w.asking {
		w.kick(paceNow)
	} else {
		w.mu.Unlock()
	}
	if told && w.onRoom != nil {
		w.onRoom()
	}
}

// room is roomLocked, for callers that wait.
func (w *writer) room(n int) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roomLocked(n), w.err
}

// send appends a Send frame and sees to its being written. ok is false when there is no
// room. end is the offset in the stream behind the frame, for wasWritten. nth, if
// any, is set to the frame's number on this connection before anybody can answer it.
func (w *writer) send(h *frame.Header, m *connector.Message, port uint32, p pace, nth *atomic.Uint64) (end uint64, ok bool, err error) {
	n := frame.HeaderLen + connector.HeaderLen + len(m.Data)
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return 0, false, w.err
	}
	if !w.roomLocked(n) {
		w.mu.Unlock()
		return 0, false, nil
	}
	h.Len = uint32(n)
	at := len(w.buf)
	if at+n > cap(w.buf) {
		w.buf = bigger(w.buf, n)
	}
	w.buf = append(w.buf, zeroHeader[:]...)
	h.Put(w.buf[at:])
	w.buf, err = m.AppendNative(w.buf, port)
	if err != nil { // too big
		w.buf = w.buf[:at]
		w.mu.Unlock()
		return 0, false, err
	}
	end = w.endLocked()
	w.count++
	if nth != nil {
		nth.Store(w.count)
	}
	w.askLocked()
	w.kick(p)
	return end, true, nil
}

var zeroHeader [frame.HeaderLen]byte

// part is called before the last flush, when nobody sends any more.
func (w *writer) part() {
	w.mu.Lock()
	w.parting = true
	w.mu.Unlock()
}

// control appends any other frame. There are as many of these as operations
// under way and mailboxes, so no bound applies.
func (w *writer) control(h frame.Header, body []byte, p pace) (end uint64, err error) {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return 0, w.err
	}
	if n := frame.HeaderLen + len(body); len(w.buf)+n > cap(w.buf) {
		w.buf = bigger(w.buf, n)
	}
	w.buf = h.Append(w.buf, body...)
	end = w.endLocked()
	w.count++
	w.askLocked() // or senders may find the window full that nobody asks about
	w.kick(p)
	return end, nil
}

func (w *writer) endLocked() uint64 { return w.base + uint64(len(w.fly)) + uint64(len(w.buf)) }

// flush writes what was appended with paceCork.
func (w *writer) flush() {
	w.mu.Lock()
	if w.err != nil || len(w.buf) == 0 {
		w.mu.Unlock()
		return
	}
	w.kick(paceNow)
}

// kick sees to it that somebody writes buf. It is called with mu held and
// releases it.
func (w *writer) kick(p pace) {
	switch {
	case w.writing, p == paceCork && len(w.buf) < keepBuf:
		w.mu.Unlock()
		return
	case !w.try, p == paceBatch && since()-w.last < batchGap:
		w.writing = true
		w.mu.Unlock()
		go w.flush1()
		return
	}
	w.writing = true
	w.takeLocked()
	w.mu.Unlock()
	n, err := w.s.TryWrite(w.fly)
	w.mu.Lock()
	w.flyOff += int(n)
	w.last = since()
	if err != nil && !errors.Is(err, tsocket.ErrAgain) {
		w.failLocked(err)
		return
	}
	if w.flyOff == len(w.fly) {
		w.landedLocked()
	}
	if w.fly != nil || len(w.buf) > 0 {
		w.mu.Unlock()
		go w.flush1()
		return
	}
	w.restLocked()
}

// takeLocked makes buf the bytes in flight.
func (w *writer) takeLocked() {
	w.fly, w.flyOff = w.buf, 0
	w.buf, w.spare = w.spare[:0], nil
}

// landedLocked takes note that all of fly is in the socket.
func (w *writer) landedLocked() {
	w.base += uint64(len(w.fly))
	if w.spare == nil {
		w.spare = w.fly[:0]
	} else {
		giveBack(w.fly)
	}
	w.fly, w.flyOff = nil, 0
}

// restLocked ends the writing and releases mu.
func (w *writer) restLocked() {
	w.writing = false
	w.buf, w.spare = rested(w.buf), rested(w.spare)
	w.quiet.Broadcast()
	told := w.waiting > 0
	w.mu.Unlock()
	if told && w.onRoom != nil {
		w.onRoom()
	}
}

// failLocked ends the writing for good and releases mu. What was not written
// stays where it is, for unsent.
func (w *writer) failLocked(err error) {
	first := w.err == nil
	if first {
		w.err = err
	}
	w.writing = false
	w.quiet.Broadcast()
	w.mu.Unlock()
	if first && w.onFail != nil {
		w.onFail()
	}
	if w.onRoom != nil {
		w.onRoom()
	}
}

// flusher writes until there is nothing left. The caller has set writing.
func (w *writer) flusher() {
	w.mu.Lock()
	for {
		if w.err != nil {
			w.failLocked(w.err)
			return
		}
		if w.fly == nil {
			if len(w.buf) == 0 {
				w.last = since()
				w.restLocked()
				return
			}
			w.takeLocked()
			if w.waiting > 0 && w.onRoom != nil {
				w.mu.Unlock()
				w.onRoom()
				w.mu.Lock()
			}
		}
		b := w.fly[w.flyOff:]
		w.mu.Unlock()
		n, err := w.s.Writev(context.Background(), b)
		w.mu.Lock()
		w.flyOff += int(n)
		if w.flyOff == len(w.fly) {
			w.landedLocked()
		}
		if err != nil {
			w.failLocked(err)
			return
		}
	}
}

// await counts a caller that waits for room, so that it is told.
func (w *writer) await(delta int) {
	w.mu.Lock()
	w.waiting += delta
	w.mu.Unlock()
}

// drain waits until all is written or the writer has failed. Whoever calls it
// sees to it that the socket fails in the end.
func (w *writer) drain() {
	w.mu.Lock()
	for w.writing {
		w.quiet.Wait()
	}
	w.mu.Unlock()
}

// shut makes every later call fail with err.
func (w *writer) shut(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.mu.Unlock()
}

// wasWritten reports whether the frame that ends at that offset has left this
// process: all of it, as the broker acts on nothing less. It is exact once
// the writing has ended.
func (w *writer) wasWritten(end uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return end <= w.base+uint64(w.flyOff)
}

// unsent yields the frames that have not left, once the writing has ended.
func (w *writer) unsent(f func(h frame.Header, body []byte)) {
	w.mu.Lock()
	fly, off, buf := w.fly, w.flyOff, w.buf
	w.mu.Unlock()
	for i := 0; i < len(fly); {
		n := int(binary.NativeEndian.Uint32(fly[i:]))
		if i+n > off {
			yieldFrame(fly[i:i+n], f)
		}
		i += n
	}
	for len(buf) > 0 {
		n := int(binary.NativeEndian.Uint32(buf))
		yieldFrame(buf[:n], f)
		buf = buf[n:]
	}
}

func yieldFrame(b []byte, f func(h frame.Header, body []byte)) {
	if h, body, err := frame.Parse(b); err == nil {
		f(h, body)
	}
}
