package natsbridge

import (
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// flow is what a client of this host has on its way to another: the heads of its messages, in
// order, that the other broker has not handled yet. If the host is given up, they are told as failed.
type flow struct {
	sent []sentHead
	head int // of sent
	part int // bytes of the first one that are told as consumed
}

// sentHead is what a Fail needs of a Send.
type sentHead struct {
	size  int
	send  bool
	flags uint8
	port  uint32
	group uint32
	msg   [connector.HeaderLen]byte
}

func (f *flow) push(fr []byte) {
	if f.head > 64 && 2*f.head >= len(f.sent) {
		n := copy(f.sent, f.sent[f.head:])
		f.sent, f.head = f.sent[:n], 0
	}
	h := frame.ParseHeader(fr)
	s := sentHead{size: len(fr), send: h.Type == frame.Send, flags: h.Flags, port: h.Port, group: h.Group}
	copy(s.msg[:], fr[frame.HeaderLen:])
	f.sent = append(f.sent, s)
}

// consumed takes note that n more bytes were handled. It returns how many of them there were.
func (f *flow) consumed(n int) int {
	done := 0
	for n > 0 && f.head < len(f.sent) {
		left := f.sent[f.head].size - f.part
		if n < left {
			f.part += n
			return done + n
		}
		n -= left
		done += left
		f.part = 0
		f.head++
	}
	if f.head == len(f.sent) {
		f.sent, f.head = f.sent[:0], 0
		if cap(f.sent) > 256 {
			f.sent = nil
		}
	}
	return done
}

// Forward takes a Send frame of a local client for another host.
func (c *core) Forward(host, port uint32, cred connector.Cred, fr []byte) {
	p := c.known(host)
	if p == nil {
		c.noHost(host, port, fr)
		return
	}
	f := p.flows[port]
	if f == nil {
		f = &flow{}
		p.flows[port] = f
	}
	f.push(fr)
	c.flushPublications() // what was sent before it goes before it
	p.out++
	c.stats.Forwarded++
	p.link.fill = appendSend(p.link.record(), port, cred, fr)
	c.touch(p)
}

// noHost answers a message for a host that nobody knows.
func (c *core) noHost(host, port uint32, fr []byte) {
	h := frame.ParseHeader(fr)
	var answer []byte
	switch {
	case h.Type == frame.Unfollow:
	case h.Type == frame.Follow || h.Flags&frame.FlagAck != 0:
		answer = frame.Header{Type: frame.Ack, Tag: h.Tag, Code: connector.ErrNoPort.Code()}.Append(nil, []byte("no such host in the site")...)
	default:
		answer = failFrame(&h, fr[frame.HeaderLen:frame.HeaderLen+connector.HeaderLen], connector.ErrNoPort)
	}
	n := len(fr)
	c.soon(func() {
		if answer != nil {
			_ = c.hub.Deliver(host, port, answer)
		}
		c.hub.Credit(host, port, n)
	})
}

// failFrame is the Fail for a Send without Ack.
func failFrame(h *frame.Header, msg []byte, err *connector.Error) []byte {
	return frame.Header{Type: frame.Fail, Flags: h.Flags, Code: err.Code(), Port: h.Port, Group: h.Group, Tag: h.Tag}.Append(nil, msg...)
}

// failFlow tells a client which of its messages a host that was given up may not have got. Those that are
// to be acknowledged the hub fails itself.
func (c *core) failFlow(p *peer, port uint32, f *flow) {
	for _, s := range f.sent[f.head:] {
		if !s.send || s.flags&frame.FlagAck != 0 {
			continue
		}
		h := frame.Header{Flags: s.flags, Port: s.port, Group: s.group}
		c.stats.Failed++
		_ = c.hub.Deliver(uint32(p.host), port, failFrame(&h, s.msg[:], connector.ErrInterrupted))
	}
}

// Answer takes what the hub has for a client of another host: an acknowledgement, a refusal, Stop, Go.
func (c *core) Answer(host, port uint32, fr []byte) {
	p := c.known(host)
	if p == nil {
		return // the host was given up; so is who asked
	}
	p.link.fill = appendAnswer(p.link.record(), port, fr)
	c.touch(p)
}

// Consumed takes note that the hub has handled n bytes of what a client of another host sent.
func (c *core) Consumed(host, port uint32, n int) {
	p := c.known(host)
	if p == nil {
		return
	}
	p.consumed[port] += uint32(n)
	if p.owed += n; p.owed == n {
		c.now = c.clock()
		p.link.ackSoon(c.now)
	}
	c.touch(p)
}

// ClientGone tells the other hosts that a client of this one has left.
func (c *core) ClientGone(port uint32) {
	for _, p := range c.peersInOrder() {
		if p.flows[port] == nil {
			continue
		}
		delete(p.flows, port)
		p.link.fill = appendLeft(p.link.record(), port)
		c.touch(p)
	}
}
