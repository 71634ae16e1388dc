package nlconn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// sender sends messages from a socket.
type sender struct {
	b    *Bus
	s    *Socket
	bufs sync.Pool // *[]byte
	done chan struct{}
}

func newSender(b *Bus, s *Socket) *sender {
	return &sender{b: b, s: s, bufs: sync.Pool{New: func() any { return new([]byte) }}, done: make(chan struct{})}
}

// send sends m to a port, a group or both.
func (o *sender) send(ctx context.Context, m *connector.Message, to connector.Dest, call bool) error {
	err := o.try(ctx, m, to, call)
	if err == nil {
		return nil
	}
	return &connector.OpError{Op: "send", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: cause(err)}
}

// cause is what an OpError wraps, for another to wrap it.
func cause(err error) error {
	var op *connector.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (o *sender) try(ctx context.Context, m *connector.Message, to connector.Dest, call bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case to.Full > connector.FullDrop:
		return fmt.Errorf("WhenFull %d: %w", to.Full, connector.ErrInvalid)
	case to.Group != 0 && to.Full == connector.FullWait:
		return fmt.Errorf("netlink does not wait for members of a group: %w", connector.ErrNotSupported)
	}
	if err := o.b.guard(m.ID); err != nil {
		return err
	}
	buf := o.bufs.Get().(*[]byte)
	defer o.bufs.Put(buf)
	var err error
	if *buf, err = appendFrame((*buf)[:0], m, o.s.Port(), call); err != nil {
		return err
	}
	err = o.s.Send(*buf, to.Port, to.Group)
	if err != nil && to.Full != connector.FullDrop && errors.Is(err, connector.ErrWouldBlock) {
		err = o.wait(ctx, *buf, to)
	}
	return err
}

const (
	firstPause = 20 * time.Microsecond
	longPause  = 2 * time.Millisecond
)

// wait tries again until the receiver has room. The kernel wakes only senders that
// sleep in sendmsg, where no context reaches them; the poller sees nothing, because it is another's
// buffer that is full.
func (o *sender) wait(ctx context.Context, b []byte, to connector.Dest) error {
	t := time.NewTimer(firstPause)
	defer t.Stop()
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-o.done:
			return connector.ErrClosed
		}
		if err := o.s.Send(b, to.Port, to.Group); !errors.Is(err, connector.ErrWouldBlock) {
			return err
		}
		t.Reset(pause)
	}
}
