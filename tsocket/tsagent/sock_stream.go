package tsagent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// readv reads: arg bytes, at most what one message takes; with FlagAll not fewer, unless the stream ends or the
// operation is stopped.
func (s *sock) readv(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stream == nil && s.kind == kindStream:
		return errNotConnected
	case s.stream == nil:
		return errStreamOnly
	case r.h.Arg == 0:
		return invalid("readv: nothing to read")
	case r.h.Arg > MaxBody:
		return &Error{syscall.EMSGSIZE, "readv: more than one message takes"}
	}
	return s.beginIn(r, int(r.h.Arg), (*sock).readLoop)
}

// readLoop reads for READV, or as much as WINDOW says, which goes out as EvData.
func (s *sock) readLoop() {
	buf := make([]byte, HeaderLen+MaxBody)
	defer func() { s.drain(buf) }()
	for {
		o, want, credit, ok := s.nextIn()
		if !ok {
			s.quitIn(errSockGone)
			return
		}
		if o != nil {
			s.readFor(o, buf[:want])
			continue
		}
		n, err := s.stream.ReadSome(s.ctx, buf[HeaderLen:HeaderLen+min(credit, MaxBody)])
		if n > 0 {
			s.countIn(n)
			s.mu.Lock()
			s.in.credit -= int64(n)
			s.mu.Unlock()
			s.event(Header{Op: EvData}, buf[:HeaderLen+n])
		}
		if err != nil {
			s.quitIn(readEnd(err))
			if s.ctx.Err() == nil {
				s.event(Header{Op: EvEnd}, appendErrno(headroom(64), endError(err)))
			}
			return
		}
	}
}

// drain is what becomes of reading when the socket is closed while its writes go on: the peer must not wait for it
// either. Its bytes are lost, as they are when a kernel's socket is closed.
func (s *sock) drain(buf []byte) {
	s.mu.Lock()
	lingers := s.out.lingers
	s.mu.Unlock()
	if !lingers {
		return
	}
	if s.family == unix.AF_UNIX {
		_ = s.stream.SyscallFD(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) })
	}
	for s.outCtx.Err() == nil {
		if _, err := s.stream.ReadSome(s.outCtx, buf); err != nil {
			return
		}
	}
}

func (s *sock) countIn(n int) {
	s.bytesIn.Add(uint64(n))
	s.a.stats.bytesIn.Add(uint64(n))
}

// readEnd is what a READV is told after the end.
func readEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return tsocket.ErrEOF
	}
	return err
}

// endError is what EvEnd tells: nothing where the peer has finished writing.
func endError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// readFor reads for o.
func (s *sock) readFor(o *operation, b []byte) {
	got := 0
	var err error
	for got < len(b) && err == nil {
		var n int
		n, err = s.stream.ReadSome(o.ctx, b[got:])
		got += n
		if o.flags&FlagAll == 0 {
			break
		}
	}
	s.countIn(got)
	if got > 0 { // what is the matter is for the next one
		s.endIn(o, nil, uint32(got), b[:got])
		return
	}
	s.endIn(o, o.stopped(readEnd(err)), 0, nil)
}

// pending tells how many bytes can be read without waiting.
func (s *sock) pending(r *request) error {
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	if stream == nil {
		return errNotConnected
	}
	n, err := stream.PendingBytes()
	if err == nil {
		r.done(s.num, uint32(n), nil)
	}
	return err
}

