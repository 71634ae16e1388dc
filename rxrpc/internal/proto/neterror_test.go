package proto

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Section 5: how calls end and what the application is told, row by row.
func TestCompletions(t *testing.T) {
	abort := func(r *rig, c *Call) { r.in(fromServer(c, wire.TypeAbort, 0), 0, 0, 0, 7) }
	quote := func(c *Call) []byte {
		h := fromServer(c, wire.TypeData, 1)
		return h.Append(nil)
	}
	rows := []struct {
		name string
		do   func(r *rig, c *Call)
		want Completion
		code wire.AbortCode
		no   string
		sent string // to the peer
	}{
		{"abort by the peer", abort, RemotelyAborted, 7, "ECONNABORTED", ""},
		{"abort by the application", func(r *rig, c *Call) { c.Abort(r.now, 8) }, LocallyAborted, 8, "ECONNABORTED", "ABORT 8 call 1"},
		{"time-out", func(r *rig, c *Call) { r.later(21 * time.Second) }, LocallyAborted, wire.CallTimeout, "ETIME", ""},
		{"hard time-out", func(r *rig, c *Call) {
			c.SetTimeouts(r.now, Timeouts{Hard: time.Second})
			r.later(time.Second)
		}, LocallyAborted, wire.CallTimeout, "ETIME", ""},
		{"violation", func(r *rig, c *Call) { r.in(fromServer(c, wire.TypeAck, 0), ack(9, 0, 0, 0)...) }, LocallyAborted, wire.ProtocolError, "EPROTO", "ABORT -5 call 1"},
		{"call lost by a NAT", func(r *rig, c *Call) { r.in(fromServer(c, wire.TypeAck, 0), ack(wire.AckExceedsWindow, 1, 0, 0)...) }, NetworkError, 0, "ENETRESET", ""},
		{"port unreachable", func(r *rig, c *Call) {
			r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.ECONNREFUSED, Quoted: quote(c)})
		}, NetworkError, 0, "ECONNREFUSED", ""},
		{"net unreachable", func(r *rig, c *Call) {
			r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.ENETUNREACH, Quoted: quote(c)})
		}, NetworkError, 0, "ENETUNREACH", ""},
		{"a send that fails", func(r *rig, c *Call) {
			r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.EHOSTUNREACH, Local: true})
		}, LocalError, wire.UserAbort, "EHOSTUNREACH", "ABORT -6 call 1"},
		{"end of the endpoint", func(r *rig, c *Call) { r.Endpoint.Close(r.now) }, LocallyAborted, wire.CallDead, "ESHUTDOWN", "ABORT -1 call 1"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, Config{})
			c := r.begin(CallParams{}, []byte("x"))
			r.out()
			row.do(r, c)
			r.look()
			got := c.Result()
			assert.Equal(t, row.want, got.Completion)
			assert.Equal(t, row.code, got.Code)
			assert.Equal(t, row.no, errnoName(got.Errno))
			assert.True(t, got.Failed())
			assert.True(t, r.what[c].Has(Ended))
			if row.sent != "" {
				assert.Equal(t, []string{row.sent}, r.texts())
			}
			_, err := c.Send(r.now, nil, false)
			assert.ErrorIs(t, err, ErrEnded)
			c.Release(r.now)
			assert.Zero(t, r.stats.LiveCalls)
		})
	}
}

func TestICMPThatNobodyCanVouchForIsIgnored(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	r.out()
	h := fromServer(c, wire.TypeData, 1)
	h.CID += 4
	other := h.Append(nil)
	h.CID -= 4
	h.Epoch++
	for _, q := range [][]byte{nil, {1, 2, 3}, other, h.Append(nil)} {
		r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.ECONNREFUSED, Quoted: q})
		r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.EMSGSIZE, MTU: 576, Quoted: q})
	}
	h.Epoch--
	r.NetError(r.now, NetError{To: netip.MustParseAddrPort("10.0.0.2:9"), Errno: syscall.ECONNREFUSED, Quoted: h.Append(nil)})
	assert.Equal(t, Running, c.Result().Completion)
	assert.Equal(t, 1172, c.peer.body())
}

