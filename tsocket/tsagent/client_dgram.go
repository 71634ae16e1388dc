package tsagent

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// clientDgram is the ops of a datagram socket of the agent.
//
// A send waits for its completion, so that its error is that of its datagram. With notices on (Dgram.SetNotices) it does
// not: it waits for room in the window only, and a notice tells of a datagram that could not be sent.
type clientDgram struct {
	c             *Client
	num           uint32
	local, remote tsocket.Addr

	out  BatchWriter // of who sends
	sent int         // bytes of batches; of who sends
	last *inBatch    // which the last receive was of; of who receives

	pushing   sync.Mutex // held while take runs; guards the two below
	pushed    []tsocket.Message
	pushNames rawNames

	mu       sync.Mutex                                         // guards the fields below
	take     func(msgs []tsocket.Message, err error, over bool) // see Push
	seq      uint32
	closed   bool
	err      error // the socket is lost
	notices  bool
	fill     *inBatch // of several messages, of which there are more to come
	queue    []*inBatch
	queued   int // bytes
	spare    []*inBatch
	names    rawNames
	taken    int // bytes received and not granted again
	window   int // bytes that the agent takes
	limit    int // the largest window there was
	sendErr  error
	bound    tsocket.Addr
	readable chan struct{}
	writable chan struct{}
}

// inBatch is datagrams that have come, or an error that came between them.
type inBatch struct {
	mem  []byte
	msgs []tsocket.Message
	next int
	err  error
}

func newClientDgram(c *Client, num uint32, window int) *clientDgram {
	return &clientDgram{
		c: c, num: num, window: window, limit: window,
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
	}
}

// event takes what the agent tells.
func (s *clientDgram) event(h Header, seq uint32, body []byte) {
	s.mu.Lock()
	if s.take != nil && h.Op == EvDatagrams && h.Flags&FlagMore == 0 && s.fill == nil && len(s.queue) == 0 && s.err == nil && seq == s.seq+1 {
		s.seq++
		s.mu.Unlock()
		s.handOver(body)
		return
	}
	s.seq++
	switch {
	case s.closed || s.err != nil:
	case seq != s.seq:
		s.err = &Error{syscall.EIO, "events of the socket were lost"}
	case h.Op == EvDatagrams:
		if err := s.arrived(h, body); err != nil {
			s.err = err
		} else if h.Flags&FlagMore != 0 {
			s.mu.Unlock()
			return
		}
	case h.Op == EvNotice:
		n, err := ParseNotice(body)
		switch {
		case err != nil:
			s.err = err
		case s.notices:
			n.Data = append([]byte(nil), n.Data...)
			s.interrupt(n)
		default:
			s.interrupt(n.Errno)
		}
	case h.Op == EvReceiveError:
		if why, _ := parseErrno(body); why != nil {
			s.interrupt(why)
		}
	case h.Op == EvWindow:
		s.granted(h.Arg)
	case h.Op == EvError:
		s.failed(h, body)
	}
	pushes := s.take != nil
	s.mu.Unlock()
	wake(s.readable)
	wake(s.writable)
	if pushes {
		s.handOverQueue()
	}
}

// granted takes room that the agent has again, s.mu held.
func (s *clientDgram) granted(n uint64) {
	s.window += int(min(n, 1<<30))
	s.limit = max(s.limit, s.window)
}

// failed: a request without reply failed. One about datagrams is an error of theirs only.
func (s *clientDgram) failed(h Header, body []byte) {
	why, err := parseErrno(body)
	switch {
	case err != nil:
		s.err = err
	case h.Arg == uint64(OpSendTo) && why != nil && !errors.Is(why, syscall.EBADF):
		s.sendErr = why
	case h.Arg == uint64(OpSetOpt) && why != nil && !errors.Is(why, syscall.EBADF): // a hint
	case why != nil:
		s.err = why
	default:
		s.err = ErrDown
	}
}

// arrived takes datagrams, s.mu held.
func (s *clientDgram) arrived(h Header, body []byte) error {
	b := s.fill
	if b == nil {
		b = s.fresh()
	}
	if s.queued+len(b.mem)+len(body) > s.c.cfg.Window+maxStage+recvBatchSize<<16 {
		return &Error{syscall.EPROTO, "the agent sent more than the window allows"}
	}
	b.mem = append(b.mem, body...)
	if s.fill = b; h.Flags&FlagMore != 0 {
		return nil
	}
	s.fill = nil
	var err error
	if b.msgs, err = s.names.parseBatch(b.msgs, b.mem); err != nil {
		return err
	}
	if len(b.msgs) > 0 {
		s.queue = append(s.queue, b)
		s.queued += len(b.mem)
	}
	return nil
}

