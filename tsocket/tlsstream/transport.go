package tlsstream

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/internal/layered"
)

// maxRecord is the longest record of any version: a header, 16 KiB, and what
// TLS 1.2 allows to be added.
const maxRecord = 5 + 1<<14 + 2048

// recordSize is a tsocket.SizeFunc.
func recordSize(prefix []byte) (int, error) {
	switch {
	case prefix[0] < 20 || prefix[0] > 24, len(prefix) > 1 && prefix[1] != 3:
		return 0, &Error{syscall.EIO, errorText("the peer does not speak TLS")}
	case len(prefix) < 5:
		return 0, nil
	}
	return 5 + int(prefix[3])<<8 + int(prefix[4]), nil
}

// transport is the net.Conn that crypto/tls sees. It reads whole records from
// the plain stream under the context of the operation that is running, and writes
// to a layered.Outbox: nothing that crypto/tls writes ever waits or fails half way, which it
// could not mend.
type transport struct {
	records *tsocket.PDUReader
	record  []byte // what is left of the last one
	ctx     context.Context
	greets  bool // a handshake is running: what it writes has to go before it reads
	out     *layered.Outbox
}

func (t *transport) Read(b []byte) (int, error) {
	if len(t.record) == 0 {
		if t.greets {
			if err := t.out.FlushNow(t.ctx); err != nil {
				return 0, t.fail(err)
			}
		}
		r, err := t.records.Next(t.ctx)
		if err != nil {
			return 0, t.fail(err)
		}
		t.record = r
	}
	n := copy(b, t.record)
	t.record = t.record[n:]
	return n, nil
}

func (t *transport) fail(err error) error {
	return &plainError{endOf(tsocket.Cause(err)), t.ctx.Err() != nil}
}

func (t *transport) Write(b []byte) (int, error) {
	t.out.Put(b)
	return len(b), nil
}

func (t *transport) Close() error                     { return nil }
func (t *transport) LocalAddr() net.Addr              { return noAddr{} }
func (t *transport) RemoteAddr() net.Addr             { return noAddr{} }
func (t *transport) SetDeadline(time.Time) error      { return nil }
func (t *transport) SetReadDeadline(time.Time) error  { return nil }
func (t *transport) SetWriteDeadline(time.Time) error { return nil }

type noAddr struct{}

func (noAddr) Network() string { return "tsocket" }
func (noAddr) String() string  { return "" }