func TestPathMTU(t *testing.T) {
	r := newRig(t, Config{MTU: MTU{Start: 1412}})
	c := r.begin(CallParams{}, pattern(1412))
	out := r.out()
	require.Len(t, out[0].body, 1412)
	assert.True(t, out[0].to.DF)
	h := fromServer(c, wire.TypeData, 1)
	r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.EMSGSIZE, MTU: 1300, Quoted: h.Append(nil)})
	assert.Equal(t, 1300-56, c.peer.body())
	assert.Equal(t, Running, c.Result().Completion)
	out = r.later(5 * time.Second)
	require.NotEmpty(t, out)
	assert.Len(t, out[0].body, 1412, "it was sealed as it is")
	assert.False(t, out[0].to.DF, "and had better arrive in pieces")
	d := r.begin(CallParams{}, pattern(5000))
	for _, p := range r.out() {
		assert.LessOrEqual(t, len(p.body), 1300-56)
		assert.True(t, p.to.DF)
	}
	_ = d

	// A socket that refuses says less, but for sure.
	r.NetError(r.now, NetError{To: serverAddr, Errno: syscall.EMSGSIZE, Local: true, Length: 1001})
	assert.Equal(t, 1001-28-1, c.peer.body())
}

// The address of a client that changes in the middle of a call.
func TestNATRebinding(t *testing.T) {
	moved := netip.MustParseAddrPort("10.0.0.1:40001")
	t.Run("secured: the connection follows", func(t *testing.T) {
		x := &xorClass{key: 7}
		r := newRig(t, Config{})
		r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{x}})
		sc := &xorConn{x: x, id: ConnID{Epoch: 0x87654321, CID: 0x1000}}
		send := func(from netip.AddrPort, seq wire.Seq, f wire.Flags, forged bool) {
			h := fromClient(wire.TypeData, 1, seq)
			h.Security, h.Flags = wire.SecurityRxKAD, h.Flags|f
			body, sum, _ := sc.Seal(nil, PacketID{Call: 1, Seq: seq, ToServer: true}, []byte("x"))
			if h.Checksum = sum; forged {
				h.Checksum++
			}
			r.inFrom(from, h, body...)
		}
		send(clientAddr, 1, 0, false)
		resp, _ := sc.Respond(nil, []byte("who are you?"), [4]wire.CallNumber{1})
		rh := fromClient(wire.TypeResponse, 0, 0)
		rh.Security = wire.SecurityRxKAD
		r.in(rh, resp...)
		r.out()
		send(moved, 2, ask, true)
		assert.Equal(t, []string{"connection of another address"}, r.drops)
		assert.Empty(t, r.texts())
		send(moved, 2, ask|last, false)
		out := r.out()
		require.Len(t, out, 1)
		assert.Equal(t, moved, out[0].to.To)
		assert.Len(t, r.arrive, 1)
		assert.Equal(t, "xx", string(r.data(r.last)))
		assert.Equal(t, moved, r.last.Peer())
	})
	t.Run("not secured: nothing is executed twice, nothing is sent there", func(t *testing.T) {
		r := newRig(t, Config{})
		r.auto()
		r.dataIn(1, 1, last, "x")
		r.out()
		h := fromClient(wire.TypeData, 1, 1)
		h.Flags |= last | ask
		r.inFrom(moved, h, 'x')
		assert.Empty(t, r.texts())
		assert.Len(t, r.arrive, 1)
		h.Call, h.Serial = 2, 0
		r.inFrom(moved, h, 'x')
		assert.Len(t, r.arrive, 2, "the next call may come from there")
		assert.Equal(t, moved, r.out()[0].to.To)
		h.Serial = 0
		r.inFrom(clientAddr, h, 'x')
		assert.Len(t, r.arrive, 2, "but not from both")
		assert.Equal(t, 2, r.stats.LiveServiceConns)
	})
	t.Run("an epoch that is a time belongs to its address", func(t *testing.T) {
		r := newRig(t, Config{})
		r.auto()
		h := fromClient(wire.TypeData, 1, 1)
		h.Epoch = 0x12345678
		h.Flags |= last
		r.inFrom(clientAddr, h, 'x')
		r.inFrom(moved, h, 'x')
		assert.Len(t, r.arrive, 2)
	})
	t.Run("a server with several addresses", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{}, []byte("x"))
		r.out()
		h := fromServer(c, wire.TypeData, 1)
		h.Flags |= last | ask
		r.inFrom(netip.MustParseAddrPort("10.7.7.7:7000"), h, 'y')
		assert.Equal(t, Succeeded, c.Result().Completion)
		assert.Equal(t, serverAddr, r.out()[0].to.To, "what is sent goes where the call went")
	})
}
