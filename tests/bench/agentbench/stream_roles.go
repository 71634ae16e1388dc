package agentbench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// Names of the roles.
const (
	roleSink   = "agents-sink"
	roleSource = "agents-source"
)

// Operations of the role source; their argument is how long, their result moved.
const (
	opPDUs  = "pdus"
	opTrips = "trips"
)

// pathArgs are the arguments of both roles. Addr is that of the broker, or of the sink, which tells it.
type pathArgs struct {
	Path string
	Addr string
}

// moved is what a run has done.
type moved struct {
	N    int
	Took time.Duration
}

func (m moved) rate() float64 { return float64(m.N) / m.Took.Seconds() }

// What is to be done with a PDU, in its first byte.
const (
	pduCount = 'c' // nothing
	pduEcho  = 'e' // sent back
	pduTotal = 't' // answered by how many have come
)

// path is one end of a way for PDUs.
type path interface {
	send(pdu []byte) error
	// recv returns the next PDU, which is valid until the next call.
	recv() ([]byte, error)
	close() error
}

// sink takes what comes, and answers what asks for it.
func sink(ctx context.Context, p *role.Proc) error {
	var a pathArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	accept, addr, err := listenPath(ctx, a)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() {
		w, err := accept()
		if err == nil {
			err = count(w)
			_ = w.close()
		}
		served <- err
	}()
	err = p.Serve(ctx, addr)
	select {
	case why := <-served:
		err = errors.Join(err, why)
	default:
	}
	return err
}

// count serves one way until it ends.
func count(w path) error {
	total := make([]byte, 9)
	for n := uint64(0); ; {
		pdu, err := w.recv()
		if err != nil {
			return nil // the source has gone
		}
		if len(pdu) == 0 {
			return errors.New("an empty PDU")
		}
		n++
		switch pdu[0] {
		case pduEcho:
			err = w.send(pdu)
		case pduTotal:
			total[0] = pduTotal
			binary.BigEndian.PutUint64(total[1:], n)
			n = 0
			err = w.send(total)
		}
		if err != nil {
			return err
		}
	}
}

// source sends.
func source(ctx context.Context, p *role.Proc) error {
	var a pathArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	w, err := dialPath(ctx, a)
	if err != nil {
		return err
	}
	defer func() { _ = w.close() }()
	pdu := make([]byte, pduSize)
	role.Handle(p, opPDUs, func(_ context.Context, d time.Duration) (moved, error) {
		m := moved{}
		pdu[0] = pduCount
		start := time.Now()
		for time.Since(start) < d {
			for range 64 {
				if err := w.send(pdu); err != nil {
					return m, err
				}
			}
			m.N += 64
		}
		// All of them have to have arrived.
		pdu[0] = pduTotal
		m.N++
		if err := w.send(pdu); err != nil {
			return m, err
		}
		got, err := w.recv()
		m.Took = time.Since(start)
		if err == nil && (len(got) != 9 || binary.BigEndian.Uint64(got[1:]) != uint64(m.N)) {
			err = fmt.Errorf("%d PDUs were sent, others arrived", m.N)
		}
		return m, err
	})
	role.Handle(p, opTrips, func(_ context.Context, d time.Duration) (moved, error) {
		m := moved{}
		pdu[0] = pduEcho
		start := time.Now()
		for time.Since(start) < d {
			if err := w.send(pdu); err != nil {
				return m, err
			}
			got, err := w.recv()
			if err != nil || len(got) != len(pdu) {
				return m, fmt.Errorf("PDU of %d bytes: %w", len(got), err)
			}
			m.N++
		}
		m.Took = time.Since(start)
		pdu[0] = pduTotal // so that the sink begins to count anew
		if err := w.send(pdu); err != nil {
			return m, err
		}
		_, err := w.recv()
		return m, err
	})
	return p.Serve(ctx, nil)
}
