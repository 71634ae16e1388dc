package rxagent_test

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

var local4 = netip.MustParseAddrPort("127.0.0.1:0")

// quiet is a logger that says nothing.
var quiet = slog.New(slog.DiscardHandler)

// soon is a context that ends long after everything should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// world is a bus with an agent on it.
type world struct {
	agent *rxagent.Agent
	hub   *loopback.Hub
}

func newWorld(t testing.TB, cfg *rxagent.Config) *world {
	t.Helper()
	w := &world{hub: loopback.New(nil)}
	bus := w.hub.Open()
	t.Cleanup(func() { require.NoError(t, bus.Close()) })
	var err error
	w.agent, err = rxagent.New(soon(t), bus, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.agent.Close()) })
	return w
}

// client is a process of the bus that speaks to the agent by nothing but messages.
type client struct {
	t   testing.TB
	bus connector.Bus
	ep  connector.Endpoint

	mu  sync.Mutex
	seq map[uint32]uint32 // of the last event, by socket
}

func (w *world) client(t testing.TB) *client {
	t.Helper()
	return newClient(t, w.hub.Open())
}

func newClient(t testing.TB, bus connector.Bus) *client {
	t.Helper()
	ep, err := bus.Endpoint(soon(t))
	require.NoError(t, err)
	c := &client{t: t, bus: bus, ep: ep, seq: make(map[uint32]uint32)}
	t.Cleanup(c.die)
	return c
}

// die is the end of the process.
func (c *client) die() { _ = c.bus.Close() }

// do sends a request and returns its completion.
func (c *client) do(h rxmsg.Header, body []byte) (rxmsg.Reply, []byte, error) {
	c.t.Helper()
	ev, err := c.ep.Call(soon(c.t), connector.Message{ID: cbid.RxRPC, Data: append(h.Append(nil), body...)}, connector.Dest{})
	require.NoError(c.t, err)
	r, reply, err := rxmsg.ParseReply(ev.Msg.Data)
	require.NoError(c.t, err)
	require.Equal(c.t, h.Op, r.Op)
	return r, reply, r.Err(reply)
}

// must is do for what must succeed.
func (c *client) must(h rxmsg.Header, body []byte) (rxmsg.Reply, []byte) {
	c.t.Helper()
	r, reply, err := c.do(h, body)
	require.NoError(c.t, err, "%v", h.Op)
	return r, reply
}

// post sends a request that wants no completion.
func (c *client) post(h rxmsg.Header, seq uint32, body []byte) {
	c.t.Helper()
	h.Flags |= rxmsg.FlagNoReply
	require.NoError(c.t, c.ep.Post(soon(c.t), connector.Message{ID: cbid.RxRPC, Seq: seq, Data: append(h.Append(nil), body...)}, connector.Dest{}))
}

// event is an event with memory of its own.
type event struct {
	h    rxmsg.Header
	body []byte
}

// next returns the next event, and holds its number against the last.
func (c *client) next() event {
	c.t.Helper()
	ev, err := c.ep.Recv(soon(c.t))
	require.NoError(c.t, err)
	require.Equal(c.t, connector.EventMessage, ev.Kind)
	require.Equal(c.t, cbid.RxRPC, ev.Msg.ID)
	h, body, err := rxmsg.ParseHeader(ev.Msg.Data)
	require.NoError(c.t, err)
	require.Zero(c.t, ev.Msg.Ack)
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.Sock != 0 {
		require.Equal(c.t, c.seq[h.Sock]+1, ev.Msg.Seq, "an event of socket %d is missing", h.Sock)
		c.seq[h.Sock] = ev.Msg.Seq
	}
	return event{h, append([]byte(nil), body...)}
}

// received is a MSG.
type received struct {
	sock uint32
	rxrpc.Msg
}

// msg returns the next event, which must be a MSG.
func (c *client) msg() received {
	c.t.Helper()
	e := c.next()
	if e.h.Op == rxmsg.EventError {
		f, err := rxmsg.ParseFailure(e.body)
		require.NoError(c.t, err)
		require.Fail(c.t, "a failure", "%v: %s", f.Op, f.Text)
	}
	require.Equal(c.t, rxmsg.EventMsg, e.h.Op)
	raw, err := rxmsg.ParseMsg(e.body)
	require.NoError(c.t, err)
	m := received{sock: e.h.Sock, Msg: rxrpc.Msg{Flags: raw.Flags, Data: raw.Data}}
	m.Name, err = rxrpc.ParseAddr(raw.Name, 6)
	require.NoError(c.t, err)
	m.Control, err = rxrpc.ParseReceivedControl(raw.Control)
	require.NoError(c.t, err)
	require.Equal(c.t, m.Control.HasCallID, e.h.Flags&rxmsg.FlagTag != 0)
	require.Equal(c.t, m.Control.CallID, e.h.Arg)
	return m
}

