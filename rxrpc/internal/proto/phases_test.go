package proto

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatesOfAClientCall(t *testing.T) {
	r := newRig(t, Config{})
	c, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: testService})
	require.NoError(t, err)
	assert.Equal(t, SendRequest, c.State())
	assert.Empty(t, r.texts())
	_, _, number := c.ID()
	assert.EqualValues(t, 1, number)
	n, err := c.Send(r.now, []byte("ab"), true)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.Empty(t, r.texts(), "a part of a packet waits for more")
	n, err = c.Send(r.now, pattern(1172), true)
	require.NoError(t, err)
	assert.Equal(t, 1172, n)
	assert.Equal(t, []string{"DATA call 1 seq 1 CLIENT|REQACK"}, r.texts())
	assert.True(t, r.what[c].Has(Connected))
	assert.False(t, r.what[c].Has(Sent))
	_, err = c.Send(r.now, nil, false)
	require.NoError(t, err)
	assert.Equal(t, []string{"DATA call 1 seq 2 CLIENT|REQACK|LAST"}, r.texts())
	assert.True(t, r.what[c].Has(Sent))
	assert.Equal(t, AwaitReply, c.State())
	_, err = c.Send(r.now, []byte("x"), true)
	assert.Equal(t, ErrPhase, err)

	r.in(fromServer(c, wire.TypeData, 1), 'y')
	assert.Equal(t, RecvReply, c.State())
	assert.Zero(t, c.tx.len(), "the reply acknowledges the request")
	assert.Equal(t, "y", string(r.data(c)))
	h := fromServer(c, wire.TypeData, 2)
	h.Flags |= last
	r.in(h)
	assert.Equal(t, Complete, c.State())
	b, end, ok := c.Take()
	require.True(t, ok)
	assert.Empty(t, b.Bytes())
	assert.True(t, end)
	b.Release()
	_, _, ok = c.Take()
	assert.False(t, ok)
	_, err = c.Send(r.now, nil, false)
	assert.Equal(t, ErrEnded, err)
	assert.Zero(t, c.Room())
	c.Release(r.now)
	assert.Zero(t, r.stats.LiveCalls)
}

// TestEndsOfReplies: the end of a reply is acknowledged by the next call on its channel, or when there was none for a while, or
// when there will be none.
func TestEndsOfReplies(t *testing.T) {
	ack := "ACK IDLE call 1 first 2 prev 1 for 0 "
	for name, c := range map[string]struct {
		end  func(r *rig)
		want []string
	}{
		"nothing for a while": {func(*rig) {}, nil},
		"asked for":           {func(r *rig) { r.AckEnds() }, []string{ack}},
		"asked for twice":     {func(r *rig) { r.AckEnds(); r.AckEnds() }, []string{ack}},
		"end of the endpoint": {func(r *rig) { r.Endpoint.Close(r.now) }, []string{ack}},
		"the next call does it": {func(r *rig) {
			r.begin(CallParams{}, []byte("y"))
			assert.Equal(t, []string{"DATA call 2 seq 1 CLIENT|REQACK|LAST"}, r.texts())
			r.AckEnds()
		}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			call := r.begin(CallParams{}, []byte("x"))
			r.out()
			h := fromServer(call, wire.TypeData, 1)
			h.Flags |= last
			r.in(h, 'y')
			r.data(call)
			call.Release(r.now)
			assert.Empty(t, r.texts(), "the next call may come at once")
			c.end(r)
			out := r.texts()
			if c.want == nil {
				assert.Empty(t, out)
				assert.Equal(t, []string{ack}, r.laterTexts(2*r.cfg.Timers.FinalAck))
				return
			}
			assert.Equal(t, c.want, out)
			for _, p := range r.laterTexts(2 * r.cfg.Timers.FinalAck) {
				assert.NotEqual(t, ack, p, "once is enough")
			}
		})
	}
}

