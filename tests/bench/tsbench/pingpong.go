package tsbench

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/tsocket"
)

// streams opens a stream of ours and a connection of package net to peers that do the
// same job.
func (b *bench) streams(network string, kind byte) (*tsocket.Stream, net.Conn, error) {
	s, err := b.ours(network, kind)
	if err != nil {
		return nil, nil, err
	}
	c, err := b.theirs(network, kind)
	return s, c, err
}

// times calls fn n times.
func times(fn func() error) side {
	return func(n int) (int, error) {
		for range n {
			if err := fn(); err != nil {
				return 0, err
			}
		}
		return n, nil
	}
}

// blocking is a round trip on the caller's goroutine.
func blocking(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobEcho)
		ctx, buf := context.Background(), make([]byte, msgSize)
		ours = times(func() error { return roundTrip(ctx, s, buf) })
		rival = times(func() error { return netTrip(c, buf) })
		return ours, rival, err
	}
}

func roundTrip(ctx context.Context, s *tsocket.Stream, buf []byte) error {
	if _, err := s.Writev(ctx, buf); err != nil {
		return err
	}
	_, err := s.Readv(ctx, buf)
	return err
}

func netTrip(c net.Conn, buf []byte) error {
	if _, err := c.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}

// limited is a round trip that can be stopped: by a context, or by a deadline that is
// set anew.
func limited(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobEcho)
		buf := make([]byte, msgSize)
		ctx, cancel := context.WithCancel(context.Background())
		b.closers = append(b.closers, closer(cancel))
		ours = times(func() error { return roundTrip(ctx, s, buf) })
		rival = times(func() error {
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				return err
			}
			return netTrip(c, buf)
		})
		return ours, rival, err
	}
}

type closer func()

func (f closer) Close() error { f(); return nil }

// requests is a round trip of requests, which are waited for.
func requests(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobEcho)
		ctx, buf := context.Background(), make([]byte, msgSize)
		ours = times(func() error {
			w := s.WritevSend(ctx, buf)
			r := s.ReadvSend(ctx, buf)
			if _, err := w.Wait(ctx); err != nil {
				return err
			}
			_, err := r.Wait(ctx)
			return err
		})
		rival = times(func() error {
			if _, err := c.Write(buf); err != nil {
				return err
			}
			done := make(chan error)
			go func() {
				_, err := io.ReadFull(c, buf)
				done <- err
			}()
			return <-done
		})
		return ours, rival, err
	}
}

// callbacks is a round trip whose end starts the next one.
func callbacks(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobEcho)
		buf := make([]byte, msgSize)
		ours = func(n int) (int, error) {
			p := chain{ctx: context.Background(), s: s, buf: buf, left: n, done: make(chan error, 1)}
			p.begin()
			return n, <-p.done
		}
		rival = func(n int) (int, error) {
			p := netChain{c: c, buf: buf, left: n, done: make(chan error, 1)}
			p.begin()
			return n, <-p.done
		}
		return ours, rival, err
	}
}

// chain makes round trips, each from the callback of the one before.
type chain struct {
	ctx  context.Context
	s    *tsocket.Stream
	buf  []byte
	left int
	done chan error
}

func (p *chain) begin() {
	p.s.WritevSend(p.ctx, p.buf)
	p.s.ReadvSend(p.ctx, p.buf).OnDone(p.end)
}

func (p *chain) end(r *tsocket.Request[int64]) {
	_, err := r.Result()
	if p.left--; err != nil || p.left == 0 {
		p.done <- err
		return
	}
	p.begin()
}

// netChain does the same with a goroutine for each read.
type netChain struct {
	c    net.Conn
	buf  []byte
	left int
	done chan error
}

func (p *netChain) begin() {
	if _, err := p.c.Write(p.buf); err != nil {
		p.end(err)
		return
	}
	go func() {
		_, err := io.ReadFull(p.c, p.buf)
		p.end(err)
	}()
}

func (p *netChain) end(err error) {
	if p.left--; err != nil || p.left == 0 {
		p.done <- err
		return
	}
	p.begin()
}

// datagrams is a round trip of two datagrams.
func datagrams(b *bench) (ours, rival side, err error) {
	c, addr, err := b.udp()
	if err != nil {
		return nil, nil, err
	}
	d, err := b.oursUDP()
	if err != nil {
		return nil, nil, err
	}
	far, err := b.echoUDP(addr)
	if err != nil {
		return nil, nil, err
	}
	ourAddr := d.LocalAddr().AddrPort()
	ourFar, err := b.echoUDP(ourAddr)
	if err != nil {
		return nil, nil, err
	}
	ctx, buf, to := context.Background(), make([]byte, 1<<16), tsocket.MustAddr(tsocket.AddrFrom(ourFar))
	ours = times(func() error {
		if _, err := d.SendTo(ctx, buf[:msgSize], to); err != nil {
			return err
		}
		_, _, err := d.RecvFrom(ctx, buf)
		return err
	})
	rival = times(func() error {
		if _, err := c.WriteToUDPAddrPort(buf[:msgSize], far); err != nil {
			return err
		}
		_, _, err := c.ReadFromUDPAddrPort(buf)
		return err
	})
	return ours, rival, nil
}

// echoUDP has the peer answer that address, and returns its own.
func (b *bench) echoUDP(to netip.AddrPort) (netip.AddrPort, error) {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	fd, err := dupOf(c)
	if err != nil {
		return netip.AddrPort{}, err
	}
	_, err = b.job(jobEcho, fd)
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), err
}
