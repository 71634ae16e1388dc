package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/connector/internal/sockpath"
)

// link is one connection to a broker, from Welcome to its end. What reconnects
// has a new link each time.
type link struct {
	c    net.Conn
	port uint32
	run  uint64 // of the broker: positions and port ids of another run mean nothing
	w    writer

	ended atomic.Bool
}

// A read deadline of past wakes the reader; noTime is none.
var (
	past   = time.Unix(1, 0)
	noTime time.Time
)

// dialLink connects and greets. The error of a broker that refuses wraps what its
// Bye says.
func dialLink(ctx context.Context, cfg *Config) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.DialTimeout, connector.ErrTimeout)
	defer cancel()
	c, err := dialConn(ctx, cfg)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	l := &link{c: c}
	err = l.greet(cfg.Name)
	if !stop() && err == nil { // a deadline has been set, or will be
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("greeting: %w", err)
	}
	l.w.init(c, cfg.OutBytes)
	return l, nil
}

// dialConn makes the connection of cfg.
func dialConn(ctx context.Context, cfg *Config) (net.Conn, error) {
	if cfg.Conn != nil {
		return cfg.Conn(ctx)
	}
	var d net.Dialer
	if cfg.Socket != "" {
		return d.DialContext(ctx, "unix", cfg.Socket)
	}
	var all []error
	for _, p := range sockpath.Search() {
		err := sockpath.Check(p)
		if err == nil {
			var c net.Conn
			if c, err = d.DialContext(ctx, "unix", p); err == nil {
				return c, nil
			}
		}
		all = append(all, err)
	}
	return nil, fmt.Errorf("no broker (is `cnbus serve` running?): %w", errors.Join(all...))
}

// greet says Hello and reads the answer, and not a byte more.
func (l *link) greet(name string) error {
	hello := frame.Header{Type: frame.Hello}.Append(nil, frame.AppendHello(nil, name)...)
	_, wrote := l.c.Write(hello)
	// One who is refused at the door may not get rid of his Hello, but finds a
	// Bye that says why.
	b := make([]byte, frame.HeaderLen)
	if _, err := io.ReadFull(l.c, b); err != nil {
		return errors.Join(wrote, err)
	}
	h, body, err := frame.Parse(b)
	if errors.Is(err, frame.ErrShort) {
		n := int(binary.NativeEndian.Uint32(b)) // in range, says Parse
		b = append(b, make([]byte, n-len(b))...)
		if _, err := io.ReadFull(l.c, b[frame.HeaderLen:]); err != nil {
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
	_ = l.c.Close()
	l.w.drain()
}

// part ends the connection in good order: what is buffered is written, then the
// broker is told that no more comes, and has time to do all of it and to close its
// side. read is called until the broker has.
func (l *link) part(linger time.Duration, read func() error) {
	if linger > 0 && !l.ended.Load() {
		_ = l.c.SetDeadline(time.Now().Add(linger))
		l.w.flush()
		l.w.drain()
		if cw, ok := l.c.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
			for read() == nil {
			}
		}
	}
	l.end(connector.ErrClosed)
}

// halt makes a link whose writing failed fail its reader too, after all that
// the broker has sent, which may be a Bye that says why.
func (l *link) halt() {
	if cw, ok := l.c.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
		return
	}
	_ = l.c.Close()
}

// isTimeout reports whether a read or write ended by a deadline, which is how
// this package wakes a reader.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func programName() string {
	n := filepath.Base(os.Args[0])
	return n[:min(len(n), frame.MaxName)]
}