func TestAnEarlyReplyIsAProtocolError(t *testing.T) {
	r := newRig(t, Config{})
	c, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: testService})
	require.NoError(t, err)
	r.in(fromServer(c, wire.TypeData, 1), 'y')
	assert.Equal(t, Running, c.Result().Completion, "nobody can answer what was never sent")
	assert.Equal(t, []string{"ABORT -5 call 1"}, r.texts())
	_, err = c.Send(r.now, pattern(5000), true)
	require.NoError(t, err)
	r.out()
	r.in(fromServer(c, wire.TypeData, 1), 'y')
	assert.Equal(t, wire.ProtocolError, c.Result().Code)
	assert.Equal(t, []string{"ABORT -5 call 1"}, r.texts())
}

func TestACallNumberIsUsedUpByItsFirstPacket(t *testing.T) {
	r := newRig(t, Config{})
	c, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: testService})
	require.NoError(t, err)
	c.Abort(r.now, 1)
	assert.Empty(t, r.texts())
	d := r.begin(CallParams{}, []byte("x"))
	_, cid, number := d.ID()
	_, old, _ := c.ID()
	assert.Equal(t, old, cid)
	assert.EqualValues(t, 1, number)
	r.out()
	d.Abort(r.now, 5)
	assert.Equal(t, []string{"ABORT 5 call 1"}, r.texts())
	f := r.begin(CallParams{}, []byte("x"))
	_, _, number = f.ID()
	assert.EqualValues(t, 2, number)
}

func TestACallNumberDoesNotWrap(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	r.out()
	c.conn.channels[0].number = wire.MaxCallNumber - 1
	c.Abort(r.now, 1)
	r.out()
	c.Release(r.now)
	cn := r.allConns[0]
	cn.channels[0].number = wire.MaxCallNumber - 1
	d := r.begin(CallParams{}, []byte("x"))
	_, cid, number := d.ID()
	assert.Equal(t, wire.MaxCallNumber, number)
	f := r.begin(CallParams{}, []byte("x"))
	_, other, _ := f.ID()
	assert.NotEqual(t, cid.ConnID(), other.ConnID())
}

func TestAborts(t *testing.T) {
	t.Run("by the peer", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{}, []byte("x"))
		r.out()
		r.in(fromServer(c, wire.TypeAbort, 0), 0xff, 0xff, 0xfe, 0x39)
		assert.Equal(t, Result{Completion: RemotelyAborted, Code: -455, Errno: syscall.ECONNABORTED}, c.Result())
		assert.Empty(t, r.laterTexts(time.Second), "an ABORT is never answered")
	})
	t.Run("of the connection", func(t *testing.T) {
		r := newRig(t, Config{})
		c, d := r.begin(CallParams{}, []byte("x")), r.begin(CallParams{}, []byte("x"))
		r.out()
		h := fromServer(c, wire.TypeAbort, 0)
		h.Call = 0
		r.in(h, 0, 0, 0, 9)
		for _, c := range []*Call{c, d} {
			assert.Equal(t, RemotelyAborted, c.Result().Completion)
			assert.EqualValues(t, 9, c.Result().Code)
		}
		_, old, _ := c.ID()
		_, cid, _ := r.begin(CallParams{}, []byte("x")).ID()
		assert.NotEqual(t, old.ConnID(), cid.ConnID())
		assert.Equal(t, []string{"DATA call 1 seq 1 CLIENT|REQACK|LAST"}, r.texts())
	})
	t.Run("of a service call", func(t *testing.T) {
		r := newRig(t, Config{})
		r.auto()
		r.dataIn(1, 1, last, "x")
		r.last.Abort(r.now, 42)
		assert.Equal(t, []string{"ABORT 42 call 1"}, r.texts())
		assert.Empty(t, r.data(r.last), "what was not taken is gone")
		r.last.Abort(r.now, 43)
		assert.EqualValues(t, 42, r.last.Result().Code)
		r.dataIn(1, 1, last, "x")
		assert.Equal(t, []string{"ABORT 42 call 1"}, r.texts(), "whoever has not heard is told again")
	})
	t.Run("by Release", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{}, []byte("x"))
		r.out()
		c.Release(r.now)
		assert.Equal(t, []string{"ABORT -1 call 1"}, r.texts())
		assert.Zero(t, r.stats.LiveCalls)
		_, ok := r.Event()
		assert.False(t, ok)
	})
}

