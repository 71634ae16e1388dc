package tsbench

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/tsocket"
)

// loop starts a loop that runs as long as the case.
func (b *bench) loop() (*tsocket.Loop, error) {
	l, err := tsocket.NewLoop(nil)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	b.closers = append(b.closers, closer(func() {
		_ = l.Close()
		<-ended
	}))
	return l, nil
}

// watched is a round trip of a server that a loop tells when it can read.
func watched(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobEcho)
		if err != nil {
			return nil, nil, err
		}
		l, err := b.loop()
		if err != nil {
			return nil, nil, err
		}
		buf, left, done := make([]byte, msgSize), 0, make(chan error, 1)
		next := func(tsocket.Ready) {
			switch n, err := s.TryRead(buf); {
			case errors.Is(err, tsocket.ErrAgain):
				return
			case err != nil:
				done <- err
				return
			case n != len(buf):
				done <- errors.New("an answer in pieces")
				return
			}
			if left--; left == 0 {
				done <- nil
			} else if _, err := s.TryWrite(buf); err != nil {
				done <- err
			}
		}
		if _, err := l.Watch(s, tsocket.Readable, next); err != nil {
			return nil, nil, err
		}
		ours = func(n int) (int, error) {
			l.Post(func() {
				left = n
				if _, err := s.TryWrite(buf); err != nil {
					done <- err
				}
			})
			return n, <-done
		}
		rival = times(func() error { return netTrip(c, buf) })
		return ours, rival, nil
	}
}

// attached is a round trip whose end starts the next one, on a loop.
func attached(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobEcho)
		if err != nil {
			return nil, nil, err
		}
		l, err := b.loop()
		if err == nil {
			err = l.Attach(s)
		}
		buf := make([]byte, msgSize)
		ours = func(n int) (int, error) {
			p := chain{ctx: context.Background(), s: s, buf: buf, left: n, done: make(chan error, 1)}
			l.Post(p.begin)
			return n, <-p.done
		}
		rival = times(func() error { return netTrip(c, buf) })
		return ours, rival, err
	}
}