// writev writes the body: now, or behind what waits. With a reply that is when all of it is written; without, the bytes
// count against the window.
func (s *sock) writev(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var o *operation
	var err error
	switch {
	case s.stream == nil && s.kind == kindStream:
		return errNotConnected
	case s.stream == nil:
		return errStreamOnly
	}
	if r.wantsReply() && s.out.op != nil {
		return errBusy(OpWritev, s.out.op.op)
	}
	if r.wantsReply() && (s.out.running || r.h.Flags&FlagDeadline != 0) {
		if o, err = r.later(s.outCtx); err != nil {
			return err
		}
	}
	all := len(r.body)
	switch {
	case !r.wantsReply() && r.h.Flags&FlagDeadline != 0:
		return invalid("writev: a deadline is for who waits for the reply")
	case all == 0:
		return invalid("writev: nothing to write")
	case s.out.err != nil:
		return s.writeRefused(r)
	}
	if !s.out.running {
		var done bool
		if done, err = s.writeNow(r); done {
			return err
		}
	}
	if !r.wantsReply() && s.out.bytes+len(r.body) > s.a.cfg.Window {
		s.failOut(&Error{syscall.ENOBUFS, "writev: more was written than the window allows"})
		return nil
	}
	if o == nil && r.wantsReply() {
		if o, err = r.later(s.outCtx); err != nil {
			return err
		}
	}
	if o != nil {
		s.out.op = o
	}
	s.queueOut(outItem{op: OpWritev, data: bytes.Clone(r.body), size: len(r.body), sent: all - len(r.body), o: o}, s.writeLoop)
	return nil
}

// writeRefused is the outcome of a write behind an error, which was told unless a reply is wanted.
func (s *sock) writeRefused(r *request) error {
	if r.wantsReply() {
		return s.out.err
	}
	return nil
}

// writeNow writes what there is room for, and reports whether that was all. s.mu is held.
func (s *sock) writeNow(r *request) (done bool, err error) {
	all := len(r.body)
	if r.h.Flags&FlagDeadline != 0 {
		return false, nil
	}
	for len(r.body) > 0 && err == nil {
		var n int64
		n, err = s.stream.TryWrite(r.body)
		r.body = r.body[n:]
	}
	s.countOut(all - len(r.body))
	switch {
	case err == nil:
		s.written(r.wantsReply(), all)
		r.done(s.num, uint32(all), nil)
		return true, nil
	case errors.Is(err, tsocket.ErrAgain):
		s.written(r.wantsReply(), all-len(r.body))
		return false, nil
	}
	s.failOut(err)
	return true, s.writeRefused(r)
}

func (s *sock) countOut(n int) {
	s.bytesOut.Add(uint64(n))
	s.a.stats.bytesOut.Add(uint64(n))
}

// written returns what was written to the window, if it was of it.
func (s *sock) written(reply bool, n int) {
	if !reply {
		s.room(n)
	}
}

// failOut ends the writing, and has the owner told. s.mu is held.
func (s *sock) failOut(err error) {
	if s.out.err != nil || s.closed {
		return
	}
	s.out.err = err
	s.news.writeErr = err
	s.own.tell(s)
}

// queueOut has the goroutine that writes do one more thing. s.mu is held.
func (s *sock) queueOut(it outItem, loop func()) {
	s.out.queue = append(s.out.queue, it)
	s.out.bytes += it.size
	if !s.out.running {
		s.out.running = s.a.spawn(loop)
	}
}

// writeLoop does what waits, and ends.
func (s *sock) writeLoop() {
	for {
		s.mu.Lock()
		if len(s.out.queue) == 0 {
			s.out.running = false
			lingers := s.out.lingers
			s.mu.Unlock()
			if lingers {
				s.free()
			}
			return
		}
		it := s.out.queue[0]
		s.out.queue[0] = outItem{}
		s.out.queue = s.out.queue[1:]
		refused := s.out.err
		s.mu.Unlock()
		ctx := s.outCtx
		if it.o != nil {
			ctx = it.o.ctx
		}
		var n int64
		err := refused
		switch {
		case it.op == OpDisconnect:
			s.mu.Lock()
			if s.out.op == it.o {
				s.out.op = nil
			}
			s.mu.Unlock()
			s.ended(it.o)
			continue
		case err == nil && it.op == OpCloseWrite:
			err = s.stream.CloseWrite(ctx)
		case err == nil:
			n, err = s.stream.Writev(ctx, it.data)
		}
		s.wrote(it, n, err, refused)
	}
}

