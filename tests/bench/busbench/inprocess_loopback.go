package busbench

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// loopbackSide is ours: the in-process bus, through its public interface.
// Each side has a bus of its own.
type loopbackSide struct {
	bus      *loopback.Bus
	counters [inProcessIDs]counter
}

// newLoopbackSide registers callbacks that run in the goroutine of the publisher, as
// the rival's do, or the default ones, which are queued and run in another.
func newLoopbackSide(ctx context.Context, queued bool) (*loopbackSide, error) {
	s := &loopbackSide{bus: loopback.New(nil).Open()}
	for i := range s.counters {
		h := connector.Inline(&s.counters[i])
		if queued {
			h = &s.counters[i]
		}
		if err := s.bus.AddCallback(ctx, inProcessID(i), "bench", h); err != nil {
			return nil, errors.Join(err, s.bus.Close())
		}
	}
	return s, nil
}

func (s *loopbackSide) close() { _ = s.bus.Close() }

func (s *loopbackSide) expect(id cbid.ID, n int) <-chan struct{} { return s.counters[id.Val].expect(n) }

func (s *loopbackSide) publisher(ctx context.Context) (func(cbid.ID, int) error, error) {
	ep, err := s.bus.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	return func(id cbid.ID, n int) error {
		defer ep.Close()
		m := inProcessMessage(id)
		for range n {
			if err := ep.Post(ctx, m, connector.Dest{}); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