// fresh returns an empty batch, s.mu held.
func (s *clientDgram) fresh() *inBatch {
	n := len(s.spare)
	if n == 0 {
		return new(inBatch)
	}
	b := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return b
}

// interrupt puts an error between the datagrams, s.mu held.
func (s *clientDgram) interrupt(err error) {
	const most = 256
	if len(s.queue) < most {
		s.queue = append(s.queue, &inBatch{err: err})
	}
}

func (s *clientDgram) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	pushes := s.take != nil
	s.mu.Unlock()
	wake(s.readable)
	wake(s.writable)
	if pushes {
		s.handOverQueue()
	}
}

// head returns the batch that is next. What the last receive was of is done with.
func (s *clientDgram) head() (*inBatch, error) {
	s.mu.Lock()
	grant := 0
	if b := s.last; b != nil && b.next == len(b.msgs) {
		s.last = nil
		s.queued -= len(b.mem)
		s.taken += len(b.mem)
		if s.taken >= s.c.cfg.Window/2 {
			grant, s.taken = s.taken, 0
		}
		clear(b.msgs)
		*b = inBatch{mem: b.mem[:0], msgs: b.msgs[:0]}
		if len(s.spare) < 8 {
			s.spare = append(s.spare, b)
		}
	}
	b, err := s.last, error(nil)
	if b == nil {
		b, err = s.pop()
	}
	s.mu.Unlock()
	if grant > 0 {
		_ = s.c.postHeader(Header{Op: OpWindow, Sock: s.num, Arg: uint64(grant)})
	}
	return b, err
}

// pop takes the next batch or error, s.mu held.
func (s *clientDgram) pop() (*inBatch, error) {
	switch {
	case s.closed:
		return nil, tsocket.ErrClosed
	case len(s.queue) > 0:
		b := s.queue[0]
		n := copy(s.queue, s.queue[1:]) // short, and its memory is used again
		s.queue[n] = nil
		s.queue = s.queue[:n]
		if b.err != nil {
			return nil, b.err
		}
		s.last = b
		return b, nil
	case s.err != nil:
		return nil, s.err
	}
	return nil, tsocket.ErrAgain
}

// TryRecvFrom returns the next datagram.
func (s *clientDgram) TryRecvFrom([]byte) ([]byte, tsocket.Addr, error) {
	b, err := s.head()
	if err != nil {
		return nil, tsocket.Addr{}, err
	}
	m := &b.msgs[b.next]
	b.next++
	return m.Data, m.Addr, nil
}

// RecvFrom waits for the next datagram.
func (s *clientDgram) RecvFrom(ctx context.Context, b []byte) ([]byte, tsocket.Addr, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, tsocket.Addr{}, err
		}
		if data, src, err := s.TryRecvFrom(b); err != tsocket.ErrAgain {
			return data, src, err
		}
		if err := s.wait(ctx, s.readable); err != nil {
			return nil, tsocket.Addr{}, err
		}
	}
}

func (s *clientDgram) wait(ctx context.Context, c chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TryRecvBatch returns what has come, of one batch of the agent.
func (s *clientDgram) TryRecvBatch(msgs []tsocket.Message) (int, error) {
	b, err := s.head()
	if err != nil {
		return 0, err
	}
	n := min(len(msgs), len(b.msgs)-b.next)
	for i := range n {
		from, m := &b.msgs[b.next+i], &msgs[i]
		m.Addr = from.Addr
		if len(m.Buf) > 0 && len(from.Data) <= len(m.Buf) {
			m.Data = m.Buf[:copy(m.Buf, from.Data)]
		} else {
			m.Data = from.Data
		}
	}
	b.next += n
	return n, nil
}

// RecvBatch waits for datagrams.
func (s *clientDgram) RecvBatch(ctx context.Context, msgs []tsocket.Message) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n, err := s.TryRecvBatch(msgs); err != tsocket.ErrAgain {
			return n, err
		}
		if err := s.wait(ctx, s.readable); err != nil {
			return 0, err
		}
	}
}

