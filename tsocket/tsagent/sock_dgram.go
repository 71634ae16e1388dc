package tsagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

func connectorFrom(o *owner) connector.From { return connector.From{Port: o.port, Cred: o.cred} }

// sendTo sends a batch: the datagrams in order, up to the first that fails. With a reply its value is how many were
// sent. Without, those behind a failed one go on, a notice tells of it, and the bytes count against the window.
func (s *sock) sendTo(r *request) error {
	a := s.a
	body := r.body
	if r.h.Flags&FlagMore != 0 || len(s.stage) > 0 || s.stageErr != nil {
		if err := s.addStage(r); err != nil || r.h.Flags&FlagMore != 0 {
			return err
		}
		body = s.stage
		defer func() { s.stage = s.stage[:0] }()
	}
	r.body = body
	limit, err := r.deadline()
	if err != nil {
		return err
	}
	msgs, err := a.names.parseBatch(a.msgs[:0], r.body)
	a.msgs = msgs
	defer clear(msgs)
	if err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	if len(msgs) == 0 {
		return invalid("sendto: no datagram")
	}
	ok, refusal := s.mayAllSend(msgs)
	if r.wantsReply() {
		return s.sendFor(r, msgs[:ok], refusal, limit)
	}
	grant, err := s.sendPosted(msgs, ok, refusal, len(body))
	if grant > 0 {
		s.grantHere(grant)
	}
	return err
}

// sendPosted sends for a request without a reply; the first ok of msgs may go, and size is what they count for. It returns what its owner is to be
// granted at once.
func (s *sock) sendPosted(msgs []tsocket.Message, ok int, refusal error, size int) (grant int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeDgram(); err != nil {
		return 0, err
	}
	if s.out.bytes+size > s.a.cfg.Window {
		return s.roomHere(size), &Error{syscall.ENOBUFS, "sendto: more was sent than the window allows"}
	}
	for {
		s.post(msgs[:ok])
		if refusal == nil {
			break
		}
		s.refused(&msgs[ok], refusal)
		msgs = msgs[ok+1:]
		ok, refusal = s.mayAllSend(msgs)
	}
	if n := len(s.out.queue); s.out.running && n > 0 {
		s.out.queue[n-1].size += size
		s.out.bytes += size
		return 0, nil
	}
	return s.roomHere(size), nil
}

// mayAllSend returns how many of msgs may be sent before one may not, and why.
func (s *sock) mayAllSend(msgs []tsocket.Message) (int, error) {
	for i := range msgs {
		to := msgs[i].Addr
		if to == s.sendsPolicyOK || to.IsZero() {
			continue
		}
		if !s.fits(to) {
			return i, &Error{syscall.EAFNOSUPPORT, fmt.Sprintf("sendto %v: the socket is of family %s", to, familyName(s.family))}
		}
		if err := s.allow(OpSendTo, to); err != nil {
			return i, err
		}
		s.sendsPolicyOK = to
	}
	return len(msgs), nil
}

// sendFor sends for a request that wants to know the outcome.
func (s *sock) sendFor(r *request, msgs []tsocket.Message, refusal error, limit time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeDgram(); err != nil {
		return err
	}
	if s.out.op != nil {
		return errBusy(OpSendTo, s.out.op.op)
	}
	n := 0
	var err error
	if !s.out.running && len(msgs) > 0 && !s.looksUp() {
		n, err = s.trySend(msgs)
	}
	if len(msgs) > n && (err == nil || errors.Is(err, tsocket.ErrAgain)) {
		left := s.a.encodeBatch(msgs[n:])
		if err = s.charge(len(left)); err == nil {
			o := r.laterWithin(s.ctx, limit)
			s.out.op = o
			s.queueOut(outItem{op: OpSendTo, data: left, count: len(msgs) - n, sent: n, refusal: refusal, o: o}, s.sendLoop)
			return nil
		}
	}
	switch {
	case err == nil && refusal == nil:
		r.done(s.num, uint32(n), nil)
	default:
		if err == nil {
			err = refusal
		}
		s.a.stats.failed.Add(1)
		sendReply(r.d, Reply{Op: OpSendTo, Sock: s.num, Errno: errnoOf(err), Value: uint32(n)}, errorText(err))
	}
	return nil
}

// trySend sends without waiting, s.mu held.
func (s *sock) trySend(msgs []tsocket.Message) (n int, err error) {
	for n < len(msgs) && err == nil {
		var k int
		k, err = s.dgram.TrySendBatch(msgs[n:])
		n += k
	}
	s.countSent(msgs[:n])
	return n, err
}

