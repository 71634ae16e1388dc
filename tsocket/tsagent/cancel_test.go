package tsagent_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// hooked is a bus that the test looks into: after the completion of a request, and before a message that is posted.
type hooked struct {
	connector.Bus
	called func(ctx context.Context, op tsagent.Op) error
	posts  func(op tsagent.Op)
}

func (b *hooked) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	ep, err := b.Bus.Endpoint(ctx)
	return &hookedEnd{ep, b}, err
}

func (b *hooked) FollowPort(ctx context.Context, port uint32, gone func()) (func(), error) {
	return connector.FollowPort(ctx, b.Bus, port, gone)
}

type hookedEnd struct {
	connector.Endpoint
	bus *hooked
}

func opOf(m connector.Message) tsagent.Op {
	h, _, _ := tsagent.ParseHeader(m.Data)
	return h.Op
}

func (e *hookedEnd) Call(ctx context.Context, m connector.Message, to connector.Dest) (connector.Event, error) {
	op := opOf(m)
	ev, err := e.Endpoint.Call(ctx, m, to)
	if err == nil && e.bus.called != nil {
		err = e.bus.called(ctx, op)
	}
	return ev, err
}

func (e *hookedEnd) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	if e.bus.posts != nil {
		e.bus.posts(opOf(m))
	}
	return e.Endpoint.Post(ctx, m, to)
}

func (s *site) hookedClient(t *testing.T, h *hooked) *tsagent.Client {
	h.Bus = s.bus(t)
	c, err := tsagent.NewClient(soon(t), h, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

// A socket whose OPEN was given up is closed when it is there after all.
func TestOpenThatIsGivenUp(t *testing.T) {
	s := onLoopback(t, nil)
	answered, release := make(chan struct{}), make(chan struct{})
	c := s.hookedClient(t, &hooked{called: func(ctx context.Context, op tsagent.Op) error {
		if op != tsagent.OpOpen {
			return nil
		}
		close(answered) // the completion is on its way
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	ctx, cancel := context.WithCancel(background)
	outcome := make(chan error, 1)
	go func() {
		_, err := c.UDP(ctx, local4(0), tsocket.Addr{})
		outcome <- err
	}()
	<-answered
	require.Equal(t, 1, s.agent.Stats().Sockets)
	cancel()
	require.ErrorIs(t, <-outcome, tsocket.ErrCanceled)
	close(release)
	require.Eventually(t, func() bool { return s.agent.Stats().Sockets == 0 }, patience, time.Millisecond)
}

// A request that is over does not return before its CANCEL, if there is one, has been sent: it would hit the next request.
func TestLateCancel(t *testing.T) {
	s := onLoopback(t, nil)
	ctx, cancel := context.WithCancel(background)
	canceling, returned := make(chan struct{}), make(chan struct{})
	c := s.hookedClient(t, &hooked{
		called: func(_ context.Context, op tsagent.Op) error {
			if op == tsagent.OpSendTo && ctx.Err() == nil {
				cancel() // just when it is done
				<-canceling
			}
			return nil
		},
		posts: func(op tsagent.Op) {
			if op != tsagent.OpCancel {
				return
			}
			close(canceling)
			select {
			case <-returned:
				t.Error("the CANCEL of a request that has returned is on its way")
			case <-time.After(100 * time.Millisecond): // enough for who does not wait
			}
		},
	})
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	_, err = d.SendTo(ctx, []byte("x"), d.LocalAddr())
	close(returned)
	require.NoError(t, err, "it was faster")
	_, err = d.SendTo(soon(t), []byte("x"), d.LocalAddr())
	require.NoError(t, err)
}