// together returns how many of msgs go as one batch, and at most how many bytes that is.
func together(msgs []tsocket.Message) (n, most int) {
	for n < len(msgs) && n < maxBatch {
		k := len(msgs[n].Data)
		if n > 0 && most+k > batchBytes {
			break
		}
		most += k + recordLen + 2*4
		if n == 0 || msgs[n].Addr != msgs[n-1].Addr {
			most += maxRaw
		}
		n++
	}
	return n, most
}

// encode makes the messages of a batch and sends all but the last, which it returns. Each is a batch by itself and small enough to
// be in the processor's cache when it is read again; only a datagram that is longer than a message is cut up.
func (s *clientDgram) encode(h Header, msgs []tsocket.Message) (last []byte, err error) {
	w := &s.out
	more := h
	more.Flags |= FlagMore | FlagNoReply
	w.Reset(append(w.B[:0], zeroHeader[:]...))
	for i := range msgs {
		if w.Len() > 0 && !w.fits(len(msgs[i].Data), HeaderLen+MaxBody) {
			if err := s.flush(more); err != nil {
				return nil, err
			}
		}
		w.Add(msgs[i].Data, msgs[i].Addr)
		if len(w.B) > HeaderLen+MaxBody && i < len(msgs)-1 {
			if err := s.flush(more); err != nil {
				return nil, err
			}
		}
	}
	m := w.Body()
	for len(m) > HeaderLen+MaxBody {
		more.put(m)
		if err := s.postPart(m[:HeaderLen+MaxBody]); err != nil {
			return nil, err
		}
		m = m[MaxBody:] // the header of the next piece is where the end of this one was
	}
	h.put(m)
	return m, nil
}

// postPart sends a message of a batch.
func (s *clientDgram) postPart(m []byte) error {
	s.sent += len(m) - HeaderLen
	return s.c.post(s.num, m)
}

// flush sends what there is as a part of a batch.
func (s *clientDgram) flush(more Header) error {
	m := s.out.Body()
	var err error
	for len(m) > HeaderLen && err == nil {
		n := min(len(m), HeaderLen+MaxBody)
		more.put(m)
		err = s.postPart(m[:n])
		m = m[n-HeaderLen:]
	}
	s.out.Reset(append(s.out.B[:0], zeroHeader[:]...))
	return err
}

var zeroHeader [HeaderLen]byte

// mayPost reports whether a send is not to wait for its completion, and what is wrong.
func (s *clientDgram) mayPost() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return false, tsocket.ErrClosed
	case s.err != nil:
		return false, s.err
	case s.sendErr != nil:
		err := s.sendErr
		s.sendErr = nil
		return false, err
	}
	return s.notices, nil
}

// post sends as many of msgs as go together, if the window has room for them.
func (s *clientDgram) post(msgs []tsocket.Message) (int, error) {
	n, most := together(msgs)
	s.mu.Lock()
	if s.window < min(most, s.limit) {
		s.mu.Unlock()
		return 0, tsocket.ErrAgain
	}
	s.mu.Unlock()
	before := s.sent
	last, err := s.encode(Header{Op: OpSendTo, Flags: FlagNoReply, Sock: s.num}, msgs[:n])
	if err == nil {
		err = s.postPart(last)
	}
	s.mu.Lock()
	s.window -= s.sent - before
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return n, nil
}

// TrySendBatch posts what there is room for; without notices it would have to wait.
func (s *clientDgram) TrySendBatch(msgs []tsocket.Message) (n int, err error) {
	posting, err := s.mayPost()
	if err == nil && !posting {
		err = tsocket.ErrAgain
	}
	for n < len(msgs) && err == nil {
		var k int
		k, err = s.post(msgs[n:])
		n += k
	}
	return n, err
}

