package proto

import (
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	last = wire.LastPacket
	ask  = wire.RequestAck
)

// data is a DATA packet of the test as client.
func (r *rig) dataIn(call wire.CallNumber, seq wire.Seq, f wire.Flags, body string) wire.Serial {
	h := fromClient(wire.TypeData, call, seq)
	h.Flags |= f
	r.serial++
	h.Serial = r.serial
	r.in(h, []byte(body)...)
	return h.Serial
}

func TestAckReasons(t *testing.T) {
	// What a receiver says of the packets of a request (section 2.2). Each step is packets, then what
	// comes out at once, then what comes out within a delay.
	type step struct {
		seq  wire.Seq
		f    wire.Flags
		want string
	}
	rows := []struct {
		name  string
		steps []step
		later string
	}{
		{"asked", []step{{1, ask, "ACK REQUESTED call 1 first 2 prev 1 for 1 "}}, ""},
		{"not asked", []step{{1, 0, ""}}, "ACK IDLE call 1 first 2 prev 1 for 0 "},
		{"many", []step{{1, 0, ""}, {2, 0, ""}, {3, 0, "ACK IDLE call 1 first 4 prev 3 for 3 "}}, ""},
		{"a gap", []step{{2, 0, "ACK OUT_OF_SEQUENCE call 1 first 1 prev 2 for 1 -+"}}, ""},
		{"a gap weighs more than being asked", []step{{2, ask, "ACK OUT_OF_SEQUENCE call 1 first 1 prev 2 for 1 -+"}}, ""},
		{"a gap is filled", []step{{2, 0, "ACK OUT_OF_SEQUENCE call 1 first 1 prev 2 for 1 -+"}, {1, 0, "ACK IDLE call 1 first 3 prev 2 for 2 "}}, ""},
		{"a gap is filled in part", []step{
			{4, 0, "ACK OUT_OF_SEQUENCE call 1 first 1 prev 4 for 1 ---+"},
			{2, 0, "ACK OUT_OF_SEQUENCE call 1 first 1 prev 4 for 2 -+-+"},
			{1, 0, "ACK DELAY call 1 first 3 prev 4 for 3 -+"},
		}, ""},
		{"twice", []step{{1, 0, ""}, {1, 0, "ACK DUPLICATE call 1 first 2 prev 1 for 2 "}}, ""},
		{"twice beyond a gap", []step{
			{3, 0, "ACK OUT_OF_SEQUENCE call 1 first 1 prev 3 for 1 --+"},
			{3, 0, "ACK DUPLICATE call 1 first 1 prev 3 for 2 --+"},
		}, ""},
		{"beyond the window", []step{{1, 0, ""}, {256, 0, "ACK EXCEEDS_WINDOW call 1 first 2 prev 1 for 2 "}}, ""},
		{"last in the window", []step{{1, 0, ""}, {255, 0, "ACK OUT_OF_SEQUENCE call 1 first 2 prev 255 for 2 " + dashes(253) + "+"}}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.auto()
			for _, s := range row.steps {
				r.dataIn(1, s.seq, s.f, "x")
				want := []string{}
				if s.want != "" {
					want = append(want, s.want)
				}
				assert.Equal(t, want, r.texts())
			}
			want := []string{}
			if row.later != "" {
				want = append(want, row.later)
			}
			assert.Equal(t, want, r.laterTexts(100*time.Millisecond))
			assert.Empty(t, r.laterTexts(time.Second))
		})
	}
}

func dashes(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '-'
	}
	return string(b)
}

