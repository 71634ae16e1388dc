package tsocket

import (
	"bytes"
	"context"
	"io"
)

// PDUReader reads PDUs from a stream, as many as are there with one system
// call. What it reads too much belongs to the stream (PendingBytes counts it): other
// reads, another reader, or a protocol that is started on top of the stream get it. The
// reader itself holds nothing that could be lost.
type PDUReader struct {
	s    *Stream
	size SizeFunc
	max  int
	last []byte
	vec  [1][]byte
}

// NewPDUReader returns a reader of PDUs of at most max bytes each.
func NewPDUReader(s *Stream, size SizeFunc, max int) *PDUReader {
	return &PDUReader{s: s, size: size, max: max}
}

// Next returns the next PDU, whole. It is borrowed: valid until the next read of
// any kind from the stream; see Detach. The errors are those of Readv; ErrFrame if the PDU
// is longer than the limit, which is the error of all later calls too, and so is that of the
// SizeFunc. ErrEOF is the end between two PDUs. No byte is lost when ctx ends.
func (r *PDUReader) Next(ctx context.Context) ([]byte, error) {
	if err := r.s.enterAhead("read pdu"); err != nil {
		return nil, err
	}
	pdu, err := r.next(ctx)
	if err == errInterrupted {
		pdu, err = nil, opError("read pdu", 0, ctxError(ctx))
	}
	r.last = pdu
	r.s.word.leave(bitIn)
	return pdu, err
}

// Detach returns the PDU that Next returned last in memory of its own. It is to
// be called before the next read from the stream.
func (r *PDUReader) Detach() []byte { return bytes.Clone(r.last) }

// NextSend starts a Next whose PDU has memory of its own.
func (r *PDUReader) NextSend(ctx context.Context) *Request[[]byte] {
	if err := r.s.enterAhead("read pdu"); err != nil {
		return finishedAt[[]byte](&r.s.home, nil, err)
	}
	return sendRead(ctx, r.s, tryJob[[]byte](&nextJob{r}))
}

func (r *PDUReader) next(ctx context.Context) ([]byte, error) {
	for {
		pdu, room, err := r.look()
		if pdu != nil || err != nil {
			return pdu, err
		}
		r.vec[0] = room
		n, err := r.s.ops.ReadSome(ctx, r.vec[:])
		r.vec[0] = nil
		if err = r.got(n, err); err != nil {
			if interrupted(ctx, err) {
				err = errInterrupted
			}
			return nil, r.outcome(err)
		}
	}
}

// tryNext is next that returns errInterrupted where it would wait.
func (r *PDUReader) tryNext() ([]byte, error) {
	for {
		pdu, room, err := r.look()
		if pdu != nil || err != nil {
			return pdu, err
		}
		if r.s.try == nil {
			return nil, errInterrupted
		}
		r.vec[0] = room
		n, err := r.s.try.TryRead(r.vec[:])
		r.vec[0] = nil
		if err = r.got(n, err); err != nil {
			if isErr(err, ErrAgain) {
				err = errInterrupted
			}
			return nil, r.outcome(err)
		}
	}
}

// look takes the next PDU from what was read, or returns room to read into.
func (r *PDUReader) look() (pdu, room []byte, err error) {
	a := &r.s.rd().ahead
	have := a.bytes()
	total := 0
	if len(have) > 0 {
		if total, err = r.size(have); err == nil && (total < 0 || total > r.max || total == 0 && len(have) >= r.max) {
			err = ErrFrame
		}
		if err != nil {
			return nil, nil, opError("read pdu", 0, err)
		}
	}
	if total > 0 && total <= len(have) {
		pdu = have[:total:total]
		a.discard(total)
		return pdu, nil, nil
	}
	if e := r.s.readErr.Load(); e != nil { // it ended behind what was read
		return nil, nil, r.outcome(e.Err)
	}
	return nil, a.room(total), nil
}

func (r *PDUReader) got(n int, err error) error {
	if n > 0 {
		r.s.rd().ahead.grown(n)
	}
	return err
}

// outcome turns an error of the stream into that of the reader: the rest of a
// PDU stays where it is.
func (r *PDUReader) outcome(err error) error {
	s := r.s
	switch {
	case err == errInterrupted:
		return err
	case s.word.has(bitClosed):
		return opError("read pdu", 0, ErrClosed)
	case err == io.EOF:
		err = ErrEOF
	}
	e := opError("read pdu", 0, err)
	s.fail(e, &s.readErr)
	if err == ErrEOF && s.rd().ahead.size() > 0 {
		return opError("read pdu", 0, ErrUnexpectedEOF)
	}
	return e
}

// nextJob is a PDU that is being read.
type nextJob struct{ r *PDUReader }

func (j *nextJob) owned(pdu []byte, err error) ([]byte, error) {
	return bytes.Clone(pdu), err
}

func (j *nextJob) try() ([]byte, error) { return j.owned(j.r.tryNext()) }

func (j *nextJob) run(ctx context.Context) ([]byte, error) { return j.owned(j.r.next(ctx)) }

func (j *nextJob) stop(cause error) ([]byte, error) { return nil, opError("read pdu", 0, cause) }

func (j *nextJob) release() { j.r.s.rd().release() }