// SendBatch sends all of msgs.
func (s *clientDgram) SendBatch(ctx context.Context, msgs []tsocket.Message) (n int, err error) {
	for n < len(msgs) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		posting, err := s.mayPost()
		if err != nil {
			return n, err
		}
		var k int
		if posting {
			k, err = s.post(msgs[n:])
		} else {
			k, err = s.confirmed(ctx, msgs[n:])
		}
		n += k
		if err == tsocket.ErrAgain {
			err = s.wait(ctx, s.writable)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// confirmed sends as many of msgs as go together and waits for the outcome.
func (s *clientDgram) confirmed(ctx context.Context, msgs []tsocket.Message) (int, error) {
	h := Header{Op: OpSendTo, Sock: s.num}
	n, _ := together(msgs)
	last, err := s.encode(h, msgs[:n])
	if err != nil {
		return 0, err
	}
	r, _, err := s.c.callData(ctx, h, last)
	return min(int(r.Value), len(msgs)), err
}

// TrySendTo is SendTo without waiting.
func (s *clientDgram) TrySendTo(b []byte, dst tsocket.Addr) error {
	_, err := s.TrySendBatch([]tsocket.Message{{Data: b, Addr: dst}})
	return err
}

// SendTo sends b.
func (s *clientDgram) SendTo(ctx context.Context, b []byte, dst tsocket.Addr) error {
	_, err := s.SendBatch(ctx, []tsocket.Message{{Data: b, Addr: dst}})
	return err
}

// Disconnect closes the socket.
func (s *clientDgram) Disconnect(ctx context.Context) error {
	s.mu.Lock()
	down := errors.Is(s.err, ErrDown)
	s.mu.Unlock()
	return s.c.disconnect(ctx, s.num, down, s)
}

// Close has the agent close the socket.
func (s *clientDgram) Close() error {
	if s.shut() {
		_ = s.c.postHeader(Header{Op: OpClose, Sock: s.num})
	}
	return nil
}

func (s *clientDgram) shut() bool {
	s.c.remove(s.num, s)
	s.mu.Lock()
	was, lost := s.closed, s.err
	s.closed = true
	s.queue = nil
	s.mu.Unlock()
	wake(s.readable)
	wake(s.writable)
	s.quiet()
	return !was && !errors.Is(lost, ErrDown)
}

// LocalAddr returns the address; the kernel chooses a port as late as with the first datagram that is sent.
func (s *clientDgram) LocalAddr() tsocket.Addr {
	s.mu.Lock()
	bound, closed := s.bound, s.closed || s.err != nil
	s.mu.Unlock()
	switch {
	case s.local.IsUnix(), s.local.Port() != 0, closed:
		return s.local
	case bound.Port() != 0:
		return bound
	}
	_, names, err := s.c.call(s.c.ctx, Header{Op: OpGetName, Sock: s.num}, nil)
	if err == nil {
		bound, _, err = parseNames(names)
	}
	if err != nil || bound.IsZero() {
		return s.local
	}
	s.mu.Lock()
	s.bound = bound
	s.mu.Unlock()
	return bound
}

func (s *clientDgram) RemoteAddr() tsocket.Addr { return s.remote }

// SetNotices is that of Dgram.
func (s *clientDgram) SetNotices(on bool) error {
	err := s.c.setOpt(s.num, OptNotices, flag(on))
	if err == nil {
		s.mu.Lock()
		s.notices = on
		s.mu.Unlock()
	}
	return err
}

// SetBuffers is that of Dgram.
func (s *clientDgram) SetBuffers(receive, send int) error {
	return s.c.setOpt(s.num, OptBuffers, int64(receive), int64(send))
}

// SetMTUMode is that of Dgram. With notices on it is not waited for, as sends are not.
func (s *clientDgram) SetMTUMode(m tsocket.MTUMode) error {
	s.mu.Lock()
	posting := s.notices
	s.mu.Unlock()
	if !posting {
		return s.c.setOpt(s.num, OptMTUMode, int64(m))
	}
	h := Header{Op: OpSetOpt, Flags: FlagNoReply, Sock: s.num, Arg: uint64(OptMTUMode)}
	return s.c.post(s.num, native.AppendUint64(h.Append(nil), uint64(m)))
}

// PathMTU is that of Dgram.
func (s *clientDgram) PathMTU() (int, error) {
	v, err := s.c.getOpt(s.num, OptPathMTU)
	return clampInt(v[0]), err
}

// MTUMode is that of Dgram.
func (s *clientDgram) MTUMode() (tsocket.MTUMode, error) {
	v, err := s.c.getOpt(s.num, OptMTUMode)
	return tsocket.MTUMode(v[0]), err
}

// Notices is that of Dgram.
func (s *clientDgram) Notices() (bool, error) {
	v, err := s.c.getOpt(s.num, OptNotices)
	return v[0] != 0, err
}

var (
	_ tsocket.TryDgramOps = (*clientDgram)(nil)
	_ tsocket.TryBatchOps = (*clientDgram)(nil)
	_ tsocket.NoticeOps   = (*clientDgram)(nil)
	_ tsocket.AddrOps     = (*clientDgram)(nil)
)

var (
	_ tsocket.MTUOps    = (*clientDgram)(nil)
	_ tsocket.BufferOps = (*clientDgram)(nil)
)
