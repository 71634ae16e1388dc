package loopback

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

// sender is on whose behalf something waits, and until when. A zero one cannot wait.
type sender struct {
	ctx  context.Context
	done <-chan struct{} // closed when the sender closes
}

// wait returns what comes out of c, or false and why it was not waited for longer.
func (s *sender) wait(c <-chan error) (err error, answered bool) {
	select {
	case err := <-c:
		return err, true
	case <-s.ctx.Done():
		return s.ctx.Err(), false
	case <-s.done:
		return connector.ErrClosed, false
	}
}

// check refuses what cannot be sent, whoever receives it.
func check(ctx context.Context, m *connector.Message, to connector.Dest, closed bool) error {
	switch {
	case closed:
		return connector.ErrClosed
	case len(m.Data) > connector.MaxData:
		return fmt.Errorf("%d bytes of data, at most %d: %w", len(m.Data), connector.MaxData, connector.ErrTooBig)
	case to.Port != 0 && to.Group != 0:
		return fmt.Errorf("both a port and a group: %w", connector.ErrInvalid)
	}
	return ctx.Err()
}

func sendError(m *connector.Message, to connector.Dest, err error) error {
	return &connector.OpError{Op: "send", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: err}
}

// deferred reports whether err is of the kind that a Post tells later: that the
// message was refused, and not that sending it was given up.
func deferred(err error) bool {
	for _, e := range []error{connector.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return false
		}
	}
	return true
}

// unicast sends to the endpoint with to.Port.
func (h *Hub) unicast(s *sender, m *connector.Message, from *connector.From, to connector.Dest) error {
	e := h.endpoint(to.Port)
	if e == nil {
		return sendError(m, to, connector.ErrNoPort)
	}
	if e.called.Load() && e.isReply(m, from) {
		return nil
	}
	var err error
	if to.Full == connector.FullDrop {
		switch e.queue.put(m, from, 0) {
		case putFull:
			h.stats.dropped.Add(1)
		case putClosed:
			err = connector.ErrNoPort
		}
	} else {
		err = e.queue.wait(s, m, from, nil)
	}
	if err != nil {
		return sendError(m, to, err)
	}
	return nil
}
