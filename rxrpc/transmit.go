package rxrpc

import (
	"context"
	"errors"
	"net/netip"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/tsocket"
)

// outbox is what the owner is about to send: datagrams side by side in one piece
// of memory.
type outbox struct {
	mem  []byte
	msgs []tsocket.Message
	df   bool // of all of msgs
	used int

	// The socket's MTU mode is switched when the DF flag changes.
	modeDF  bool
	modeSet bool

	to   netip.AddrPort // the last, and what it is to tsocket
	addr tsocket.Addr
}

const (
	outboxMsgs = 128
	outboxRoom = 128 << 10 // and one more datagram of the largest size
)

func (o *outbox) init() {
	o.mem = make([]byte, outboxRoom+proto.MaxDatagram)
	o.msgs = make([]tsocket.Message, 0, outboxMsgs)
}

// transmit sends everything that the protocol has to send, and reports whether there
// was anything.
func (e *Endpoint) transmit(now proto.Time) (any bool) {
	o := &e.out
	for {
		buf := o.mem[o.used : o.used : o.used+proto.MaxDatagram]
		n, to, ok := e.p.Transmit(now, buf)
		if !ok {
			break
		}
		any = true
		if len(o.msgs) > 0 && to.DF != o.df {
			last := buf[:n]
			e.send(now)
			copy(o.mem, last)
		}
		if o.to != to.To {
			addr, err := e.addrOf(to.To)
			if err != nil {
				e.sendFailed(now, to.To, buf[:n], err)
				continue
			}
			o.to, o.addr = to.To, addr
		}
		o.df = to.DF
		o.msgs = append(o.msgs, tsocket.Message{Data: o.mem[o.used : o.used+n : o.used+n], Addr: o.addr})
		o.used += n
		if len(o.msgs) == cap(o.msgs) || o.used > outboxRoom {
			e.send(now)
		}
	}
	if len(o.msgs) > 0 {
		e.send(now)
	}
	return any
}

// send hands the datagrams over to the socket. One that is refused is reported to
// the protocol; those behind it go on.
func (e *Endpoint) send(now proto.Time) {
	o := &e.out
	e.setMode(o.df)
	if e.queue != nil {
		e.queue.send(now, o.msgs)
	} else {
		e.sendNow(now, o.msgs)
	}
	clear(o.msgs)
	o.msgs, o.used = o.msgs[:0], 0
}

func (e *Endpoint) sendNow(now proto.Time, msgs []tsocket.Message) {
	for len(msgs) > 0 {
		n, err := e.dgram.SendBatch(context.Background(), msgs)
		e.counters.sendCalls.Add(1)
		e.counters.sent.Add(uint64(n))
		msgs = msgs[n:]
		if err == nil || len(msgs) == 0 {
			break
		}
		if errors.Is(err, tsocket.ErrClosed) {
			break
		}
		e.sendFailed(now, msgs[0].Addr.AddrPort(), msgs[0].Data, err)
		msgs = msgs[1:]
	}
}

// setMode forbids or allows fragments of what is sent from now on. Where the system
// cannot say (it is no Linux), the network decides.
func (e *Endpoint) setMode(df bool) {
	o := &e.out
	if o.modeSet && o.modeDF == df {
		return
	}
	mode := tsocket.MTUFragment
	if df {
		mode = tsocket.MTUProbe
	}
	if err := e.dgram.SetMTUMode(mode); err == nil || !o.modeSet {
		o.modeDF, o.modeSet = df, true
	}
}

// sendFailed tells the protocol that this host would not send a datagram.
func (e *Endpoint) sendFailed(now proto.Time, to netip.AddrPort, datagram []byte, err error) {
	e.counters.sendErrors.Add(1)
	errno := tsocket.Errno(err)
	if errno == 0 {
		errno = syscall.EIO
	}
	e.log.sendFailed(to, errno)
	e.p.NetError(now, proto.NetError{To: to, Errno: errno, Local: true, Quoted: datagram[:min(len(datagram), wire.HeaderSize)]})
}
