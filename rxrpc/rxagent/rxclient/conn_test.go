package rxclient_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// twisted is a bus whose endpoints twist what comes and goes.
type twisted struct {
	connector.Bus
	recv func(*connector.Event)          // what comes
	call func(m connector.Message) error // before what goes
}

type twistedEnd struct {
	connector.Endpoint
	b *twisted
}

func (b *twisted) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	e, err := b.Bus.Endpoint(ctx)
	return &twistedEnd{e, b}, err
}

func (e *twistedEnd) Recv(ctx context.Context) (connector.Event, error) {
	ev, err := e.Endpoint.Recv(ctx)
	if err == nil && e.b.recv != nil {
		e.b.recv(&ev)
	}
	return ev, err
}

func (e *twistedEnd) Call(ctx context.Context, m connector.Message, to connector.Dest) (connector.Event, error) {
	if e.b.call != nil {
		if err := e.b.call(m); err != nil {
			return connector.Event{}, err
		}
	}
	return e.Endpoint.Call(ctx, m, to)
}

// twist is a site with an agent, and a process on a bus that is twisted.
func twist(t *testing.T, b *twisted) (*rxagent.Agent, *loopback.Hub, *rxclient.Conn) {
	t.Helper()
	hub := loopback.New(nil)
	agent := startAgent(t, hub.Open(), newKeys())
	b.Bus = hub.Open()
	c, err := rxclient.Dial(soon(t), b, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		_ = b.Bus.Close()
	})
	return agent, hub, c
}

// once is a switch that one event takes.
type once struct {
	mu sync.Mutex
	on bool
}

func (o *once) set() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.on = true
}

func (o *once) take() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.on
	o.on = false
	return was
}

// TestLostSocketIsClosed: when an event is missing the socket is given up, here and at the agent, so that an endpoint gets its port and
// its service again by itself.
func TestLostSocketIsClosed(t *testing.T) {
	var drop, dropOwn once
	agent, _, c := twist(t, &twisted{recv: func(ev *connector.Event) {
		if h, _, err := rxmsg.ParseHeader(ev.Msg.Data); err == nil && h.Op.Event() && (h.Arg&rxrpc.AutoTag != 0 && drop.take() || h.Arg == 1 && dropOwn.take()) {
			ev.Msg.Seq++ // as if the one before had not come
		}
	}})
	e, err := c.Open(local4, nil)
	require.NoError(t, err)
	s := rxrpc.NewServer(e, nil)
	t.Cleanup(func() {
		_ = s.Close()
		_ = e.Close()
	})
	require.NoError(t, s.Handle(52, echo))
	t.Cleanup(rxrpc.CloseShared)
	client, err := rxrpc.Dial(e.LocalAddr().String(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	call := func() error {
		ctx, cancel := context.WithTimeout(soon(t), time.Second) // calls of the socket that is lost have no answer but RX_CALL_DEAD
		defer cancel()
		_, err := client.Call(ctx, 52, []byte("x"))
		return err
	}
	_, err = client.Call(soon(t), 52, []byte("x"))
	require.NoError(t, err)
	drop.set()
	require.EventuallyWithT(t, func(col *assert.CollectT) {
		assert.NoError(col, call())
		assert.Len(col, agent.Sockets(), 2, "the endpoint's, and its service's")
	}, time.Minute, time.Millisecond)

	own, err := c.NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	require.NoError(t, own.Connect(rxrpc.Addr{Service: 52, Addr: e.LocalAddr()}))
	dropOwn.set()
	_, err = own.Sendmsg(soon(t), rxrpc.Msg{Control: rxrpc.Control{CallID: 1, HasCallID: true}, Data: []byte("x")})
	require.NoError(t, err)
	_, err = own.Recvmsg(soon(t), make([]byte, 10), 0)
	require.ErrorIs(t, err, rxclient.ErrDown)
	require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Len(col, agent.Sockets(), 2) }, time.Minute, time.Millisecond)
}

// TestEventsOfOthers: what another process tells as if it were the agent is not heard.
func TestEventsOfOthers(t *testing.T) {
	var mu sync.Mutex
	var sock uint32
	_, hub, c := twist(t, &twisted{recv: func(ev *connector.Event) {
		if h, _, err := rxmsg.ParseHeader(ev.Msg.Data); err == nil && h.Op == rxmsg.EventMsg {
			mu.Lock()
			defer mu.Unlock()
			sock = h.Sock
		}
	}})
	server, err := c.NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	require.NoError(t, server.Bind(rxrpc.Addr{Service: 52, Addr: local4}))
	require.NoError(t, server.Listen(4))
	s, err := c.NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	require.NoError(t, s.Connect(server.Getsockname()))
	ctl := rxrpc.Control{CallID: 1, HasCallID: true}
	_, err = s.Sendmsg(soon(t), rxrpc.Msg{Control: ctl, Data: []byte("x")})
	require.NoError(t, err)
	m, err := server.Recvmsg(soon(t), make([]byte, 10), 0)
	require.NoError(t, err)
	require.Equal(t, rxrpc.CtlNewCall, m.Control.Command)

	forger := hub.Open()
	t.Cleanup(func() { _ = forger.Close() })
	ep, err := forger.Endpoint(soon(t))
	require.NoError(t, err)
	mu.Lock()
	h := rxmsg.Header{Op: rxmsg.EventClosed, Sock: sock}
	mu.Unlock()
	body := (&rxmsg.Failure{Errno: syscall.EIO, Text: "forged"}).Append(h.Append(nil))
	require.NoError(t, ep.Send(soon(t), connector.Message{ID: cbid.RxRPC, Seq: 2, Data: body}, connector.Dest{Port: c.Port()}))
	_, err = server.Sendmsg(soon(t), rxrpc.Msg{Control: rxrpc.Control{CallID: 1, HasCallID: true, Command: rxrpc.CtlAccept}})
	require.NoError(t, err)
	m, err = server.Recvmsg(soon(t), make([]byte, 10), 0)
	require.NoError(t, err)
	assert.Equal(t, "x", string(m.Data))
}

// TestInterceptAgain: an interceptor that the agent has not got is none.
func TestInterceptAgain(t *testing.T) {
	var refuse once
	refuse.set()
	_, _, c := twist(t, &twisted{call: func(m connector.Message) error {
		if h, _, err := rxmsg.ParseHeader(m.Data); err == nil && h.Op == rxmsg.OpIntercept && refuse.take() {
			return errors.New("not now")
		}
		return nil
	}})
	s, err := c.NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	k := rxclient.NewKernelService(s)
	fn := func(*rxclient.Socket, uint64, *rxclient.RxMessage) {}
	require.ErrorContains(t, k.InterceptRxMessages(fn), "not now")
	require.NoError(t, k.InterceptRxMessages(fn))
	require.ErrorIs(t, k.InterceptRxMessages(fn), syscall.EBUSY)
}
