package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// stream is a connection of its own for one request and a long answer: a watch, a
// monitor, a query. Its reader reads in its own goroutine; there is one at a time.
type stream struct {
	cfg *Config

	mu     sync.Mutex // held by who reads; guards what follows
	l      *link      // nil: to be made
	buf    readBuf
	tries  int
	due    time.Time // of the next attempt
	cur    atomic.Pointer[link]
	closed atomic.Bool
	ctx    context.Context // ends when close begins
	cancel context.CancelFunc
}

func newStream(cfg *Config) *stream {
	s := &stream{cfg: cfg}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// dial connects and sends the request with tag 1.
func (s *stream) dial(ctx context.Context, h frame.Header, body []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	l, err := dialLink(ctx, s.cfg)
	if err != nil {
		if s.closed.Load() {
			return connector.ErrClosed
		}
		return err
	}
	h.Tag = 1
	if _, err := l.w.control(h, body, paceNow); err != nil {
		l.end(err)
		return err
	}
	s.buf.reset()
	s.l = l
	s.cur.Store(l)
	if s.closed.Load() { // close has not seen l
		l.end(connector.ErrClosed)
	}
	return nil
}

// redial is dial after the connection broke, at its time and as often as it takes.
func (s *stream) redial(ctx context.Context, h frame.Header, body []byte) error {
	for {
		if err := s.check(ctx); err != nil {
			return err
		}
		t := time.NewTimer(time.Until(s.due))
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
		t.Stop()
		if err := s.check(ctx); err != nil {
			return err
		}
		err := s.dial(ctx, h, body)
		if err == nil {
			return nil
		}
		s.due = time.Now().Add(s.cfg.Reconnect.pause(s.tries))
		s.tries++
		s.cfg.Logger.Debug("no connection to the broker", "attempt", s.tries, "err", err)
	}
}

func (s *stream) check(ctx context.Context) error {
	if s.closed.Load() {
		return connector.ErrClosed
	}
	return ctx.Err()
}

// next returns the next frame, valid until the next call. Of a broken connection the
// error wraps ErrInterrupted, and l is nil then.
func (s *stream) next(ctx context.Context) (frame.Header, []byte, error) {
	for {
		h, body, ok, err := s.buf.next()
		if err == nil && ok && h.Type == frame.Bye {
			err = byeError(&h, body)
		}
		if err != nil {
			return h, nil, s.broke(err)
		}
		if ok {
			return h, body, nil
		}
		if err := s.check(ctx); err != nil {
			return h, nil, err
		}
		n, err := s.l.s.ReadSome(ctx, s.buf.room())
		switch {
		case err == nil:
			s.buf.filled(n)
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return h, nil, ctx.Err()
		default:
			return h, nil, s.broke(err)
		}
	}
}

// broke ends the connection.
func (s *stream) broke(cause error) error {
	if errors.Is(cause, io.EOF) {
		cause = errEOF
	}
	if s.closed.Load() {
		cause = connector.ErrClosed
	}
	s.l.end(cause)
	s.l = nil
	s.cur.Store(nil)
	s.due = time.Now().Add(s.cfg.Reconnect.pause(s.tries))
	s.tries++
	return interrupted(cause)
}

// close ends a blocked next, which it waits for, and the connection.
func (s *stream) close() {
	s.closed.Store(true)
	s.cancel()
	if l := s.cur.Load(); l != nil {
		l.end(connector.ErrClosed) // nothing that was sent waits to be noticed
	}
	s.mu.Lock() // whoever reads has noticed
	defer s.mu.Unlock()
}
