package proto

import (
	"slices"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNothingIsHeard(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	out := r.later(19900 * time.Millisecond)
	assert.Equal(t, Running, c.Result().Completion)
	for _, p := range out {
		assert.Equal(t, wire.TypeData, p.Type, "no PING before the server knows the call")
	}
	assert.GreaterOrEqual(t, len(out), 4)
	assert.Equal(t, []string{"ABORT -3 call 1"}, r.laterTexts(200*time.Millisecond))
	res := c.Result()
	assert.Equal(t, LocallyAborted, res.Completion)
	assert.Equal(t, wire.CallTimeout, res.Code)
	assert.Equal(t, "ETIME", errnoName(res.Errno))
	assert.True(t, r.what[c].Has(Ended))

	// The connection is not used for another call: the way there, or what the server knows
	// of it, may be gone.
	d := r.begin(CallParams{}, nil)
	_, cid, _ := d.ID()
	_, old, _ := c.ID()
	assert.NotEqual(t, old, cid)
}

func TestThePeerHasLostTheCall(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	d := r.begin(CallParams{}, []byte("y"))
	r.out()
	r.in(fromServer(c, wire.TypeAck, 0), ack(wire.AckRequested, 2, 1, 1)...)
	for range 19 {
		r.later(time.Second)
		r.in(fromServer(d, wire.TypeAck, 0), ack(wire.AckRequested, 2, 1, 0)...)
	}
	r.later(1100 * time.Millisecond)
	assert.Equal(t, wire.CallDead, c.Result().Code)
	assert.Equal(t, "ECONNRESET", errnoName(c.Result().Errno))
	assert.Equal(t, Running, d.Result().Completion)
}

func TestTimeoutsOfACall(t *testing.T) {
	t.Run("hard", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{Timeouts: Timeouts{Hard: 3 * time.Second}}, []byte("x"))
		r.later(time.Second)
		r.in(fromServer(c, wire.TypeAck, 0), ack(wire.AckRequested, 2, 1, 1)...)
		r.later(1900 * time.Millisecond)
		assert.Equal(t, Running, c.Result().Completion)
		r.later(100 * time.Millisecond)
		assert.Equal(t, wire.CallTimeout, c.Result().Code)
	})
	t.Run("normal", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{Timeouts: Timeouts{Normal: time.Second}}, []byte("x"))
		r.later(1001 * time.Millisecond)
		assert.Equal(t, "ETIME", errnoName(c.Result().Errno))
	})
	t.Run("none", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{Timeouts: Timeouts{Normal: -1}}, []byte("x"))
		r.later(time.Hour)
		assert.Equal(t, Running, c.Result().Completion)
	})
	t.Run("set later", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{}, []byte("x"))
		r.later(time.Second)
		c.SetTimeouts(r.now, Timeouts{Hard: 2 * time.Second})
		r.later(1990 * time.Millisecond)
		assert.Equal(t, Running, c.Result().Completion)
		r.later(20 * time.Millisecond)
		assert.Equal(t, LocallyAborted, c.Result().Completion)
	})
	t.Run("of a call that waits for a channel", func(t *testing.T) {
		r := newRig(t, Config{Limits: Limits{ConnsPerBundle: 1}})
		for range 4 {
			r.begin(CallParams{Timeouts: Timeouts{Normal: -1}}, []byte("x"))
		}
		c := r.begin(CallParams{Timeouts: Timeouts{Hard: time.Second}}, []byte("x"))
		assert.Equal(t, AwaitConn, c.State())
		out := r.later(2 * time.Second)
		assert.Equal(t, wire.CallTimeout, c.Result().Code)
		for _, p := range out {
			assert.NotEqual(t, wire.TypeAbort, p.Type, "nobody knows of it")
		}
	})
	t.Run("a request that does not go on", func(t *testing.T) {
		r := newRig(t, Config{})
		r.auto()
		r.dataIn(1, 1, 0, "x")
		for range 59 {
			r.later(time.Second)
			h := fromClient(wire.TypeAck, 1, 0)
			h.Flags |= ask
			r.in(h, ack(wire.AckPing, 1, 0, 0)...)
		}
		assert.Equal(t, Running, r.last.Result().Completion)
		r.later(1100 * time.Millisecond)
		assert.Equal(t, wire.CallTimeout, r.last.Result().Code)
	})
}

