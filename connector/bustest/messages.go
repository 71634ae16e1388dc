package bustest

import (
	"bytes"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var messageTests = []test{
	{name: "endpoints have different ports, none of them 0", run: func(e *env) {
		b := e.bus()
		seen := map[uint32]bool{0: true}
		for range 5 {
			for _, ep := range []connector.Endpoint{e.endpoint(b), e.endpoint()} {
				require.False(e, seen[ep.Port()], "port %d", ep.Port())
				seen[ep.Port()] = true
			}
		}
	}},
	{name: "every field of a message arrives", run: func(e *env) {
		a, b := e.endpoint(), e.member(group(0))
		m := connector.Message{ID: cbid.Make(0xfffffffe, 0x80000001), Seq: 0x01020304, Ack: 0xfffefdfc, Flags: 0x8001, Data: []byte("data\x00")}
		for _, dest := range []connector.Dest{to(b.Port()), toGroup(group(0))} {
			require.NoError(e, a.Send(e.ctx, m, dest))
			ev := e.message(b)
			assert.Equal(e, m, ev.Msg)
			assert.Equal(e, a.Port(), ev.From.Port)
			assert.Equal(e, dest.Group, ev.From.Group)
			assert.Zero(e, ev.Pos)
			assert.Zero(e, ev.Lost)
		}
	}},
	{name: "messages of every size up to 16364 bytes arrive whole", run: func(e *env) {
		a, b := e.endpoint(), e.member(group(0))
		for _, size := range []int{0, 1, 2, 3, 4, 5, 7, 8, 100, 4095, 4096, 4097, 16363, 16364} {
			data := bytes.Repeat([]byte{0xa5, byte(size), 0x5a}, size/3+1)[:size]
			for _, dest := range []connector.Dest{to(b.Port()), toGroup(group(0))} {
				require.NoError(e, a.Send(e.ctx, connector.Message{ID: id(0), Data: data}, dest))
				require.NoError(e, a.Post(e.ctx, connector.Message{ID: id(0), Data: data}, dest))
				for range 2 {
					require.True(e, bytes.Equal(data, e.message(b).Msg.Data), "%d bytes", size)
				}
			}
		}
	}},
	{name: "16365 bytes are refused with EMSGSIZE", run: func(e *env) {
		a, bus := e.member(group(0)), e.bus()
		m := connector.Message{ID: id(0), Data: make([]byte, 16365)}
		for _, dest := range []connector.Dest{to(a.Port()), toGroup(group(0)), toID} {
			e.is(a.Send(e.ctx, m, dest), connector.ErrTooBig, syscall.EMSGSIZE)
			e.is(a.Post(e.ctx, m, dest), connector.ErrTooBig)
			_, err := a.Call(e.ctx, m, dest)
			e.is(err, connector.ErrTooBig)
			e.is(bus.Send(e.ctx, m, dest), connector.ErrTooBig)
		}
		e.nothingFor(a)
	}},
	{name: "messages between two endpoints keep their order", run: func(e *env) {
		a, b := e.endpoint(), e.endpoint()
		const n = 500
		e.spawn(func() {
			for i := range n {
				send := a.Post
				if i%10 == 0 {
					send = a.Send
				}
				if !assert.NoError(e, send(e.ctx, numbered(id(0), 1, i, 12+i), to(b.Port()))) {
					return
				}
			}
		})
		for i := range n {
			_, got, err := number(e.message(b).Msg)
			require.NoError(e, err)
			require.Equal(e, i, got)
		}
	}},
	{name: "the sender may use its bytes again at once", run: func(e *env) {
		a, b := e.endpoint(), e.member(group(0))
		data := make([]byte, 64)
		for i := range 200 {
			for j := range data {
				data[j] = byte(i)
			}
			dest := to(b.Port())
			if i%2 == 1 {
				dest = toGroup(group(0))
			}
			require.NoError(e, a.Post(e.ctx, connector.Message{ID: id(0), Data: data}, dest))
		}
		for i := range 200 {
			require.Equal(e, bytes.Repeat([]byte{byte(i)}, 64), e.message(b).Msg.Data)
		}
	}},
	{name: "an endpoint may send to itself", run: func(e *env) {
		a := e.endpoint()
		require.NoError(e, a.Send(e.ctx, text(id(0), "me"), to(a.Port())))
		assert.Equal(e, "me", string(e.message(a).Msg.Data))
	}},
	{name: "a port that nobody has refuses with ECONNREFUSED", need: func(c Caps) bool { return c.NoPort }, run: func(e *env) {
		a, gone, bus := e.endpoint(), e.endpoint(), e.bus()
		port := gone.Port()
		require.NoError(e, gone.Close())
		e.eventually("the closed endpoint's port is gone", func() bool {
			return a.Send(e.ctx, text(id(0), "x"), to(port)) != nil
		})
		for _, p := range []uint32{port, 0xfffffff0} {
			e.is(a.Send(e.ctx, text(id(0), "x"), to(p)), connector.ErrNoPort, syscall.ECONNREFUSED)
			e.is(bus.Send(e.ctx, text(id(0), "x"), to(p)), connector.ErrNoPort)
		}
	}},
	{name: "what failed is named by the error", need: func(c Caps) bool { return c.NoPort && c.NoListener }, run: func(e *env) {
		a := e.endpoint()
		err := a.Send(e.ctx, text(id(0), "x"), to(0xfffffff0))
		var op *connector.OpError
		require.ErrorAs(e, err, &op)
		assert.EqualValues(e, 0xfffffff0, op.Port)
		assert.Equal(e, id(0), op.ID)
		assert.False(e, op.MayBeDelivered)
		require.ErrorAs(e, a.Send(e.ctx, text(id(0), "x"), toGroup(group(3))), &op)
		assert.Equal(e, group(3), op.Group)
	}},
	{name: "a Post that fails is told in the stream", need: func(c Caps) bool { return c.Failed && c.NoPort && c.NoListener && c.NoID }, run: func(e *env) {
		a := e.endpoint()
		m := connector.Message{ID: id(5, 9), Seq: 77, Ack: 88, Flags: 3, Data: []byte("lost")}
		for _, f := range []struct {
			dest connector.Dest
			err  error
		}{{to(0xfffffff0), connector.ErrNoPort}, {toGroup(group(3)), connector.ErrNoListener}, {toID, connector.ErrNoID}} {
			require.NoError(e, a.Post(e.ctx, m, f.dest))
			ev := e.recv(a)
			require.Equal(e, connector.EventFailed, ev.Kind)
			e.is(ev.Err, f.err)
			assert.Equal(e, m.ID, ev.Msg.ID)
			assert.Equal(e, m.Seq, ev.Msg.Seq)
			assert.Equal(e, m.Ack, ev.Msg.Ack)
			assert.Empty(e, ev.Msg.Data)
			assert.Equal(e, f.dest, connector.Dest{Port: ev.From.Port, Group: ev.From.Group})
		}
	}},
	{name: "a cancelled Recv loses nothing", run: func(e *env) {
		a, b := e.endpoint(), e.endpoint()
		for i := range 20 {
			ctx, cancel := e.short()
			if i%2 == 0 {
				cancel()
			}
			sent := e.spawn(func() { assert.NoError(e, a.Send(e.ctx, numbered(id(0), 1, i, 0), to(b.Port()))) })
			ev, err := b.Recv(ctx)
			if err != nil {
				e.is(err, ctx.Err())
				ev = e.message(b)
			}
			cancel()
			_, n, err := number(ev.Msg)
			require.NoError(e, err)
			require.Equal(e, i, n)
			e.await(sent, "the confirmation")
		}
	}},
	{name: "an agent sends to a port", run: func(e *env) {
		bus, b := e.bus(), e.endpoint()
		require.NoError(e, bus.Send(e.ctx, text(id(0), "hello"), to(b.Port())))
		ev := e.message(b)
		assert.Equal(e, "hello", string(ev.Msg.Data))
		assert.Zero(e, ev.From.Group)
		assert.NotEqual(e, b.Port(), ev.From.Port)
	}},
	{name: "an agent posts", run: func(e *env) {
		bus, b := e.bus(), e.member(group(0))
		p, ok := bus.(connector.Poster)
		if !ok {
			e.Log("this carrier's Bus is no connector.Poster")
			return
		}
		for i := range 100 {
			require.NoError(e, p.Post(e.ctx, numbered(id(0), 1, i, 0), []connector.Dest{to(b.Port()), toGroup(group(0))}[i%2]))
		}
		for i := range 100 {
			_, n, err := number(e.message(b).Msg)
			require.NoError(e, err)
			require.Equal(e, i, n)
		}
	}},
}
