package proto

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListen(t *testing.T) {
	r := newRig(t, Config{})
	s := r.listen(ServiceParams{IDs: []wire.ServiceID{1, 2}, UpgradeFrom: 1, UpgradeTo: 2})
	for _, bad := range []struct {
		p   ServiceParams
		err error
	}{
		{ServiceParams{}, ErrService},
		{ServiceParams{IDs: []wire.ServiceID{0}}, ErrService},
		{ServiceParams{IDs: []wire.ServiceID{2}}, ErrInUse},
		{ServiceParams{IDs: []wire.ServiceID{3, 3}}, ErrInUse},
		{ServiceParams{IDs: []wire.ServiceID{3, 4}, UpgradeFrom: 3}, ErrService},
		{ServiceParams{IDs: []wire.ServiceID{3, 4}, UpgradeFrom: 3, UpgradeTo: 3}, ErrService},
		{ServiceParams{IDs: []wire.ServiceID{3, 4}, UpgradeFrom: 3, UpgradeTo: 5}, ErrService},
	} {
		_, err := r.Listen(r.now, bad.p)
		assert.Equal(t, bad.err, err, "%+v", bad.p)
	}
	s.Close(r.now, true)
	r.listen(ServiceParams{IDs: []wire.ServiceID{2}})
	r.Endpoint.Close(r.now)
	_, err := r.Listen(r.now, ServiceParams{IDs: []wire.ServiceID{9}})
	assert.Equal(t, ErrClosed, err)
}

func TestCharges(t *testing.T) {
	r := newRig(t, Config{})
	s := r.listen(ServiceParams{Backlog: 2})
	r.dataIn(1, 1, last, "x")
	assert.Equal(t, []string{"BUSY call 1"}, r.texts())
	assert.Zero(t, r.stats.LiveServiceConns, "nothing is kept of a call that cannot be taken")
	require.NoError(t, s.Charge("a"))
	require.NoError(t, s.Charge("b"))
	assert.Equal(t, ErrCharges, s.Charge("c"))
	assert.Equal(t, 2, s.Charges())
	r.dataIn(1, 1, last, "x")
	assert.Equal(t, "a", r.last.Tag)
	assert.Equal(t, Arrived|Readable, r.what[r.last])
	assert.Equal(t, 1, s.Charges())
	var back []any
	s.Uncharge(func(t any) { back = append(back, t) })
	assert.Equal(t, []any{"b"}, back)
	s.Refuse(true)
	assert.Equal(t, ErrNotListen, s.Charge("c"))
	h := fromClient(wire.TypeData, 1, 1)
	h.CID += 4
	r.in(h)
	assert.Equal(t, "ABORT -2 call 1", r.out()[0].String())
	s.Refuse(false)
	require.NoError(t, s.Charge("c"))
}

func TestAcceptAndReject(t *testing.T) {
	r := newRig(t, Config{})
	s := r.listen(ServiceParams{Accept: AcceptManual, Backlog: 2})
	h := fromClient(wire.TypeData, 1, 1)
	h.Flags |= last
	for range 3 {
		r.in(h, 'x')
		h.CID += 4
	}
	require.Len(t, r.arrive, 2)
	assert.Contains(t, r.texts(), "BUSY call 1")
	one, two := r.arrive[0], r.arrive[1]
	assert.Equal(t, Arrived, r.what[one])
	_, _, ok := one.Take()
	assert.False(t, ok, "not before it is accepted")
	_, err := one.Send(r.now, []byte("y"), false)
	assert.Equal(t, ErrNotNow, err)
	assert.Equal(t, one, s.Waiting())
	require.NoError(t, one.Accept(r.now, "tag"))
	r.look()
	assert.Equal(t, Arrived|Readable, r.what[one])
	assert.Equal(t, "tag", one.Tag)
	assert.Equal(t, "x", string(r.data(one)))
	assert.Equal(t, ErrNotWaiting, one.Accept(r.now, "tag"))
	assert.Equal(t, ErrNotWaiting, one.Reject(r.now, 0))

	require.NoError(t, two.Reject(r.now, 0))
	assert.Equal(t, []string{"BUSY call 1"}, r.texts())
	assert.Nil(t, s.Waiting())
	h = fromClient(wire.TypeData, 1, 1)
	h.CID += 4
	h.Flags |= last
	r.in(h, 'x')
	require.Len(t, r.arrive, 3, "it may come again")
	three := s.Waiting()
	require.NoError(t, three.Reject(r.now, 66))
	assert.Equal(t, []string{"ABORT 66 call 1"}, r.texts())

	// A call that ends before anybody has accepted it.
	h.CID += 4
	r.in(h, 'x')
	four := s.Waiting()
	a := h
	a.Type, a.Seq, a.Serial = wire.TypeAbort, 0, 0
	r.in(a, 0, 0, 0, 1)
	assert.True(t, r.what[four].Has(Ended))
	assert.Equal(t, ErrNotWaiting, four.Accept(r.now, nil))
	assert.Nil(t, s.Waiting())
	four.Release(r.now)
}