func TestAckTrailerAndPadding(t *testing.T) {
	r := newRig(t, Config{})
	r.auto()
	r.dataIn(1, 1, ask, "x")
	p := r.out()[0]
	a := p.ack()
	assert.Equal(t, wire.AckTrailer{MaxMTU: 1444, IfMTU: 1444, RWind: 254, JumboMax: 0, Words: 4}, a.Trailer)
	assert.True(t, p.Flags.Has(wire.SlowStartOK))
	assert.False(t, p.Flags.Has(wire.RequestAck))
	assert.Len(t, p.body, 18+3+16)

	// The window opens as the application consumes.
	r.data(r.last)
	r.dataIn(1, 2, ask, "x")
	assert.EqualValues(t, 254, r.out()[0].ack().Trailer.RWind)
	r.data(r.last)
	r.dataIn(1, 3, ask|last, "x")
	r.data(r.last)
	assert.Equal(t, AckRequest, r.last.State())

	// A peer that searches for the path's MTU is told all that is accepted.
	ping := wire.Ack{First: 1, Reason: wire.AckPing, Trailer: wire.AckTrailer{MaxMTU: 65160, IfMTU: 1444, RWind: 255, Words: 4}}
	h := fromClient(wire.TypeAck, 1, 0)
	h.Flags |= ask
	r.in(h, ping.Append(nil)...)
	out := r.out()
	assert.Equal(t, wire.AckPingResponse, out[0].ack().Reason)
	assert.EqualValues(t, r.serial, out[0].ack().Serial)
	assert.EqualValues(t, MaxDatagram-wire.HeaderSize, out[0].ack().Trailer.MaxMTU)
}

func TestAWindowThatCloses(t *testing.T) {
	r := newRig(t, Config{Windows: Windows{Receive: 4}})
	r.auto()
	for s := wire.Seq(1); s <= 4; s++ {
		r.dataIn(1, s, 0, "x")
	}
	out := r.out()
	assert.EqualValues(t, 0, out[len(out)-1].ack().Trailer.RWind)
	r.dataIn(1, 5, 0, "x")
	assert.Equal(t, []string{"ACK EXCEEDS_WINDOW call 1 first 5 prev 4 for 5 "}, r.texts())
	b, _, ok := r.last.Take()
	require.True(t, ok)
	assert.Equal(t, 4, b.Packets(), "what nobody has taken is one piece")
	assert.Equal(t, "xxxx", string(b.Bytes()))
	b.Release()
	r.last.Consumed(r.now, 4)
	out = r.out()
	require.Len(t, out, 1)
	assert.EqualValues(t, 4, out[0].ack().Trailer.RWind)
	assert.Equal(t, wire.AckIdle, out[0].ack().Reason)
}