func TestAServiceCallThatIsReleasedGoesOn(t *testing.T) {
	r := newRig(t, Config{})
	r.auto()
	r.dataIn(1, 1, last, "x")
	c := r.last
	_, err := c.Send(r.now, pattern(3000), false)
	require.NoError(t, err)
	c.Release(r.now)
	out := r.out()
	require.Len(t, out, 3)
	r.in(fromClient(wire.TypeAck, 1, 0), ack(wire.AckDelay, 2, 3, 0, 0, 1)...)
	out = r.later(time.Second)
	require.NotEmpty(t, out)
	assert.EqualValues(t, 2, out[0].Seq)
	assert.Equal(t, 1, r.stats.LiveCalls)
	r.in(fromClient(wire.TypeAck, 1, 0), ack(wire.AckIdle, 4, 3, 0)...)
	assert.Zero(t, r.stats.LiveCalls)
	_, ok := r.Event()
	assert.False(t, ok)
}

// Section 1.2, rule 9.
func TestANewCallEndsTheLast(t *testing.T) {
	r := newRig(t, Config{})
	r.auto()
	r.dataIn(1, 1, last, "x")
	one := r.last
	_, err := one.Send(r.now, []byte("y"), false)
	require.NoError(t, err)
	r.out()
	r.dataIn(2, 1, 0, "x")
	assert.Equal(t, Result{Completion: Succeeded}, one.Result())
	two := r.arrive[1]
	r.dataIn(3, 1, last, "x")
	assert.Equal(t, LocallyAborted, two.Result().Completion)
	assert.Equal(t, wire.CallDead, two.Result().Code)
	assert.Equal(t, "ECONNRESET", errnoName(two.Result().Errno))
	for _, p := range r.out() {
		assert.NotEqual(t, wire.TypeAbort, p.Type, "its client knows")
	}
	r.dataIn(2, 2, 0, "x")
	assert.Equal(t, []string{"call of the past"}, r.drops)
}

func TestDataAfterTheLastPacket(t *testing.T) {
	for name, in := range map[string]func(r *rig){
		"beyond":       func(r *rig) { r.dataIn(1, 3, last, "x"); r.dataIn(1, 4, 0, "x") },
		"last before":  func(r *rig) { r.dataIn(1, 3, 0, "x"); r.dataIn(1, 2, last, "x") },
		"another last": func(r *rig) { r.dataIn(1, 3, last, "x"); r.dataIn(1, 2, last, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.auto()
			in(r)
			assert.Equal(t, wire.ProtocolError, r.last.Result().Code)
		})
	}
}