func TestBusyDoesNotChangeTheCall(t *testing.T) {
	w, client, server, _ := pair(t, Config{}, Config{})
	for _, s := range server.services {
		s.p.Accept, s.p.Backlog = AcceptCharge, 1
	}
	c := client.call(CallParams{}, []byte("x"))
	w.run(3 * time.Second)
	assert.True(t, c.what.Has(Busy))
	assert.False(t, c.ended)
	epoch, cid, number := c.c.ID()
	w.onWire = func(from, _ netip.AddrPort, b []byte) bool {
		h, _, _ := wire.ParseHeader(b)
		assert.Equal(t, []any{epoch, cid, number}, []any{h.Epoch, h.CID, h.Call})
		return true
	}
	for _, s := range server.services {
		require.NoError(t, s.Charge(nil))
	}
	w.until(20*time.Second, func() bool { return c.ended })
	assert.Equal(t, Succeeded, c.result.Completion)
}

func TestClosingAService(t *testing.T) {
	for _, abort := range []bool{true, false} {
		r := newRig(t, Config{})
		s := r.auto()
		r.dataIn(1, 1, 0, "x")
		c := r.last
		h := fromClient(wire.TypeData, 1, 1)
		h.CID++
		h.Flags |= last
		r.in(h)
		done := r.last
		_, err := done.Send(r.now, []byte("y"), false)
		require.NoError(t, err)
		done.Release(r.now)
		r.out()
		s.Close(r.now, abort)
		s.Close(r.now, abort)
		if abort {
			assert.Equal(t, []string{"ABORT -1 call 1"}, r.texts())
			assert.Equal(t, wire.CallDead, c.Result().Code)
		} else {
			assert.Equal(t, Running, c.Result().Completion)
			c.Abort(r.now, 1)
		}
		assert.Contains(t, r.laterTexts(3*time.Second), "DATA call 1 seq 1 LAST", "what was released goes on")
		r.dataIn(2, 1, last, "x")
		assert.Contains(t, r.texts(), "ABORT -2 call 2")
		r.later(time.Minute)
		assert.Zero(t, r.stats.LiveServiceConns)
	}
}