func TestKeepalive(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	r.out()
	r.in(fromServer(c, wire.TypeAck, 0), ack(wire.AckRequested, 2, 1, 1)...)
	assert.Empty(t, r.laterTexts(499*time.Millisecond))
	// Perhaps the reply was lost: asked for soon, and then more and more seldom.
	assert.Equal(t, []string{"ACK PING call 1 first 1 prev 0 for 0 "}, r.laterTexts(2*time.Millisecond))
	n := 0
	for range 600 {
		for _, p := range r.later(100 * time.Millisecond) {
			if p.Type == wire.TypeVersion {
				continue
			}
			n++
			a := p.ack()
			assert.Equal(t, wire.AckPing, a.Reason)
			assert.True(t, p.Flags.Has(ask))
			r.in(fromServer(c, wire.TypeAck, 0), ack(wire.AckPingResponse, 2, 1, p.Serial)...)
		}
	}
	assert.InDelta(t, 60/3.3, n, 4)
	assert.Equal(t, Running, c.Result().Completion, "a minute with a working server")
	r.later(21 * time.Second)
	assert.Equal(t, LocallyAborted, c.Result().Completion)
}

// Section 3.8: a VERSION that nobody answers, every 20 s, to servers that were heard.
func TestNATKeepalive(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{Timeouts: Timeouts{Normal: -1}}, []byte("x"))
	for _, p := range r.later(3 * time.Minute) {
		assert.NotEqual(t, wire.TypeVersion, p.Type, "the server was never heard")
	}
	h := fromServer(c, wire.TypeData, 1)
	h.Flags |= last
	r.in(h, 'y')
	var all []pkt
	for _, p := range r.later(90 * time.Second) {
		if p.Type == wire.TypeVersion {
			all = append(all, p)
		}
	}
	require.Len(t, all, 5, "one at once: the last packet was long ago")
	p := all[0]
	assert.Equal(t, wire.Header{Epoch: clientEpoch, Type: wire.TypeVersion, Flags: wire.LastPacket}, p.Header)
	assert.Equal(t, []byte{0}, p.body)
	assert.Equal(t, serverAddr, p.to.To)

	// None once the connection is gone.
	r.later(time.Minute)
	assert.Zero(t, r.stats.LiveClientConns)
	assert.Empty(t, r.later(time.Hour))
}

func TestIdleConnectionsGo(t *testing.T) {
	r := newRig(t, Config{})
	r.auto()
	c := r.begin(CallParams{}, []byte("x"))
	r.out()
	h := fromServer(c, wire.TypeData, 1)
	h.Flags |= last
	r.in(h, 'y')
	r.dataIn(1, 1, last, "x")
	r.last.Abort(r.now, 1)
	r.later(119 * time.Second)
	assert.Equal(t, 1, r.stats.LiveClientConns)
	r.later(2 * time.Second)
	assert.Equal(t, 0, r.stats.LiveClientConns)
	r.later(478 * time.Second)
	assert.Equal(t, 1, r.stats.LiveServiceConns)
	r.later(2 * time.Second)
	assert.Equal(t, 0, r.stats.LiveServiceConns)
	r.later(time.Minute)
	assert.Zero(t, r.stats.LivePeers)
	_, ok := r.Deadline()
	assert.False(t, ok, "nothing is left to wait for")
}

func TestManyIdleClientConnectionsGoFast(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{ReapConns: 10}})
	for range 80 {
		r.begin(CallParams{Timeouts: Timeouts{Hard: time.Millisecond}}, []byte("x"))
	}
	assert.Equal(t, 20, r.stats.LiveClientConns)
	r.later(3 * time.Second)
	assert.Equal(t, 9, r.stats.LiveClientConns)
}

// Retransmission by time-out, with backoff, is the sender's (package cc); here that its timer is the
// call's.
func TestRetransmission(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{Timeouts: Timeouts{Normal: -1}}, []byte("x"))
	var at []time.Duration
	start := r.now
	serials := []wire.Serial{}
	for range 600 {
		for _, p := range r.later(100 * time.Millisecond) {
			at = append(at, r.now.Sub(start).Round(100*time.Millisecond))
			serials = append(serials, p.Serial)
			assert.EqualValues(t, 1, p.Seq)
			assert.Equal(t, "x", string(p.body))
			assert.True(t, p.Flags.Has(last))
		}
	}
	assert.GreaterOrEqual(t, len(at), 5)
	for i := 3; i < len(at); i++ {
		assert.Greater(t, at[i]-at[i-1], at[i-1]-at[i-2]*3/2, "%v", at)
	}
	assert.True(t, slices.IsSorted(serials), "a new serial each time")
	assert.Equal(t, len(serials), int(serials[len(serials)-1]))
	assert.Equal(t, Running, c.Result().Completion)
}
