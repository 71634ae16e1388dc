package rxagent_test

import (
	"context"
	"net/netip"
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
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// TestInterruptedBeginCall: a call that waits for a channel can be given up by CANCEL, by END_CALL and by a deadline; it does not begin
// afterwards, and its number is free.
func TestInterruptedBeginCall(t *testing.T) {
	w := newWorld(t, &rxagent.Config{Endpoint: oneConn()})
	c := w.client(t)
	s := taken(t, w, c)
	body, err := (&rxmsg.BeginCall{}).Append(nil)
	require.NoError(t, err)
	begin := func(flags uint16, body []byte) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: s, Arg: 10, Flags: flags}, body)
			done <- err
		}()
		return done
	}
	waits := func() {
		t.Helper()
		require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Equal(col, 5, w.agent.Sockets()[0].Calls) }, time.Minute, time.Millisecond)
	}
	free := func() {
		t.Helper()
		require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Equal(col, 4, w.agent.Sockets()[0].Calls) }, time.Minute, time.Millisecond)
	}
	end := rxmsg.Header{Op: rxmsg.OpEndCall, Sock: s, Arg: 10}

	done := begin(0, body)
	waits()
	_, _, err = c.do(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: s, Arg: 10}, body)
	require.ErrorIs(t, err, syscall.EEXIST)
	c.must(end, nil)
	require.ErrorIs(t, <-done, syscall.ECANCELED)
	free()
	_, _, err = c.do(end, nil)
	require.ErrorContains(t, err, "no such call")

	done = begin(0, body)
	waits()
	for seq, given := uint64(0), false; !given; seq++ {
		r, _ := c.must(rxmsg.Header{Op: rxmsg.OpCancel, Arg: seq}, nil)
		given = r.Value == 1
	}
	require.ErrorIs(t, <-done, syscall.ECANCELED)
	free()

	require.ErrorIs(t, <-begin(rxmsg.FlagDeadline, within(time.Millisecond, body)), syscall.ETIMEDOUT)
	free()

	done = begin(0, body)
	waits()
	require.NoError(t, c.command(s, aborting(1))) // which frees a channel
	require.NoError(t, <-done)
	c.must(end, nil)
	assert.Zero(t, w.agent.Pending())
}

// slowOpen is an Open that waits until it may go on.
type slowOpen struct {
	begun chan netip.AddrPort
	goOn  chan struct{}
}

func newSlowOpen(t *testing.T) *slowOpen {
	o := &slowOpen{make(chan netip.AddrPort, 16), make(chan struct{})}
	t.Cleanup(o.release)
	return o
}

func (o *slowOpen) release() {
	select {
	case <-o.goOn:
	default:
		close(o.goOn)
	}
}

func (o *slowOpen) open(local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	o.begun <- local
	<-o.goOn
	return rxrpc.Open(local, cfg)
}

func (o *slowOpen) await(t *testing.T) {
	t.Helper()
	select {
	case <-o.begun:
	case <-soon(t).Done():
		require.Fail(t, "nothing is opened")
	}
}

// TestNothingIsOpenedInTheCallback: while an endpoint is opened, which may take a while, the agent serves others: after a message that was refused
// before it needed an endpoint, for a call of the kernel's interface with a message behind it, and for the other family of a socket that has one.
func TestNothingIsOpenedInTheCallback(t *testing.T) {
	_, a := newWorld(t, nil).client(t).server(52)
	h := func(op rxmsg.Op, sock uint32, tag uint64) rxmsg.Header {
		return rxmsg.Header{Op: op, Sock: sock, Arg: tag}
	}
	begin, err := (&rxmsg.BeginCall{Name: a.AppendRaw(nil)}).Append(nil)
	require.NoError(t, err)
	request := message(t, rxrpc.Msg{Name: a, Control: control(2), Data: []byte("x")})
	for name, ask := range map[string]func(c *client, s uint32){
		"after a refusal": func(c *client, s uint32) {
			_, _, err := c.do(h(rxmsg.OpSendmsg, s, 0), message(t, rxrpc.Msg{Control: control(1), Data: []byte("x")}))
			require.ErrorIs(t, err, syscall.EDESTADDRREQ)
			c.post(h(rxmsg.OpSendmsg, s, 0), 0, request)
		},
		"begin call": func(c *client, s uint32) {
			c.post(h(rxmsg.OpBeginCall, s, 1), 0, begin)
			c.post(h(rxmsg.OpWindow, s, 1), 0, rxmsg.AppendU32(nil, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			slow := newSlowOpen(t)
			w := newWorld(t, &rxagent.Config{Open: slow.open})
			c, other := w.client(t), w.client(t)
			s := c.socket(rxmsg.Socket{})
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				ask(c, s)
			}()
			slow.await(t)
			other.must(rxmsg.Header{Op: rxmsg.OpHello}, rxmsg.AppendU32(nil, rxmsg.Version))
			await(t, asked)
			other.must(rxmsg.Header{Op: rxmsg.OpHello}, rxmsg.AppendU32(nil, rxmsg.Version))
			slow.release()
		})
	}
	t.Run("other family", func(t *testing.T) {
		slow := newSlowOpen(t)
		w := newWorld(t, &rxagent.Config{Open: func(local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
			if local.Addr().Is4() {
				return slow.open(local, cfg)
			}
			// Where there is no IPv6 it is not needed either: nothing is sent from here.
			return rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), cfg)
		}})
		c, other := w.client(t), w.client(t)
		r, _ := c.must(rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet6}, nil)
		c.must(rxmsg.Header{Op: rxmsg.OpBind, Sock: r.Sock}, rxrpc.Addr{Addr: netip.MustParseAddrPort("[::]:0")}.AppendRaw(nil))
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			c.post(h(rxmsg.OpSendmsg, r.Sock, 0), 0, request)
		}()
		slow.await(t)
		other.must(rxmsg.Header{Op: rxmsg.OpHello}, rxmsg.AppendU32(nil, rxmsg.Version))
		slow.release()
		await(t, asked)
	})
}

