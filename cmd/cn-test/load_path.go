package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

// path is traffic from one host of a site to another: messages to a port, or calls of an agent.
type path struct {
	kind     string // unicast, calls
	from, to string
	size     int
	run      func(sending, work context.Context) error

	sent      uint64        // belongs to run
	delivered atomic.Uint64 // in order; of calls: answered with what was sent
	lost      atomic.Uint64 // told as failed
	wrong     atomic.Uint64 // out of order, doubled, not what was sent
	asked     atomic.Uint64 // calls: that the agent has got
	changed   chan struct{} // unicast: one of the numbers above may have
}

// pathLine is the account of a path, in the output of --json.
type pathLine struct {
	Kind         string `json:"kind"` // unicast, calls
	From         string `json:"from"`
	To           string `json:"to"`
	Sent         uint64 `json:"sent"`
	Delivered    uint64 `json:"delivered"`     // of calls: answered
	ReportedLost uint64 `json:"reported_lost"` // of calls: failed
	Wrong        uint64 `json:"wrong,omitempty"`
	OK           bool   `json:"ok"`
}

func (p *path) line() pathLine {
	l := pathLine{
		Kind: p.kind, From: p.from, To: p.to,
		Sent: p.sent, Delivered: p.delivered.Load(), ReportedLost: p.lost.Load(), Wrong: p.wrong.Load(),
	}
	l.OK = l.Wrong == 0 && l.Sent == l.Delivered+l.ReportedLost
	return l
}

// fill writes the mark and the number of a message.
func fill(b []byte, mark uint32, n uint64) {
	binary.NativeEndian.PutUint32(b, 0)
	binary.NativeEndian.PutUint32(b[4:], mark)
	binary.NativeEndian.PutUint64(b[8:], n)
}

// posts sends as fast as there is room, then a last message that is confirmed, behind which nothing comes; what did not come is told to
// the sender.
func (p *path) posts(sending, work context.Context, from, to connector.Endpoint) error {
	read, cancel := context.WithCancel(work)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.failures(read, from)
	}()
	defer func() { cancel(); <-ended }()
	last := make(chan error, 1)
	go func() { last <- p.receive(read, to) }()

	m := connector.Message{ID: loadID, Data: make([]byte, p.size)}
	dest := connector.Dest{Port: to.Port()}
	for ; sending.Err() == nil && work.Err() == nil; p.sent++ {
		fill(m.Data, 0, p.sent)
		if err := from.Post(work, m, dest); err != nil {
			cancel()
			<-last
			return fmt.Errorf("message from %s to %s: %w", p.from, p.to, err)
		}
	}
	fill(m.Data, markLast, p.sent)
	p.sent++
	if err := from.Send(work, m, dest); err != nil {
		cancel()
		<-last
		return fmt.Errorf("last message from %s to %s: %w", p.from, p.to, err)
	}
	if err := <-last; err != nil {
		return fmt.Errorf("messages from %s to %s: %w", p.from, p.to, err)
	}
	for late := time.After(tailTime); p.delivered.Load()+p.lost.Load() < p.sent; {
		select {
		case <-p.changed:
		case <-late:
			return nil // the account says it
		case <-work.Done():
			return context.Cause(work)
		}
	}
	return nil
}

// failures counts what the sender is told, until ctx ends.
func (p *path) failures(ctx context.Context, from connector.Endpoint) {
	for {
		ev, err := from.Recv(ctx)
		if err != nil {
			return // who sends has the error too
		}
		if ev.Kind == connector.EventFailed {
			p.lost.Add(1)
			select {
			case p.changed <- struct{}{}:
			default:
			}
		}
	}
}

// receive counts what comes, to the last.
func (p *path) receive(ctx context.Context, to connector.Endpoint) error {
	for next := uint64(0); ; {
		ev, err := to.Recv(ctx)
		if err != nil {
			return err
		}
		switch {
		case ev.Kind == connector.EventLost:
			p.lost.Add(ev.Lost)
			continue
		case ev.Kind != connector.EventMessage:
			continue
		case len(ev.Msg.Data) != p.size || binary.NativeEndian.Uint64(ev.Msg.Data[8:]) < next:
			p.wrong.Add(1)
			continue
		}
		p.delivered.Add(1)
		next = binary.NativeEndian.Uint64(ev.Msg.Data[8:]) + 1
		if binary.NativeEndian.Uint32(ev.Msg.Data[4:]) == markLast {
			return nil
		}
	}
}

// callTime is how long a call may take before it counts as failed.
const callTime = 20 * time.Second

// calls calls one time after the other, at least once. The agent must not have got more of them than there were, nor fewer than were answered.
func (p *path) calls(sending, work context.Context, from connector.Endpoint, id cbid.ID) error {
	m := connector.Message{ID: id, Data: make([]byte, p.size)}
	for ; (p.sent == 0 || sending.Err() == nil) && work.Err() == nil; p.sent++ {
		fill(m.Data, 0, p.sent)
		call, cancel := context.WithTimeoutCause(work, callTime, connector.ErrTimeout)
		ev, err := from.Call(call, m, connector.Dest{})
		cancel()
		switch {
		case err != nil:
			p.lost.Add(1)
		case !bytes.Equal(ev.Msg.Data, m.Data):
			p.wrong.Add(1)
		default:
			p.delivered.Add(1)
		}
	}
	if n := p.asked.Load(); n > p.sent || n < p.delivered.Load() {
		p.wrong.Add(1)
	}
	return nil
}

func printPaths(o *cli.Out, paths []pathLine) error {
	if len(paths) == 0 {
		return nil
	}
	o.Printf("\n")
	t := cli.NewTable("WAY", "FROM", "TO", ">DELIVERED", ">REPORTED LOST", ">SENT", "ACCOUNT")
	for _, p := range paths {
		verdict := "balances"
		if !p.OK {
			verdict = fmt.Sprintf("WRONG: %d came out of order, twice or changed", p.Wrong)
		}
		t.Row(p.Kind, p.From, p.To, cli.Count(p.Delivered), cli.Count(p.ReportedLost), cli.Count(p.Sent), verdict)
	}
	return t.Print(o, o.Style)
}