// phase receives the data of a call's phase, and opens the window as it does.
func (c *client) phase(sock uint32, tag uint64) ([]byte, rxrpc.MsgFlags) {
	c.t.Helper()
	var data []byte
	for {
		m := c.msg()
		require.Equal(c.t, sock, m.sock)
		require.Equal(c.t, control(tag), m.Control)
		data = append(data, m.Data...)
		if m.Flags&rxrpc.MsgMore == 0 {
			return data, m.Flags
		}
		c.post(rxmsg.Header{Op: rxmsg.OpWindow, Sock: sock, Arg: tag}, 0, rxmsg.AppendU32(nil, uint32(len(m.Data))))
	}
}

func control(tag uint64) rxrpc.Control { return rxrpc.Control{CallID: tag, HasCallID: true} }

func command(tag uint64, c rxrpc.ControlType) rxrpc.Control {
	return rxrpc.Control{CallID: tag, HasCallID: true, Command: c}
}

// socket opens a socket.
func (c *client) socket(p rxmsg.Socket) uint32 {
	c.t.Helper()
	r, _ := c.must(rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet}, p.Append(nil))
	return r.Sock
}

func at(service uint16, addr netip.AddrPort) []byte {
	return rxrpc.Addr{Service: service, Addr: addr}.AppendRaw(nil)
}

// bind returns where the socket is.
func (c *client) bind(sock uint32, service uint16) rxrpc.Addr {
	c.t.Helper()
	_, body := c.must(rxmsg.Header{Op: rxmsg.OpBind, Sock: sock}, at(service, local4))
	a, err := rxrpc.ParseAddr(body, 4)
	require.NoError(c.t, err)
	return a
}

// server is a socket that listens, and where.
func (c *client) server(service uint16) (uint32, rxrpc.Addr) {
	c.t.Helper()
	s := c.socket(rxmsg.Socket{})
	a := c.bind(s, service)
	c.must(rxmsg.Header{Op: rxmsg.OpListen, Sock: s, Arg: 64}, nil)
	return s, a
}

// connected is a client's socket.
func (c *client) connected(to rxrpc.Addr) uint32 {
	c.t.Helper()
	s := c.socket(rxmsg.Socket{})
	c.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: s}, to.AppendRaw(nil))
	return s
}

// message is the body of SENDMSG.
func message(t testing.TB, m rxrpc.Msg) []byte {
	t.Helper()
	raw := rxmsg.Msg{Flags: m.Flags, Data: m.Data, Control: m.Control.AppendRaw(nil)}
	if m.Name.Addr.IsValid() {
		raw.Name = m.Name.AppendRaw(nil)
	}
	b, err := raw.Append(nil)
	require.NoError(t, err)
	return b
}

// send sends data of any length in as many messages as it takes, each with a completion.
func (c *client) send(sock uint32, tag uint64, data []byte) {
	c.t.Helper()
	for h := (rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: sock}); ; h.Flags = rxmsg.FlagFurther {
		n := min(len(data), rxmsg.MaxData(0, 64))
		m := rxrpc.Msg{Control: control(tag), Data: data[:n]}
		if data = data[n:]; len(data) > 0 {
			m.Flags = rxrpc.MsgMore
		}
		r, _ := c.must(h, message(c.t, m))
		require.Equal(c.t, n, int(r.Value))
		if len(data) == 0 {
			return
		}
	}
}

// command sends a control message.
func (c *client) command(sock uint32, ctl rxrpc.Control) error {
	c.t.Helper()
	_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: sock}, message(c.t, rxrpc.Msg{Control: ctl}))
	return err
}

// engine is an endpoint of the test's own, in no agent.
func engine(t testing.TB) *rxrpc.Endpoint {
	t.Helper()
	e, err := rxrpc.Open(local4, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// echo is a server in Go that sends requests back.
func echo(t testing.TB, service uint16) rxrpc.Addr {
	t.Helper()
	s := rxrpc.NewServer(engine(t), nil)
	require.NoError(t, s.Handle(service, rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	})))
	t.Cleanup(func() { _ = s.Close() })
	return rxrpc.Addr{Service: service, Addr: s.Endpoint().LocalAddr()}
}

// pattern returns n bytes that are not the same anywhere near each other.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + i>>8*7 + i>>16)
	}
	return b
}
