package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
	"github.com/cnbus/cnbus/connector/procevent"
)

// kernelProbe talks to the kernel's process connector by hand, where
// procevent.Client would already have mended what is to be found.
type kernelProbe struct {
	s        *nlconn.Socket
	bufs     []nlconn.Datagram
	listened bool
	total    seen
}

// seen is what came.
type seen struct {
	events int
	forged int
	forger nlconn.Datagram // the last one, without data
}

const (
	// ackWait is how long an answer is waited for. The kernel gives it within sendto: what is waited for is that this process is let read it.
	ackWait = 2 * time.Second
	// quietWait is how long it must be quiet for nobody to listen, or to answer.
	quietWait = 500 * time.Millisecond
	// childWait is how long word of a child that has ended is waited for.
	childWait = 10 * time.Second
)

// receive hands events to f until it returns true, or for d.
func (p *kernelProbe) receive(d time.Duration, f func(e *procevent.Event, ack uint32) bool) error {
	if err := p.s.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	for {
		n, err := p.s.Receive(p.bufs)
		switch {
		case errors.Is(err, nlconn.ErrOverrun):
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return connector.ErrTimeout
		case err != nil:
			return err
		}
		for i := range n {
			if e, ack, ok := p.accept(&p.bufs[i]); ok && f(e, ack) {
				return nil
			}
		}
	}
}

// accept takes what the kernel sent, and counts what others did.
func (p *kernelProbe) accept(d *nlconn.Datagram) (e *procevent.Event, ack uint32, ok bool) {
	if d.Port != 0 || d.HasCred && d.Cred.PID != 0 {
		p.total.forged++
		p.total.forger = nlconn.Datagram{Port: d.Port, Cred: d.Cred}
		return nil, 0, false
	}
	_, m, _, err := connector.ParseNetlink(d.Data, binary.NativeEndian)
	if err != nil || m.ID != procevent.ID {
		return nil, 0, false
	}
	ev, err := procevent.Parse(m.Data, binary.NativeEndian)
	if err != nil {
		return nil, 0, false
	}
	if ev.Kind != procevent.Ack {
		p.total.events++
	}
	return &ev, m.Ack, true
}

// listenOnly reports what comes without asking for it.
func (p *kernelProbe) listenOnly(ctx context.Context) seen {
	before := p.total
	pid, err := runChild(ctx)
	if err == nil {
		p.sees(pid, quietWait)
	}
	return seen{events: p.total.events - before.events, forged: p.total.forged - before.forged}
}

// sees waits for the end of a process.
func (p *kernelProbe) sees(pid uint32, d time.Duration) bool {
	return p.receive(d, func(e *procevent.Event, _ uint32) bool { return e.Kind == procevent.Exit && e.Tgid == pid }) == nil
}

// send sends a request and returns its ack.
func (p *kernelProbe) send(data ...uint32) (ack uint32, err error) {
	var b []byte
	for _, w := range data {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	ack = rand.Uint32()
	frame, err := connector.Message{ID: procevent.ID, Seq: ack, Ack: ack, Data: b}.AppendNetlink(nil, binary.NativeEndian, 0)
	if err != nil {
		return ack, err
	}
	return ack, p.s.Send(frame, 0, 0)
}

// ask sends a request and reports whether it was answered within d.
func (p *kernelProbe) ask(d time.Duration, data ...uint32) (answered bool, err error) {
	ack, err := p.send(data...)
	if err != nil {
		return false, err
	}
	var errno uint32
	err = p.receive(d, func(e *procevent.Event, got uint32) bool {
		errno = e.Err
		return e.Kind == procevent.Ack && got == ack+1
	})
	switch {
	case errors.Is(err, connector.ErrTimeout):
		return false, nil
	case err == nil && errno == uint32(unix.EPERM):
		return true, connector.ErrPermission
	case err == nil && errno != 0:
		return true, fmt.Errorf("the kernel answers %w", unix.Errno(errno))
	}
	return err == nil, err
}

// Control operations, PROC_CN_MCAST_LISTEN and PROC_CN_MCAST_IGNORE.
const (
	opListen = 1
	opIgnore = 2
)

func (p *kernelProbe) listen() (answered bool, err error) {
	p.listened = true
	return p.ask(ackWait, opListen)
}

// masks reports whether a request with a mask (0: everything) is answered: old
// kernels ignore its 8 bytes. It comes after listen, which was answered: this process is let read.
func (p *kernelProbe) masks() (bool, error) { return p.ask(quietWait, opListen, 0) }

// ignore takes the request back: the count outlives the socket. The last listener's is not answered.
func (p *kernelProbe) ignore() {
	if p.listened {
		p.listened = false
		_, _ = p.send(opIgnore)
	}
}