// Section 2.3: what an ACK must be like to be believed.
func TestAckAcceptance(t *testing.T) {
	begin := func(t *testing.T) (*rig, *Call) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{}, pattern(5*1172))
		assert.Len(t, r.out(), 5)
		return r, c
	}
	in := func(r *rig, c *Call, body []byte) { r.in(fromServer(c, wire.TypeAck, 0), body...) }

	t.Run("a: firstPacket goes back", func(t *testing.T) {
		r, c := begin(t)
		in(r, c, ack(wire.AckIdle, 3, 2, 0))
		in(r, c, ack(wire.AckIdle, 2, 5, 0, 1, 1))
		assert.EqualValues(t, 3, c.snd.Base())
		assert.EqualValues(t, 1, r.stats.AcksStale)
		ping := fromServer(c, wire.TypeAck, 0)
		ping.Flags |= ask
		r.in(ping, ack(wire.AckPing, 1, 0, 0)...)
		assert.Contains(t, r.texts(), "ACK PING_RESPONSE call 1 first 1 prev 0 for 3 ", "stale ones are answered")
	})
	t.Run("c: firstPacket 0", func(t *testing.T) {
		r, c := begin(t)
		in(r, c, ack(wire.AckIdle, 0, 0, 0))
		assert.Equal(t, wire.ProtocolError, c.Result().Code)
		assert.Equal(t, []string{"ABORT -5 call 1"}, r.texts())
	})
	for name, body := range map[string][]byte{
		"d: hard ack of what was never sent": ack(wire.AckIdle, 7, 6, 0),
		"d: soft ack of what was never sent": ack(wire.AckIdle, 5, 4, 0, 1, 1),
		"d: fewer soft acks than counted":    ack(wire.AckIdle, 1, 0, 0)[:17:17],
	} {
		t.Run(name, func(t *testing.T) {
			r, c := begin(t)
			if len(body) == 17 {
				body = append(body, 200, 1, 1)
			}
			in(r, c, body)
			assert.Equal(t, Result{Completion: LocallyAborted, Code: wire.ProtocolError, Errno: c.Result().Errno, Why: c.Result().Why}, c.Result())
			assert.Equal(t, []string{"ABORT -5 call 1"}, r.texts())
		})
	}
	t.Run("e: of a request that is still arriving", func(t *testing.T) {
		r := newRig(t, Config{})
		r.auto()
		r.dataIn(1, 1, ask, "x")
		r.out()
		r.in(fromClient(wire.TypeAck, 1, 0), ack(wire.AckIdle, 9, 8, 0)...)
		assert.Equal(t, Running, r.last.Result().Completion)
		h := fromClient(wire.TypeAck, 1, 0)
		h.Flags |= ask
		r.in(h, ack(wire.AckPing, 9, 8, 0)...)
		assert.Equal(t, []string{"ACK PING_RESPONSE call 1 first 2 prev 1 for 3 "}, r.texts())
	})
	t.Run("f: the server has lost the call", func(t *testing.T) {
		r, c := begin(t)
		in(r, c, ack(wire.AckIdle, 3, 2, 0))
		in(r, c, ack(wire.AckExceedsWindow, 1, 0, 0))
		assert.Equal(t, NetworkError, c.Result().Completion)
		assert.EqualValues(t, "ENETRESET", errnoName(c.Result().Errno))
		d := r.begin(CallParams{}, nil)
		_, cid, _ := d.ID()
		_, old, _ := c.ID()
		assert.NotEqual(t, old, cid, "the connection is not used again")
	})
	t.Run("f: or its beginning", func(t *testing.T) {
		r, c := begin(t)
		in(r, c, ack(wire.AckOutOfSequence, 1, 0, 0))
		assert.EqualValues(t, "ENETRESET", errnoName(c.Result().Errno))
	})
	t.Run("f: not if something was acknowledged", func(t *testing.T) {
		r, c := begin(t)
		in(r, c, ack(wire.AckIdle, 2, 1, 0))
		in(r, c, ack(wire.AckOutOfSequence, 1, 0, 0))
		assert.Equal(t, Running, c.Result().Completion)
	})
	t.Run("out of range reasons count as ACKs", func(t *testing.T) {
		r, c := begin(t)
		in(r, c, ack(77, 6, 5, 0))
		assert.EqualValues(t, 6, c.snd.Base())
	})
	t.Run("ACKALL", func(t *testing.T) {
		r, c := begin(t)
		r.in(fromServer(c, wire.TypeAckAll, 0))
		assert.EqualValues(t, 6, c.snd.Base())
		assert.Zero(t, c.tx.len())
		in(r, c, ack(wire.AckIdle, 6, 0, 0)) // OpenAFS's later ACKs leave previousPacket unset
		assert.Equal(t, Running, c.Result().Completion)
	})
	t.Run("a window of 0", func(t *testing.T) {
		r := newRig(t, Config{MTU: MTU{NoProbe: true}})
		c := r.begin(CallParams{}, pattern(40*1172))
		n := len(r.out())
		a := wire.Ack{First: wire.Seq(n + 1), Previous: wire.Seq(n), Reason: wire.AckIdle, Trailer: wire.AckTrailer{MaxMTU: 1444, IfMTU: 1444, Words: 4}}
		in(r, c, a.Append(nil))
		assert.Empty(t, r.texts())
		out := r.later(5 * time.Second)
		require.NotEmpty(t, out)
		assert.Equal(t, wire.AckPing, out[0].ack().Reason, "it is asked about")
		a.Trailer.RWind = 32
		in(r, c, a.Append(nil))
		assert.Equal(t, wire.TypeData, r.out()[0].Type)
	})
}