// Section 1.3 of the reference, and the text of the commit that brought upgrades to Linux.
func TestUpgrade(t *testing.T) {
	const old, better wire.ServiceID = 1234, 2345
	serve := func(s *station, upgrade bool) *[]*task {
		p := ServiceParams{IDs: []wire.ServiceID{old, better}, Accept: AcceptAuto}
		if upgrade {
			p.UpgradeFrom, p.UpgradeTo = old, better
		}
		_, all := s.serve(p, echo)
		return all
	}
	for _, supported := range []bool{true, false} {
		for _, size := range []int{1, 100_000} {
			t.Run(fmt.Sprint(supported, size), func(t *testing.T) {
				w := newWorld(t)
				client := w.add(clientAddr, Config{Epoch: clientEpoch}).client()
				server := w.add(serverAddr, Config{})
				served := serve(server, supported)
				want := old
				if supported {
					want = better
				}
				asked := 0
				w.onWire = func(from, _ netip.AddrPort, b []byte) bool {
					h, _, err := wire.ParseHeader(b)
					require.NoError(t, err)
					if from == serverAddr {
						assert.Equal(t, want, h.Service, "every packet of the server says it")
					} else if h.UserStatus != 0 {
						assert.EqualValues(t, 1, h.Seq)
						asked++
					}
					return true
				}
				probe := client.call(CallParams{Service: old, Upgrade: true}, pattern(size))
				second := client.call(CallParams{Service: old, Upgrade: true}, []byte("b"))
				assert.Equal(t, AwaitConn, second.c.State(), "one call until the answer is known")
				w.until(time.Minute, func() bool { return probe.ended && second.ended })
				assert.Equal(t, Succeeded, probe.result.Completion)
				assert.Equal(t, want, probe.service)
				assert.Equal(t, want, second.service)
				assert.Equal(t, 1, asked)
				assert.Equal(t, want, (*served)[0].service)
				want = old
				plain := client.call(CallParams{Service: old}, []byte("c"))
				w.until(time.Minute, func() bool { return plain.ended })
				assert.Equal(t, old, plain.service, "on a connection of its own")
			})
		}
	}
	t.Run("only a new connection, only the value 1, only the service that can be", func(t *testing.T) {
		r := newRig(t, Config{})
		r.listen(ServiceParams{IDs: []wire.ServiceID{old, better}, Accept: AcceptAuto, UpgradeFrom: old, UpgradeTo: better})
		in := func(cid wire.CID, call wire.CallNumber, id wire.ServiceID, status wire.UserStatus) wire.ServiceID {
			h := fromClient(wire.TypeData, call, 1)
			h.CID, h.Service, h.UserStatus = cid, id, status
			h.Flags |= last | ask
			r.in(h)
			out := r.out()
			require.NotEmpty(t, out)
			assert.Equal(t, r.last.Service(), out[0].Service)
			return out[0].Service
		}
		assert.Equal(t, old, in(4, 1, old, 0))
		assert.Equal(t, old, in(4, 2, old, 1), "it is the second call")
		assert.Equal(t, better, in(8, 1, old, 1))
		assert.Equal(t, better, in(8, 2, old, 0), "all calls of the connection")
		assert.Equal(t, better, in(8, 3, better, 0))
		assert.Equal(t, old, in(12, 1, old, 2))
		assert.Equal(t, old, in(16, 1, old, 0xff))
		assert.Equal(t, better, in(20, 1, better, 1))
	})
	t.Run("a client believes nothing else", func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.begin(CallParams{Service: old, Upgrade: true}, []byte("x"))
		assert.EqualValues(t, 1, r.out()[0].UserStatus)
		h := fromServer(c, wire.TypeAck, 0)
		h.Service = better
		r.in(h, ack(wire.AckRequested, 2, 1, 1)...)
		assert.Equal(t, better, c.Service())
		h.Service, h.Serial = 9999, 0
		r.in(h, ack(wire.AckRequested, 2, 1, 1)...)
		assert.Equal(t, []string{"ABORT -5 call 1"}, r.texts(), "a third service")
		assert.Equal(t, better, c.Service())
		h.Service, h.Serial = old, 0
		r.in(h, ack(wire.AckRequested, 2, 1, 1)...)
		assert.Empty(t, r.texts(), "servers have been seen to send either")

		d := r.begin(CallParams{Service: old}, []byte("x"))
		assert.Zero(t, r.out()[0].UserStatus)
		h = fromServer(d, wire.TypeAck, 0)
		h.Service = better
		r.in(h, ack(wire.AckRequested, 2, 1, 1)...)
		assert.Equal(t, []string{"ABORT -5 call 1"}, r.texts(), "nobody asked")
		assert.Equal(t, old, d.Service())
	})
}