func TestJumboDatagrams(t *testing.T) {
	join := func(call wire.CallNumber, first wire.Seq, f wire.Flags, bodies ...[]byte) []byte {
		var j wire.Joiner
		j.Reset(nil)
		h := fromClient(wire.TypeData, call, first)
		h.Serial = 100
		for i, b := range bodies {
			if i == len(bodies)-1 {
				h.Flags |= f
			}
			require.NoError(t, j.Add(h, b))
			h.Seq++
			h.Serial++
		}
		return j.Bytes()
	}
	p := pattern(3 * 1412)
	a, b, c := p[:1412], p[1412:2824], p[2824:]
	r := newRig(t, Config{})
	r.auto()
	r.Receive(r.now, clientAddr, join(1, 1, last|ask, a, b, c, []byte("end")))
	r.look()
	assert.Equal(t, []string{"ACK REQUESTED call 1 first 5 prev 4 for 103 "}, r.texts())
	buf, end, ok := r.last.Take()
	require.True(t, ok)
	assert.True(t, end)
	assert.Equal(t, 4, buf.Packets())
	assert.True(t, bytes.Equal(append(p, "end"...), buf.Bytes()), "one datagram, one piece")
	buf.Release()

	// Out of order, and in part for the second time.
	r.Receive(r.now, clientAddr, join(2, 2, last, b, c))
	r.Receive(r.now, clientAddr, join(2, 1, 0, a, b))
	r.look()
	assert.True(t, bytes.Equal(p, r.data(r.last)))

	// Malformed ones are dropped: they may be damaged.
	bad := join(3, 1, 0, a, b)
	r.Receive(r.now, clientAddr, bad[:1000])
	assert.Equal(t, []string{"malformed jumbo"}, r.drops)
	bad[21] |= byte(wire.LastPacket)
	r.Receive(r.now, clientAddr, bad)
	assert.Len(t, r.drops, 2)

	// Longer packets than 1412 are taken, up to what is advertised.
	big := fromClient(wire.TypeData, 4, 1)
	big.Flags |= last
	big.Serial = 1000
	r.in(big, pattern(16000)...)
	assert.True(t, bytes.Equal(pattern(16000), r.data(r.last)))
}

func TestJumboDatagramsAreSentWhereTheyPass(t *testing.T) {
	run := func(cfg, peer Config, most int) uint64 {
		w, client, server, _ := pair(t, cfg, peer)
		w.onWire = func(_, _ netip.AddrPort, b []byte) bool { return len(b)+28 <= most }
		var c *task
		for range 3 {
			c = client.call(CallParams{}, pattern(1_000_000))
			w.until(time.Minute, func() bool { return c.ended })
			require.Equal(t, Succeeded, c.result.Completion)
			require.True(t, bytes.Equal(pattern(1_000_000), c.got))
		}
		if client.stats.JumboOut > 0 {
			assert.NotZero(t, server.stats.JumboOut)
			assert.NotZero(t, server.stats.JumboIn)
		}
		return client.stats.JumboOut
	}
	big := Config{MTU: MTU{Interface: 65535}}
	off := Config{MTU: MTU{Interface: 65535, NoJumbo: true}}
	still := Config{MTU: MTU{Interface: 65535, NoProbe: true}}
	assert.NotZero(t, run(big, big, 65535))
	assert.NotZero(t, run(big, big, 9000), "a link in the middle is smaller")
	assert.Zero(t, run(off, off, 65535))
	assert.Zero(t, run(still, still, 65535), "not before a probe has come back")
	assert.Zero(t, run(big, big, 1500))
	assert.Zero(t, run(Config{}, Config{}, 65535))
	assert.Zero(t, run(big, big, 1300), "less than an Ethernet")
}

// What is lost in one datagram is sent again in one.
func TestLostJumboDatagramsAreSentAgain(t *testing.T) {
	big := Config{MTU: MTU{Interface: 65535}}
	w, client, server, _ := pair(t, big, big)
	n := 0
	w.onWire = func(_, _ netip.AddrPort, b []byte) bool {
		h, body, _ := wire.ParseHeader(b)
		if h.Type != wire.TypeData || !h.Flags.Has(wire.JumboPacket) {
			return true
		}
		if s, _ := wire.SplitData(h, body); s.Len() > 2 {
			n++
		}
		return n%20 != 19
	}
	for range 3 {
		c := client.call(CallParams{}, pattern(2_000_000))
		w.until(time.Minute, func() bool { return c.ended })
		require.Equal(t, Succeeded, c.result.Completion)
		require.True(t, bytes.Equal(pattern(2_000_000), c.got))
	}
	assert.NotZero(t, client.stats.Resent+server.stats.Resent)
	assert.Zero(t, client.stats.Timeouts+server.stats.Timeouts)
}
