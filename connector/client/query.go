package client

import (
	"context"
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Query asks the broker about itself: "ids", "conns", "groups", "stat" or
// "policy". The answer is JSON. It goes over a connection of its own, so that a
// long answer is in nobody's way.
func (b *Bus) Query(ctx context.Context, what string) ([]byte, error) {
	if err := b.open(); err != nil {
		return nil, opErr("query", err)
	}
	if len(what) > frame.MaxBody {
		return nil, opErr("query", connector.ErrTooBig)
	}
	s := newStream(b.cfg)
	defer s.close()
	p := &queryPart{s}
	if err := b.remember(p); err != nil {
		return nil, opErr("query", err)
	}
	defer b.forget(p)
	if err := s.dial(ctx, frame.Header{Type: frame.Query}, []byte(what)); err != nil {
		return nil, opErr("query", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer []byte
	for {
		h, body, err := s.next(ctx)
		switch {
		case err != nil:
			return nil, opErr("query", err)
		case h.Tag != 1 || h.Type != frame.Data && h.Type != frame.Ack:
			return nil, opErr("query", s.broke(unexpected(&h)))
		case h.Type == frame.Ack && h.Code != 0:
			return nil, opErr("query", refusal(h.Code, body))
		case h.Type == frame.Ack:
			return nil, opErr("query", s.broke(violation("a query was acknowledged instead of answered")))
		case len(answer)+len(body) > b.cfg.QueryBytes:
			return nil, opErr("query", fmt.Errorf("the answer has more than %d bytes: %w", b.cfg.QueryBytes, connector.ErrTooBig))
		}
		answer = append(answer, body...)
		if h.Flags&frame.FlagMore == 0 {
			return answer, nil
		}
	}
}

// queryPart lets Close of the Bus end a query.
type queryPart struct{ s *stream }

func (q *queryPart) Close() error {
	q.s.close()
	return nil
}
