package tsocket

import "context"

// FullFunc says how long the PDU is that begins with blob: len(blob) if it is
// complete, more if more is to be read up to that length, 0 if one more byte is needed to know.
type FullFunc func(blob []byte) (int, error)

// U16Full is for PDUs behind two bytes, big-endian, that say how much follows.
func U16Full(blob []byte) (int, error) { return U16Size(blob) }

// U32Full is for PDUs behind four bytes, big-endian, that say how much follows.
func U32Full(blob []byte) (int, error) { return U32Size(blob) }

// ReadBlob reads initial bytes, and then as many as full asks for, and returns
// all of them: one PDU, and not a byte of what follows it. The errors are those of Readv and
// of full; ErrInvalid if initial is not positive, ErrFrame if full asks for more than max bytes,
// or for less than it has. After one of full's or ErrFrame, and when ctx ends, the bytes
// are back in the stream.
func ReadBlob(ctx context.Context, s *Stream, initial int, full FullFunc, max int) ([]byte, error) {
	j, err := newBlobJob(s, initial, full, max)
	if err != nil {
		return nil, err
	}
	b, err := j.run(ctx)
	if err == errInterrupted {
		b, err = j.stop(ctxError(ctx))
	}
	j.release()
	return b, err
}

// ReadBlobSend starts a ReadBlob.
func ReadBlobSend(ctx context.Context, s *Stream, initial int, full FullFunc, max int) *Request[[]byte] {
	j, err := newBlobJob(s, initial, full, max)
	if err != nil {
		return finishedAt[[]byte](&s.home, nil, err)
	}
	return sendRead(ctx, s, tryJob[[]byte](j))
}

// ReadU32PDU reads four bytes, big-endian, that say how much follows, and that,
// and returns both. ErrFrame if nothing follows, or more than max bytes.
func ReadU32PDU(ctx context.Context, s *Stream, max int) ([]byte, error) {
	return ReadBlob(ctx, s, 4, notEmpty(U32Full, 4), 4+max)
}

// ReadU32PDUSend starts a ReadU32PDU.
func ReadU32PDUSend(ctx context.Context, s *Stream, max int) *Request[[]byte] {
	return ReadBlobSend(ctx, s, 4, notEmpty(U32Full, 4), 4+max)
}

// ReadU16PDU is ReadU32PDU with two bytes of length.
func ReadU16PDU(ctx context.Context, s *Stream, max int) ([]byte, error) {
	return ReadBlob(ctx, s, 2, notEmpty(U16Full, 2), 2+max)
}

// ReadU16PDUSend starts a ReadU16PDU.
func ReadU16PDUSend(ctx context.Context, s *Stream, max int) *Request[[]byte] {
	return ReadBlobSend(ctx, s, 2, notEmpty(U16Full, 2), 2+max)
}

func notEmpty(full FullFunc, header int) FullFunc {
	return func(blob []byte) (int, error) {
		n, err := full(blob)
		if err == nil && n == header {
			err = ErrFrame
		}
		return n, err
	}
}

// blobJob is a blob that is being read.
type blobJob struct {
	d    *readSide
	full FullFunc
	max  int
	buf  []byte // what is asked for so far
	n    int    // how much of it was read before the read that is running
	busy bool
}

func newBlobJob(s *Stream, initial int, full FullFunc, max int) (*blobJob, error) {
	switch {
	case initial <= 0:
		return nil, opError("read blob", 0, ErrInvalid)
	case initial > max:
		return nil, opError("read blob", 0, ErrFrame)
	}
	if err := s.enterRead("read blob"); err != nil {
		return nil, err
	}
	return &blobJob{d: s.rd(), full: full, max: max, buf: make([]byte, initial)}, nil
}

func (j *blobJob) run(ctx context.Context) ([]byte, error) {
	return j.loop(func() (int64, error) { return j.d.run(ctx) })
}

func (j *blobJob) try() ([]byte, error) { return j.loop(j.d.tryNow) }

func (j *blobJob) loop(fill func() (int64, error)) ([]byte, error) {
	for {
		if !j.busy {
			j.d.set([][]byte{j.buf[j.n:]})
			j.busy = true
		}
		if _, err := fill(); err != nil {
			if err == errInterrupted {
				return nil, err
			}
			return nil, wider(err, "read blob", int64(j.n))
		}
		j.busy, j.n = false, len(j.buf)
		j.d.set(nil)
		want, err := j.full(j.buf)
		switch {
		case err != nil:
		case want == 0:
			want = j.n + 1
			fallthrough
		default:
			if want < j.n || want > j.max {
				err = ErrFrame
			}
		}
		if err != nil {
			j.putBack(int64(j.n))
			return nil, opError("read blob", 0, err)
		}
		if want == j.n {
			return j.buf, nil
		}
		j.buf = grow(j.buf, want)
	}
}

// grow returns b with that length.
func grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	if n == len(b)+1 { // byte by byte: not a new piece of memory for each
		return append(b, 0)
	}
	bigger := make([]byte, n)
	copy(bigger, b)
	return bigger
}

func (j *blobJob) putBack(n int64) {
	j.d.ahead.unread([][]byte{j.buf}, n)
	j.d.n = 0
}

func (j *blobJob) stop(cause error) ([]byte, error) {
	if n := int64(j.n) + j.d.n; n > 0 && cause != ErrClosed {
		j.putBack(n)
	}
	return nil, opError("read blob", 0, cause)
}

func (j *blobJob) release() { j.d.release() }