func (s *sock) countSent(msgs []tsocket.Message) {
	sum := 0
	for i := range msgs {
		sum += len(msgs[i].Data)
	}
	s.countOut(sum)
	s.a.stats.datagramOut.Add(uint64(len(msgs)))
}

// post sends msgs, or has them sent behind what waits. A notice tells of each that fails. s.mu is held.
func (s *sock) post(msgs []tsocket.Message) {
	for len(msgs) > 0 && !s.out.running && !s.looksUp() {
		n, err := s.trySend(msgs)
		msgs = msgs[n:]
		switch {
		case err == nil:
		case errors.Is(err, tsocket.ErrAgain):
			s.queueOut(outItem{op: OpSendTo, data: s.a.encodeBatch(msgs)}, s.sendLoop)
			return
		default:
			s.refused(&msgs[0], err)
			msgs = msgs[1:]
		}
	}
	if len(msgs) > 0 {
		s.queueOut(outItem{op: OpSendTo, data: s.a.encodeBatch(msgs)}, s.sendLoop)
	}
}

// refused tells the owner of a datagram that was not sent, s.mu held.
func (s *sock) refused(m *tsocket.Message, err error) {
	n := tsocket.Notice{Dst: m.Addr, Errno: errnoOf(err), Data: m.Data}
	b := headroom(256)
	Header{Op: EvNotice}.put(b)
	s.addNews(OpSendTo, AppendNotice(b, &n))
}

// encodeBatch makes a batch of what has to wait. It takes no more memory than the batch that it was a part of, however many
// datagrams they are, but for an address. It is of the handler.
func (a *Agent) encodeBatch(msgs []tsocket.Message) []byte {
	w := &a.batch
	w.Reset(w.B[:0])
	for i := range msgs {
		w.Add(msgs[i].Data, msgs[i].Addr)
	}
	return bytes.Clone(w.Body())
}

// sendLoop sends what waits, and ends.
func (s *sock) sendLoop() {
	msgs := make([]tsocket.Message, sendBatchSize)
	var in batchReader
	for {
		s.mu.Lock()
		if len(s.out.queue) == 0 {
			s.out.running = false
			s.mu.Unlock()
			return
		}
		it := s.out.queue[0]
		s.out.queue[0] = outItem{}
		s.out.queue = s.out.queue[1:]
		s.mu.Unlock()
		ctx := s.ctx
		if it.o != nil {
			ctx = it.o.ctx
		}
		n, err := 0, error(nil)
		in.reset(it.data)
		for err == nil && ctx.Err() == nil {
			some := in.read(msgs)
			if len(some) == 0 {
				break
			}
			var k int
			k, err = s.sendSome(ctx, some, it.o == nil)
			n += k
		}
		clear(msgs)
		in.reset(nil)
		if it.o != nil {
			s.uncharge(len(it.data))
		}
		s.mu.Lock()
		s.out.bytes -= it.size
		s.room(it.size)
		if it.o != nil && s.out.op == it.o {
			s.out.op = nil
		}
		s.mu.Unlock()
		if it.o != nil {
			if err == nil {
				err = it.refusal
			}
			if it.o.ctx.Err() != nil && n < it.count {
				err = it.o.stopped(err)
			}
			it.o.finish(err, uint32(it.sent+n), nil)
		}
	}
}

// sendBatchSize is how many of what waits are sent at a time.
const sendBatchSize = 64

// sendSome sends msgs, up to the first that fails; if they were posted the owner is told of that one, and the others go on.
func (s *sock) sendSome(ctx context.Context, msgs []tsocket.Message, posted bool) (n int, err error) {
	for n < len(msgs) && ctx.Err() == nil {
		k, err := s.dgram.SendBatch(ctx, msgs[n:])
		s.countSent(msgs[n : n+k])
		n += k
		switch {
		case err == nil:
		case !posted:
			return n, err
		case ctx.Err() == nil:
			s.mu.Lock()
			s.refused(&msgs[n], err)
			s.mu.Unlock()
			n++
		}
	}
	return n, nil
}

// recvFrom receives: at least one datagram, and as many more as are there, up to arg (0: any number) and
// what one message takes.
func (s *sock) recvFrom(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeDgram(); err != nil {
		return err
	}
	most := int(min(r.h.Arg, maxBatch))
	if most == 0 {
		most = maxBatch
	}
	return s.beginIn(r, most, (*sock).recvLoop)
}

// recvBatchSize is how many datagrams are received at a time.
const recvBatchSize = 64

