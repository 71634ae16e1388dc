package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/connector/internal/sockpath"
	"github.com/cnbus/cnbus/tsocket"
)

// link is one connection to a broker, from Welcome to its end. What reconnects
// has a new link each time.
type link struct {
	s    *tsocket.Stream
	port uint32
	run  uint64 // of the broker: positions and port ids of another run mean nothing
	w    writer

	ended atomic.Bool
}

// dialLink connects and greets. The error of a broker that refuses wraps what its
// Bye says.
func dialLink(ctx context.Context, cfg *Config) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.DialTimeout, connector.ErrTimeout)
	defer cancel()
	s, err := dialStream(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.SetHalfOpen(true) // who cannot write may still find a Bye
	l := &link{s: s}
	if err := l.greet(ctx, cfg.Name); err != nil {
		_ = s.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("greeting: %w", err)
	}
	l.w.init(s, cfg.OutBytes)
	return l, nil
}

// dialStream makes the connection of cfg.
func dialStream(ctx context.Context, cfg *Config) (*tsocket.Stream, error) {
	switch {
	case cfg.Stream != nil:
		return cfg.Stream(ctx)
	case cfg.Conn != nil:
		c, err := cfg.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return tsocket.FromNetConn(c), nil
	case cfg.Socket != "":
		return dialPath(ctx, cfg.Socket)
	}
	var all []error
	for _, p := range sockpath.Search() {
		err := sockpath.Check(p)
		if err == nil {
			var s *tsocket.Stream
			if s, err = dialPath(ctx, p); err == nil {
				return s, nil
			}
		}
		all = append(all, err)
	}
	return nil, fmt.Errorf("no broker (is `cnbus serve` running?): %w", errors.Join(all...))
}

// dialPath connects to a unix socket; a name that begins with "@" is abstract, as
// in package net.
func dialPath(ctx context.Context, path string) (*tsocket.Stream, error) {
	a, err := tsocket.UnixAddr(path)
	if name, ok := strings.CutPrefix(path, "@"); ok {
		a, err = tsocket.AbstractAddr(name)
	}
	if err != nil {
		return nil, err
	}
	return tsocket.DialUnix(ctx, tsocket.Addr{}, a)
}

// greet says Hello and reads the answer, and not a byte more.
func (l *link) greet(ctx context.Context, name string) error {
	hello := frame.Header{Type: frame.Hello}.Append(nil, frame.AppendHello(nil, name)...)
	_, wrote := l.s.Writev(ctx, hello)
	// One who is refused at the door may not get rid of his Hello, but finds a
	// Bye that says why.
	b := make([]byte, frame.HeaderLen)
	if _, err := l.s.Readv(ctx, b); err != nil {
		return errors.Join(wrote, err)
	}
	h, body, err := frame.Parse(b)
	if errors.Is(err, frame.ErrShort) {
		n := int(binary.NativeEndian.Uint32(b)) // in range, says Parse
		b = append(b, make([]byte, n-len(b))...)
		if _, err := l.s.Readv(ctx, b[frame.HeaderLen:]); err != nil {
			return err
		}
		h, body, err = frame.Parse(b)
	}
	switch {
	case err != nil:
		return violation("%v", err)
	case h.Type == frame.Bye:
		return byeError(&h, body)
	case h.Type != frame.Welcome:
		return violation("first frame is of type %d instead of Welcome", h.Type)
	case wrote != nil:
		return wrote
	case h.Port == 0:
		return violation("Welcome without a port id")
	}
	l.port, l.run = h.Port, h.Pos
	return nil
}

// end closes the connection for that cause, and waits for the flusher. Only
// the first call does it.
func (l *link) end(cause error) {
	if l.ended.Swap(true) {
		return
	}
	l.w.shut(cause)
	_ = l.s.Close()
	l.w.drain()
}

// part ends the connection in good order: what is buffered is written, then the
// broker is told that no more comes, and has time to do all of it and to close its
// side. read is called until the broker has.
func (l *link) part(linger time.Duration, read func() error) {
	if linger > 0 && !l.ended.Load() {
		late := time.AfterFunc(linger, func() { _ = l.s.Close() })
		l.w.part()
		l.w.flush()
		l.w.drain()
		if l.s.CloseWrite(context.Background()) == nil {
			for read() == nil {
			}
		}
		late.Stop()
	}
	l.end(connector.ErrClosed)
}

// halt makes a link whose writing failed fail its reader too, after all that
// the broker has sent, which may be a Bye that says why.
func (l *link) halt() {
	// The stream itself ends nothing in good order after an error.
	if cw, ok := l.s.Ops().(tsocket.CloseWriteOps); ok && cw.CloseWrite(context.Background()) == nil {
		return
	}
	_ = l.s.Close()
}

func programName() string {
	n := filepath.Base(os.Args[0])
	return n[:min(len(n), frame.MaxName)]
}
