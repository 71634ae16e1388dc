package tsocket

import (
	"context"
	"io"
)

// Layer is what the ops of a stream that is built on another one embed: they have
// its addresses, they learn from it when the connection breaks, and what SetHalfOpen and
// SetFailEarly say to the upper stream holds for the lower one too. Any of its methods
// can be overridden.
type Layer struct {
	Lower *Stream
}

// LocalAddr returns that of the lower stream.
func (l Layer) LocalAddr() Addr { return l.Lower.LocalAddr() }

// RemoteAddr returns that of the lower stream.
func (l Layer) RemoteAddr() Addr { return l.Lower.RemoteAddr() }

// Monitor monitors the lower stream, which nobody else can do meanwhile.
func (l Layer) Monitor(broken func(error)) (stop func(), err error) {
	m := l.Lower.MonitorSend(context.Background())
	if _, err := m.Result(); isErr(err, ErrAlready) {
		return nil, err
	}
	m.OnDone(func(m *Request[struct{}]) {
		if _, err := m.Result(); !isErr(err, ErrCanceled) {
			broken(Cause(err))
		}
	})
	return func() { m.Cancel() }, nil
}

// SetHalfOpen passes on what was said to the upper stream.
func (l Layer) SetHalfOpen(on bool) { l.Lower.SetHalfOpen(on) }

func (l Layer) setFailEarly(on bool) bool { return l.Lower.SetFailEarly(on) }

// Cause returns what is behind the OpErrors of err: what the ops of an upper
// stream return of an error of the lower one.
func Cause(err error) error {
	for {
		e, ok := err.(*OpError)
		if !ok {
			return err
		}
		err = e.Err
	}
}

// EndOfRead is Cause for the ReadSome of an upper stream: the end between two reads
// of the lower one is io.EOF.
func EndOfRead(err error) error {
	if err = Cause(err); err == ErrEOF {
		return io.EOF
	}
	return err
}