// recvLoop receives for RECVFROM, or as much as WINDOW says, which goes out as EvDatagrams.
func (s *sock) recvLoop() {
	var in receiver
	for {
		o, want, _, ok := s.nextIn()
		if !ok {
			s.quitIn(errSockGone)
			return
		}
		if o != nil {
			in.held = s.recvFor(o, want, in.held, &in.w)
			continue
		}
		if err := in.receive(s.ctx, s); err != nil && s.ctx.Err() == nil {
			s.recvFailed(err)
		}
	}
}

// A receiver receives, and sends what has come to the owner.
type receiver struct {
	pieces pieceReader
	msgs   []tsocket.Message
	held   *tsocket.Message // was received before
	w      BatchWriter
}

// receive receives once. Without ctx it does not wait: tsocket.ErrAgain.
func (in *receiver) receive(ctx context.Context, s *sock) error {
	if in.held == nil {
		if done, err := in.pieces.receive(ctx, s); done {
			return err
		}
	}
	if in.msgs == nil {
		in.msgs = make([]tsocket.Message, recvBatchSize)
	}
	n, err := 0, error(nil)
	in.w.Reset(append(in.w.B[:0], zeroHeader[:]...))
	switch {
	case in.held != nil:
		in.msgs[0], in.held, n = *in.held, nil, 1
	case ctx == nil:
		n, err = s.dgram.TryRecvBatch(in.msgs)
	default:
		n, err = s.dgram.RecvBatch(ctx, in.msgs)
	}
	if err != nil {
		return err
	}
	s.received(&in.w, in.msgs[:n])
	s.sendBatch(in.w.Body(), false)
	return nil
}

// sendBatch sends a batch, or a part of one that has more, as EvDatagrams. m begins with room for a header.
func (s *sock) sendBatch(m []byte, more bool) {
	s.mu.Lock()
	s.in.credit -= int64(len(m) - HeaderLen)
	s.mu.Unlock()
	s.pieces(EvDatagrams, m, more)
}

// received puts msgs into w.
func (s *sock) received(w *BatchWriter, msgs []tsocket.Message) {
	sum := 0
	for i := range msgs {
		w.Add(msgs[i].Data, msgs[i].Addr)
		sum += len(msgs[i].Data)
	}
	s.countIn(sum)
	s.a.stats.datagramsIn.Add(uint64(len(msgs)))
}

// pieces sends an event in as many messages as it takes. m begins with room for a header.
func (s *sock) pieces(op Op, m []byte, more bool) {
	for len(m) > HeaderLen+MaxBody {
		s.event(Header{Op: op, Flags: FlagMore}, m[:HeaderLen+MaxBody])
		m = m[MaxBody:] // the header of the next piece is where the end of this one was
	}
	h := Header{Op: op}
	if more {
		h.Flags = FlagMore
	}
	s.event(h, m)
}

// recvFailed tells of an error that came instead of a datagram: once, and the next receive goes on.
func (s *sock) recvFailed(err error) {
	var n *tsocket.Notice
	if errors.As(err, &n) {
		s.event(Header{Op: EvNotice}, AppendNotice(headroom(640), n))
		return
	}
	s.event(Header{Op: EvReceiveError}, appendErrno(headroom(64), err))
}

// recvFor receives for o. A datagram that does not fit behind the others is held for the next.
func (s *sock) recvFor(o *operation, want int, held *tsocket.Message, w *BatchWriter) (_ *tsocket.Message) {
	w.Reset(w.B[:0])
	one := make([]tsocket.Message, 1)
	for w.Len() < want {
		var err error
		switch {
		case held != nil:
			one[0], held = *held, nil
		case w.Len() == 0:
			_, err = s.dgram.RecvBatch(o.ctx, one)
		default:
			_, err = s.dgram.TryRecvBatch(one)
		}
		if err != nil {
			if w.Len() > 0 {
				break // an error of a datagram comes again, or was one of no datagram
			}
			s.endIn(o, o.stopped(err), 0, nil)
			return nil
		}
		m := &one[0]
		if need := len(w.B) + recordLen + maxRaw + len(m.Data) + 8; need > MaxBody {
			held = &tsocket.Message{Data: bytes.Clone(m.Data), Addr: m.Addr}
			if w.Len() > 0 {
				break
			}
			s.endIn(o, &Error{syscall.EMSGSIZE, fmt.Sprintf("recvfrom: a datagram of %d bytes does not fit into one message: use WINDOW; it is kept", len(m.Data))}, 0, nil)
			return held
		}
		s.received(w, one)
	}
	n := w.Len()
	s.endIn(o, nil, uint32(n), w.Body())
	return held
}
