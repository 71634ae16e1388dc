package natsbridge

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// TestAHostThatTakesNothingIsGivenUp: what waits for it is bounded, and told as failed.
func TestAHostThatTakesNothingIsGivenUp(t *testing.T) {
	s := newSim(t, 11, 2)
	s.start()
	a := s.hosts[0]
	p := a.core.peers[2]
	require.NotNil(t, p)
	p.link.most = 1 << 20
	b := s.hosts[1]
	b.kill()
	n := 0
	for ; !p.gone; n++ {
		require.Less(t, n, 2_000_000)
		a.window[2] = 0 // as if each were another client's
		require.True(t, a.send(2))
		a.turn()
		if n%1000 == 0 {
			s.forward(0)
		}
		assert.LessOrEqual(t, p.link.pending, p.link.most+fillPacket)
	}
	assert.Equal(t, []uint32{2}, a.down)
	assert.Len(t, a.failed[2], n, "everything is told as failed")
}

// TestGroupsThatNobodyHearsAreForgotten: what a host keeps of those it has published to does not grow, and numbers do not come again.
func TestGroupsThatNobodyHearsAreForgotten(t *testing.T) {
	s := newSim(t, 12, 3)
	s.start()
	a, b, c := s.hosts[0], s.hosts[1], s.hosts[2]
	member := func(h *simHost, group uint32, yes bool) {
		h.core.Members(group, yes)
		h.turn()
		s.forward(300 * ms)
	}
	for g := range uint32(20) {
		member(b, 100+g, true)
		if g%2 == 0 {
			a.publish(100 + g)
			a.turn()
		}
		member(b, 100+g, false)
	}
	s.forward(simLease)
	assert.Empty(t, a.core.pubs)
	assert.Empty(t, b.lost)

	// Somebody who comes back has counted, and is told that there is a gap of unknown length; who is new counts from here.
	member(c, 7, true)
	a.publish(7)
	a.turn()
	s.forward(100 * ms)
	side := []int{0, 0, 1}
	s.part(side...)
	s.forward(2 * simLease)
	require.Empty(t, a.core.interest[7])
	assert.Empty(t, a.core.pubs)
	a.core.pubBegin += 1000 // as by other groups
	s.part(0, 0, 0)
	s.forward(2000 * ms)
	assert.Zero(t, c.lost[7], "how many is not known")
	assert.Positive(t, c.unknowns[7])
	a.publish(7)
	a.turn()
	s.forward(100 * ms)
	assert.Len(t, c.got["1/7"], 2)
	assert.Zero(t, c.lost[7])
}

// TestGroupsOfTheKernelStayOnTheirHost: whatever another host thinks of it.
func TestGroupsOfTheKernelStayOnTheirHost(t *testing.T) {
	s := newSim(t, 13, 2)
	s.start()
	a := s.hosts[0]
	a.core.local = func(g uint32) bool { return g < 0x100 }
	to := subject{packetLink, 1}
	x := stranger{h: packetHeader{host: 3, run: 99}, session: 1}
	refused := func(record []byte) {
		t.Helper()
		before := a.core.stats.Refused
		x.session++
		a.core.receive(to, x.link(1, hello(), record))
		require.Equal(t, before+1, a.core.stats.Refused)
	}
	a.lenient = true
	refused(appendMembers(nil, 1, true))
	assert.Empty(t, a.core.interest)
	refused(appendSend(nil, port(3), connector.Cred{}, message(0, 1, 1)))
	byID := message(0, 0x200, 1)
	hd := frame.ParseHeader(byID)
	hd.Group, hd.Flags = 0, frame.FlagAgent
	hd.Put(byID)
	before := a.core.stats.Refused
	x.session++
	a.core.receive(to, x.link(1, hello(), appendSend(nil, port(3), connector.Cred{}, byID)))
	assert.Equal(t, before, a.core.stats.Refused, "the id's idx is 1000")
	binary.NativeEndian.PutUint32(byID[frame.HeaderLen+16:], 1)
	refused(appendSend(nil, port(3), connector.Cred{}, byID))
	x.session++
	a.core.receive(to, x.link(1, hello(), appendMembers(nil, 0x200, true)))
	assert.Len(t, a.core.interest, 1)
}

// TestANameIsOneHosts: the policy goes by names, so that nobody has that of a host that is there, or changes its own.
func TestANameIsOneHosts(t *testing.T) {
	s := newSim(t, 14, 2)
	s.start()
	a := s.hosts[0]
	a.lenient = true
	var asked []string
	a.core.cred = func(name string, c connector.Cred) connector.Cred {
		asked = append(asked, name)
		return c
	}
	to, x := subject{packetLink, 1}, stranger{h: packetHeader{host: 3, run: 99}, session: 1}
	say := func(name string) {
		x.session++
		a.core.receive(to, x.link(1, appendHello(nil, name), appendLease(nil, true), appendSend(nil, port(3), connector.Cred{}, message(1, 0, 1))))
		a.turn()
	}
	for _, name := range []string{"host1", "host2"} {
		before := a.core.refused[errName.Error()]
		require.Nil(t, before)
		say(name)
		require.NotNil(t, a.core.refused[errName.Error()])
		delete(a.core.refused, errName.Error())
		assert.Empty(t, asked, "nothing of it counts")
		assert.NotContains(t, a.core.peers, uint16(3))
		beacon := x.h
		beacon.kind = packetBeacon
		b := make([]byte, packetHeaderLen)
		beacon.put(b)
		a.core.receive(subject{kind: packetBeacon}, appendHello(b, name))
		assert.NotContains(t, a.core.peers, uint16(3))
		delete(a.core.refused, errName.Error())
	}
	say("mallory")
	assert.Equal(t, []string{"mallory"}, asked)
	p := a.core.peers[3]
	h := x.h
	h.kind, h.session, h.seq = packetLink, x.session, 2
	b := make([]byte, packetHeaderLen)
	h.put(b)
	a.core.receive(to, appendHello(b, "trent"))
	assert.True(t, p.gone, "who changes its name is another")
	require.NotNil(t, a.core.refused[errName.Error()])

	// Nothing counts before a Hello.
	asked = nil
	x.session++
	a.core.receive(to, x.link(1, appendSend(nil, port(3), connector.Cred{}, message(1, 0, 1))))
	assert.Empty(t, asked)
	assert.NotNil(t, a.core.peers[2], "the real one is where it was")
}