// TestWaitingForATurn: what waits behind something that takes long can be given up, and completes at its deadline.
func TestWaitingForATurn(t *testing.T) {
	slow := newSlowOpen(t)
	w := newWorld(t, &rxagent.Config{Open: slow.open})
	c := w.client(t)
	s := c.socket(rxmsg.Socket{})
	bound := make(chan error, 1)
	go func() {
		_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpBind, Sock: s}, at(0, local4))
		bound <- err
	}()
	slow.await(t)
	_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpGetName, Sock: s, Flags: rxmsg.FlagDeadline}, within(time.Millisecond, nil))
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	named := make(chan error, 1)
	go func() {
		_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpGetName, Sock: s}, nil)
		named <- err
	}()
	require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Equal(col, 2, w.agent.Pending()) }, time.Minute, time.Millisecond)
	var given []uint64
	for seq := uint64(0); len(given) == 0; seq++ {
		if r, _ := c.must(rxmsg.Header{Op: rxmsg.OpCancel, Arg: seq}, nil); r.Value == 1 {
			given = append(given, seq)
		}
	}
	require.ErrorIs(t, <-named, syscall.ECANCELED, "BIND, which is being done, cannot be given up")
	slow.release()
	require.NoError(t, <-bound)
	assert.Zero(t, w.agent.Pending())
}

// TestKeyOperationsCanBeGivenUp: at their deadline, and by CANCEL.
func TestKeyOperationsCanBeGivenUp(t *testing.T) {
	keys := &gateKeys{asked: make(chan struct{}, 4), goOn: make(chan struct{})}
	c := newWorld(t, &rxagent.Config{Keys: keys}).client(t)
	_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpKeyList, Flags: rxmsg.FlagDeadline}, within(time.Millisecond, nil))
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	done := make(chan error, 1)
	go func() {
		_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpKeyList}, nil)
		done <- err
	}()
	await(t, keys.asked)
	for seq, given := uint64(0), false; !given; seq++ {
		r, _ := c.must(rxmsg.Header{Op: rxmsg.OpCancel, Arg: seq}, nil)
		given = r.Value == 1
	}
	require.ErrorIs(t, <-done, syscall.ECANCELED)
}

// slowCancels is a bus on which the answers to CANCEL do not leave before they may.
type slowCancels struct {
	connector.Bus
	connector.PortBus
	goOn chan struct{}
}

func (b *slowCancels) AddCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	return b.Bus.AddCallback(ctx, id, name, connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		slow := *d
		slow.Via = &slowReplier{d.Via, b}
		h.Handle(ctx, &slow)
	}))
}

type slowReplier struct {
	connector.Replier
	b *slowCancels
}

func (v *slowReplier) Reply(ctx context.Context, d *connector.Delivery, data []byte) error {
	if r, _, err := rxmsg.ParseReply(data); err == nil && r.Op == rxmsg.OpCancel && r.Errno == 0 {
		<-v.b.goOn
	}
	return v.Replier.Reply(ctx, d, data)
}

// TestCancelsCount: a client that does not read the answers cannot have any number of them remembered.
func TestCancelsCount(t *testing.T) {
	const requests = 2
	hub := loopback.New(nil)
	inner := hub.Open()
	bus := &slowCancels{inner, inner, make(chan struct{})}
	t.Cleanup(func() { require.NoError(t, bus.Close()) })
	agent, err := rxagent.New(soon(t), bus, &rxagent.Config{Limits: rxagent.Limits{Requests: requests}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, agent.Close()) })
	release := sync.OnceFunc(func() { close(bus.goOn) })
	t.Cleanup(release)
	c := newClient(t, hub.Open())
	const most = 4 * requests
	answers := make(chan error, most+1)
	for range most + 1 {
		go func() {
			_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpCancel, Arg: 1 << 31}, nil)
			answers <- err
		}()
	}
	require.ErrorIs(t, <-answers, syscall.ENOBUFS)
	release()
	for range most {
		require.NoError(t, <-answers)
	}
	_, _, err = c.do(rxmsg.Header{Op: rxmsg.OpCancel, Arg: 1 << 31}, nil)
	require.NoError(t, err)
}
