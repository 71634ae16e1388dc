package rxclient_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// slowWindow is a bus on which who opens a window waits until the end of its call has come, and was taken in.
type slowWindow struct {
	connector.Bus
	opened sync.Once
	rest   func() // has the rest of the reply be sent

	ended sync.Once
	last  bool // of the reader: the event before was the last of the call
	known chan struct{}
}

type slowWindowEnd struct {
	connector.Endpoint
	b *slowWindow
}

func (b *slowWindow) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	e, err := b.Bus.Endpoint(ctx)
	return &slowWindowEnd{e, b}, err
}

func (e *slowWindowEnd) Recv(ctx context.Context) (connector.Event, error) {
	if e.b.last {
		e.b.ended.Do(func() { close(e.b.known) })
	}
	ev, err := e.Endpoint.Recv(ctx)
	if err != nil {
		return ev, err
	}
	if h, body, perr := rxmsg.ParseHeader(ev.Msg.Data); perr == nil && h.Op == rxmsg.EventMsg {
		m, perr := rxmsg.ParseMsg(body)
		e.b.last = perr == nil && m.Flags&rxrpc.MsgEOR != 0
	}
	return ev, err
}

func (e *slowWindowEnd) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	err := e.Endpoint.Post(ctx, m, to)
	if h, _, perr := rxmsg.ParseHeader(m.Data); perr == nil && h.Op == rxmsg.OpWindow {
		e.b.opened.Do(func() {
			e.b.rest()
			<-e.b.known
		})
	}
	return err
}

// TestEndWhileTheWindowIsOpened: the end of a reply that comes while Recvmsg opens the window is not the end of the data that it returns.
func TestEndWhileTheWindowIsOpened(t *testing.T) {
	const first, rest = 256 << 10, 1000
	server, err := rxrpc.Open(local4, nil)
	require.NoError(t, err)
	srv := rxrpc.NewServer(server, nil)
	t.Cleanup(func() {
		_ = srv.Close()
		_ = server.Close()
	})
	more := make(chan struct{})
	want := pattern(first + rest)
	require.NoError(t, srv.Handle(52, rxrpc.HandlerFunc(func(ctx context.Context, call *rxrpc.ServerCall) error {
		if _, err := call.Write(want[:first]); err != nil {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
		_, err := call.Write(want[first:])
		return err
	})))
	site := within(t)
	b := &slowWindow{Bus: site.open(t), rest: func() { close(more) }, known: make(chan struct{})}
	c, err := rxclient.Dial(soon(t), b, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		_ = b.Bus.Close()
	})
	s, err := c.NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Connect(rxrpc.Addr{Service: 52, Addr: server.LocalAddr()}))
	_, err = s.Sendmsg(soon(t), rxrpc.Msg{Control: rxrpc.Control{CallID: 1, HasCallID: true}})
	require.NoError(t, err)
	var got []byte
	for more := true; more; {
		m, err := s.Recvmsg(soon(t), make([]byte, first), 0)
		require.NoError(t, err)
		require.NoError(t, m.Err)
		got = append(got, m.Data...)
		more = m.Flags&rxrpc.MsgEOR == 0
	}
	assert.Equal(t, len(want), len(got))
	assert.Equal(t, want, got)
}
