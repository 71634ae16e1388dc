package tsocket_test

import (
	"context"
	"io"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// scriptOps is one end of a stream in memory that hands out its bytes in the
// pieces it is told to, and tells when it waits.
type scriptOps struct {
	mu      sync.Mutex
	in      []byte
	limit   int // how many bytes of in may be read so far; beyond it a read waits
	piece   int // at most that many at once; 0: all
	end     bool
	out     []byte
	room    int           // how many bytes more may be written; beyond it a write waits
	changed chan struct{} // closed and replaced at every change
	waiting chan struct{} // a value for every wait
}

func newScript(in string) *scriptOps {
	return &scriptOps{in: []byte(in), limit: len(in), room: 1 << 30, changed: make(chan struct{}), waiting: make(chan struct{}, 1000)}
}

func (s *scriptOps) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits for a change; s.mu is held.
func (s *scriptOps) wait(ctx context.Context) error {
	c := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	s.waiting <- struct{}{}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *scriptOps) TryRead(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(bufs)
}

func (s *scriptOps) read(bufs [][]byte) (int, error) {
	if s.limit == 0 {
		if s.end {
			return 0, io.EOF
		}
		return 0, syscall.EAGAIN
	}
	left := s.limit
	if s.piece > 0 {
		left = min(left, s.piece)
	}
	n := 0
	for _, b := range bufs {
		k := copy(b, s.in[:left])
		s.in, left, s.limit = s.in[k:], left-k, s.limit-k
		n += k
	}
	return n, nil
}

func (s *scriptOps) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		n, err := s.read(bufs)
		if err != syscall.EAGAIN {
			return n, err
		}
		if err := s.wait(ctx); err != nil {
			return 0, err
		}
	}
}

func (s *scriptOps) TryWrite(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(bufs)
}

func (s *scriptOps) write(bufs [][]byte) (int, error) {
	left := s.room
	if s.piece > 0 {
		left = min(left, s.piece)
	}
	n := 0
	for _, b := range bufs {
		k := min(len(b), left)
		s.out = append(s.out, b[:k]...)
		left, s.room, n = left-k, s.room-k, n+k
	}
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	return n, nil
}

func (s *scriptOps) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range bufs {
		for len(b) > 0 {
			n, err := s.write([][]byte{b})
			if err == nil {
				b, sum = b[n:], sum+int64(n)
				continue
			}
			if err := s.wait(ctx); err != nil {
				return sum, err
			}
		}
	}
	return sum, nil
}

func (s *scriptOps) Pending() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit, nil
}

func (s *scriptOps) Disconnect(context.Context) error { return nil }
func (s *scriptOps) Close() error                     { s.change(func() { s.end, s.limit = true, 0 }); return nil }

// plainOps hides that a stream can try.
type plainOps struct{ tsocket.StreamOps }
