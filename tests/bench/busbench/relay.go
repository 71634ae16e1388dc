package busbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// The relay is the least that a broker written in Go can do: it copies the bytes of
// one connection to another. It looks at nothing. Whoever connects says with one byte
// which end it is.
const (
	relayClient = 'c'
	relayAgent  = 'a'
)

// relayOverhead makes the relay's frames as long as ours: the frame header of the
// broker's protocol and the netlink headers.
const relayOverhead = 40 + connector.HeaderLen

var errNoRelay = errors.New("the relay does round trips only")

// relayServer is the role of the relay between one client and one agent.
func relayServer(ctx context.Context, p *role.Proc) error {
	var socket string
	if err := p.Args(&socket); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	wg.Go(func() { relayPairs(l, &wg) })
	return p.Serve(ctx, nil)
}

// relayPairs joins each client to an agent until the listener is closed.
func relayPairs(l *net.UnixListener, wg *sync.WaitGroup) {
	waiting := make(map[byte]*net.UnixConn)
	defer func() {
		for _, c := range waiting {
			c.Close()
		}
	}()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		var end [1]byte
		if _, err := io.ReadFull(c, end[:]); err != nil {
			c.Close()
			continue
		}
		other := byte(relayClient + relayAgent - int(end[0]))
		peer, ok := waiting[other]
		if !ok {
			waiting[end[0]] = c
			continue
		}
		delete(waiting, other)
		wg.Go(func() { relayBytes(peer, c) })
		wg.Go(func() { relayBytes(c, peer) })
	}
}

// relayBytes writes what it reads until either side ends.
func relayBytes(dst, src *net.UnixConn) {
	defer dst.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

type relayConn struct {
	addr string
	c    *net.UnixConn
	wg   sync.WaitGroup
}

func dialRelay(_ context.Context, addr string) (conn, error) { return &relayConn{addr: addr}, nil }

func (r *relayConn) open(end byte) error {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: r.addr, Net: "unix"})
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte{end}); err != nil {
		c.Close()
		return err
	}
	r.c = c
	return nil
}

// echo takes the length of the frames from topic: the relay has no topics.
func (r *relayConn) echo(_ context.Context, topic uint32) error {
	if err := r.open(relayAgent); err != nil {
		return err
	}
	buf := make([]byte, relayOverhead+topic)
	r.wg.Go(func() {
		for {
			if _, err := io.ReadFull(r.c, buf); err != nil {
				return
			}
			if _, err := r.c.Write(buf); err != nil {
				return
			}
		}
	})
	return nil
}

func (r *relayConn) caller(_ context.Context, topic uint32) (func(context.Context, []byte) (int, error), error) {
	if err := r.open(relayClient); err != nil {
		return nil, err
	}
	buf := make([]byte, relayOverhead+topic)
	return func(_ context.Context, payload []byte) (int, error) {
		if len(payload) != int(topic) {
			return 0, fmt.Errorf("relay made for %d bytes, asked for %d", topic, len(payload))
		}
		copy(buf[relayOverhead:], payload)
		if _, err := r.c.Write(buf); err != nil {
			return 0, err
		}
		n, err := io.ReadFull(r.c, buf)
		return n - relayOverhead, err
	}, nil
}

func (r *relayConn) subscribe(context.Context, uint32, func([]byte), func(uint64)) (target, error) {
	return target{}, errNoRelay
}

func (r *relayConn) publisher(context.Context, target) (func([]byte) error, func() error, error) {
	return nil, nil, errNoRelay
}

func (r *relayConn) close() error {
	if r.c == nil {
		return nil
	}
	err := r.c.Close()
	r.wg.Wait()
	return err
}