// Section 2.3: an OpenAFS client may soft-ack the last packet of a reply and never hard-ack it.
func TestAReplyThatIsSoftAckedIsDone(t *testing.T) {
	r := newRig(t, Config{})
	r.auto()
	r.dataIn(1, 1, last, "x")
	c := r.last
	_, err := c.Send(r.now, pattern(3000), false)
	require.NoError(t, err)
	out := r.out()
	require.Len(t, out, 3)
	r.in(fromClient(wire.TypeAck, 1, 0), ack(wire.AckDelay, 1, 3, 0, 1, 1)...)
	assert.Equal(t, Running, c.Result().Completion)
	r.in(fromClient(wire.TypeAck, 1, 0), ack(wire.AckDelay, 1, 3, 0, 1, 1, 1)...)
	assert.Equal(t, Succeeded, c.Result().Completion)
	assert.Empty(t, r.laterTexts(time.Minute))
}

func TestTheLastPacketOfAReplyNeverAsks(t *testing.T) {
	for n := range 50 {
		r := newRig(t, Config{})
		r.auto()
		r.dataIn(1, 1, last, "x")
		_, err := r.last.Send(r.now, pattern(n*200), false)
		require.NoError(t, err)
		seen := false
		for _, p := range r.later(30 * time.Second) { // with all retransmissions
			if p.Type == wire.TypeData && p.Flags.Has(last) {
				seen = true
				assert.False(t, p.Flags.Has(ask))
			}
		}
		assert.True(t, seen)
	}
}

// The next call on the channel acknowledges the last, so that small calls need no ACKs.
func TestTheNextCallAcknowledges(t *testing.T) {
	w, client, server, served := pair(t, Config{}, Config{})
	for range 20 {
		c := client.call(CallParams{}, []byte("x"))
		w.until(time.Second, func() bool { return c.ended })
	}
	acks := client.stats.Transmitted[wire.TypeAck] + server.stats.Transmitted[wire.TypeAck]
	assert.LessOrEqual(t, acks, uint64(3), "but for the first samples of the round trip")
	for _, s := range (*served)[:19] {
		assert.Equal(t, Succeeded, s.result.Completion)
	}
	assert.False(t, (*served)[19].ended)
	w.run(50 * time.Millisecond)
	assert.True(t, (*served)[19].ended)
	assert.Equal(t, acks+1, client.stats.Transmitted[wire.TypeAck]+server.stats.Transmitted[wire.TypeAck])
}

func TestAReplyThatWasAcknowledgedInVain(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	r.out()
	h := fromServer(c, wire.TypeData, 1)
	h.Flags |= last
	r.in(h, 'y')
	assert.Equal(t, Succeeded, c.Result().Completion)
	assert.Equal(t, "y", string(r.data(c)))
	assert.Equal(t, []string{"ACK IDLE call 1 first 2 prev 1 for 0 "}, r.laterTexts(50*time.Millisecond))
	c.Release(r.now)
	h.Serial = 33
	r.in(h, 'y')
	assert.Equal(t, []string{"ACK DUPLICATE call 1 first 2 prev 1 for 33 "}, r.texts())
	ping := h
	ping.Type, ping.Seq, ping.Flags, ping.Serial = wire.TypeAck, 0, ask, 34
	r.in(ping, ack(wire.AckPing, 2, 1, 0)...)
	assert.Equal(t, []string{"ACK PING_RESPONSE call 1 first 2 prev 1 for 34 "}, r.texts())
	ping.Flags, ping.Serial = 0, 35
	r.in(ping, ack(wire.AckPingResponse, 2, 1, 0)...)
	assert.Empty(t, r.texts(), "no play without an end")

	// The next call makes it unnecessary, also for good.
	d := r.begin(CallParams{}, []byte("z"))
	h.Serial = 36
	r.in(h, 'y')
	r.out()
	h.Serial = 37
	r.in(h, 'y')
	assert.Empty(t, r.texts())
	assert.Equal(t, Running, d.Result().Completion)
}