// wrote accounts for an item that was done. One that was stopped stops nothing else.
func (s *sock) wrote(it outItem, n int64, err, refused error) {
	s.countOut(int(n))
	s.mu.Lock()
	s.out.bytes -= it.size
	if it.o != nil && s.out.op == it.o {
		s.out.op = nil
	}
	if it.o == nil && err == nil {
		s.room(it.size)
	}
	stopped := it.o != nil && it.o.ctx.Err() != nil
	if err != nil && refused == nil && !stopped {
		s.failOut(err)
	}
	s.mu.Unlock()
	if it.o != nil {
		if err != nil && stopped {
			err = it.o.stopped(err)
		}
		it.o.finish(err, uint32(it.sent)+uint32(n), nil)
	}
}

// closeWrite ends the writing, behind what waits.
func (s *sock) closeWrite(r *request) error { return s.behindWrites(r, OpCloseWrite) }

// disconnect closes the socket behind what waits; the reply tells that all was written.
func (s *sock) disconnect(r *request) error {
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	if stream == nil {
		return s.doClose(r)
	}
	return s.behindWrites(r, OpDisconnect)
}

func (s *sock) behindWrites(r *request, op Op) error {
	o, err := r.later(s.outCtx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	switch {
	case s.stream == nil:
		err = errNotConnected
	case s.out.op != nil:
		err = errBusy(op, s.out.op.op)
	case s.out.err != nil && op != OpDisconnect:
		err = s.out.err
	case s.out.running:
		s.out.op = o
		s.queueOut(outItem{op: op, o: o}, s.writeLoop)
		s.mu.Unlock()
		return nil
	case op == OpCloseWrite:
		err = s.stream.CloseWrite(context.Background())
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case op == OpDisconnect:
		s.ended(o)
	default:
		o.finish(nil, 0, nil)
	}
	return nil
}

// ended closes the socket for a DISCONNECT.
func (s *sock) ended(o *operation) {
	if o.ctx.Err() != nil {
		o.finish(o.stopped(o.ctx.Err()), 0, nil)
		return
	}
	s.close()
	o.finish(nil, 0, nil)
}

// doMonitor completes when the connection is broken or the peer has ended it: with a reply, or with EvHangup.
func (s *sock) doMonitor(r *request) error {
	s.mu.Lock()
	stream := s.stream
	var o *operation
	var err error
	switch {
	case stream == nil:
		err = errNotConnected
	case !r.wantsReply():
		s.hangup = true
	case s.monitor != nil:
		err = &Error{syscall.EALREADY, "monitor: the socket is monitored already"}
	default:
		o, err = r.later(s.ctx)
		s.monitor = o
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if o != nil {
		context.AfterFunc(o.ctx, func() { s.endMonitor(o, o.stopped(nil)) })
	}
	stream.MonitorSend(s.ctx).OnDone(func(m *tsocket.Request[struct{}]) {
		_, err := m.Result()
		s.hungUp(err)
	})
	return nil
}

// hungUp tells whoever monitors.
func (s *sock) hungUp(err error) {
	if errors.Is(err, syscall.EALREADY) || s.ctx.Err() != nil {
		return // the other monitor tells both
	}
	s.mu.Lock()
	o := s.monitor
	s.monitor = nil
	if s.hangup && !s.closed {
		s.hangup = false
		s.news.hangup = err
		s.own.tell(s)
	}
	s.mu.Unlock()
	if o != nil {
		o.finish(err, 0, nil)
	}
}

func (s *sock) endMonitor(o *operation, err error) {
	s.mu.Lock()
	if s.monitor == o {
		s.monitor = nil
	}
	s.mu.Unlock()
	if err != nil {
		o.finish(err, 0, nil)
	}
}
