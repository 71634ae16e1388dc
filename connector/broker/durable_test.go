package broker

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

const durableGroup = 0x300

// durablePolicy lets everybody do everything, and keeps the last n messages of a group for the site.
func durablePolicy(t *testing.T, n int) *Policy {
	p, err := ParsePolicy(fmt.Sprintf(`
[[rule]]
uid = ["*"]
admin = true

[[history]]
group = "0x300-0x30f"
messages = %d
durable = true
`, n))
	require.NoError(t, err)
	return p
}

// joinAt joins at a position, and returns the Ack and what comes with it.
func (h *hostSim) joinAt(p *peer, group uint32, epoch, pos uint64) (ack got, more []got) {
	h.t.Helper()
	p.write(frame.Header{Type: frame.Join, Tag: 3, Group: group, Flags: frame.FlagAt, Pos: pos}, frame.AppendU64s(nil, epoch)...)
	h.all.carry()
	fr := p.read()
	require.NotEmpty(h.t, fr)
	require.Equal(h.t, frame.Ack, fr[0].Type)
	for h.all.carry(); p.c.out.len() > 0; h.all.carry() {
		fr = append(fr, p.read()...)
	}
	return fr[0], fr[1:]
}

// publish sends messages number from to to-1, each to be acknowledged.
func (h *hostSim) publish(p *peer, from, to int) {
	h.t.Helper()
	for i := from; i < to; i++ {
		p.send(frame.Header{Group: durableGroup, Flags: frame.FlagAck, Tag: uint32(i)}, id1, strconv.Itoa(i))
	}
	h.all.carry()
}

// acks takes the acknowledgements from the frames of a sender.
func (p *peer) acks(n int) {
	p.s.t.Helper()
	fr := p.read()
	require.Len(p.s.t, fr, n)
	for _, f := range fr {
		require.Equal(p.s.t, frame.Ack, f.Type)
		require.Zero(p.s.t, f.Code, string(f.body))
	}
}

// kept checks that the frames are messages number first and so on, at the position one higher.
func kept(t *testing.T, fr []got, first, n int) {
	t.Helper()
	require.Len(t, fr, n, "%v", types(fr))
	for i, f := range fr {
		require.Equal(t, frame.Msg, f.Type)
		require.EqualValues(t, first+i+1, f.Pos)
		require.Equal(t, strconv.Itoa(first+i), f.data())
		require.Zero(t, f.Tag)
	}
}

func TestDurableGroup(t *testing.T) {
	s := newSiteSim(t, 3, durablePolicy(t, 1000))
	a, b, c := s.hosts[0], s.hosts[1], s.hosts[2]
	sender, here, there := a.root(), a.root(), b.root()
	a.join(sender, durableGroup)
	a.join(here, durableGroup)
	b.join(there, durableGroup)
	a.publish(sender, 0, 20)
	sender.acks(20)
	kept(t, here.read(), 0, 20)
	kept(t, there.read(), 0, 20)

	// Nobody is a member on the third host; who joins there gets what was kept, from any place.
	late := c.root()
	ack, all := c.joinAt(late, durableGroup, 0, 0)
	kept(t, all, 0, 20)
	assert.EqualValues(t, 20, ack.Pos)
	epoch := s.kept[durableGroup].epoch
	assert.Equal(t, frame.AppendU64s(nil, epoch), ack.body)
	_, middle := c.joinAt(c.root(), durableGroup, epoch, 13)
	kept(t, middle, 13, 7)
	plain := c.root()
	c.join(plain, durableGroup)
	a.publish(sender, 20, 22)
	sender.acks(2)
	kept(t, plain.read(), 20, 2)
	kept(t, late.read(), 20, 2)
	assert.Zero(t, a.pub+a.fwd, "nothing of it went from host to host")
}

func TestWhatTheStoreHasNoMoreIsCounted(t *testing.T) {
	s := newSiteSim(t, 2, durablePolicy(t, 10))
	a, b := s.hosts[0], s.hosts[1]
	sender := a.root()
	a.publish(sender, 0, 40)
	sender.acks(40)
	epoch := s.kept[durableGroup].epoch
	_, fr := b.joinAt(b.root(), durableGroup, epoch, 5)
	require.Equal(t, frame.Lost, fr[0].Type)
	assert.EqualValues(t, 25, fr[0].Pos)
	assert.Zero(t, fr[0].Flags)
	kept(t, fr[1:], 30, 10)

	_, fr = b.joinAt(b.root(), durableGroup, epoch+1, 5)
	require.Equal(t, frame.Lost, fr[0].Type)
	assert.EqualValues(t, frame.FlagUnknown, fr[0].Flags)
	kept(t, fr[1:], 30, 10)
	_, fr = b.joinAt(b.root(), durableGroup, epoch, 99)
	require.Equal(t, frame.Lost, fr[0].Type, "a position that was never given out")
	kept(t, fr[1:], 30, 10)
}

// TestAFullMemberOfADurableGroup: it is behind by more than the ring has, by less, and by more than the store has.
func TestAFullMemberOfADurableGroup(t *testing.T) {
	for _, n := range []int{30, 300, 3000} {
		s := newSiteSim(t, 2, durablePolicy(t, 1000))
		a, b := s.hosts[0], s.hosts[1]
		for _, h := range s.hosts {
			h.h.tune.queue = 2000
		}
		stuck, quick := b.root(), b.root()
		b.join(stuck, durableGroup)
		b.join(quick, durableGroup)
		b.h.groups[durableGroup].hist.ring.SetBounds(0, connector.History{Messages: 100})
		sender := a.root()
		got := 0
		for i := range n {
			a.publish(sender, i, i+1)
			sender.acks(1)
			got += len(quick.read())
		}
		require.Equal(t, n, got)
		next, lost := 0, 0
		for range 10 * n {
			for _, f := range stuck.read() {
				switch f.Type {
				case frame.Msg:
					require.Equal(t, strconv.Itoa(next), f.data())
					next++
				case frame.Lost:
					next += int(f.Pos)
					lost += int(f.Pos)
				}
			}
			s.carry()
		}
		require.Equal(t, n, next)
		if n > 1000 {
			assert.NotZero(t, lost)
		} else {
			assert.Zero(t, lost)
		}
	}
}

func TestADurableGroupWithoutASite(t *testing.T) {
	s := newSim(t, durablePolicy(t, 10))
	p := s.root()
	p.write(frame.Header{Type: frame.Join, Tag: 2, Group: durableGroup})
	assert.Equal(t, connector.ErrNotSupported.Code(), p.code())
	p.send(frame.Header{Group: durableGroup, Flags: frame.FlagAck}, id1, "x")
	assert.Equal(t, connector.ErrNotSupported.Code(), p.code())
	p.write(frame.Header{Type: frame.History, Tag: 2, Group: 7, Flags: frame.FlagSite}, frame.AppendU64s(nil, 10, 0, 0)...)
	assert.Equal(t, connector.ErrNotSupported.Code(), p.code())
	assert.Empty(t, s.h.groups)
}

// TestWhoJoinsBeforeTheSiteIsReached waits, and misses nothing; who sends is told.
func TestWhoJoinsBeforeTheSiteIsReached(t *testing.T) {
	s := newSiteSim(t, 2, durablePolicy(t, 100))
	a, b := s.hosts[0], s.hosts[1]
	sender := a.root()
	a.publish(sender, 0, 5)
	sender.acks(5)
	b.h.site.leave()
	b.h.willJoin = true
	p := b.root()
	p.write(frame.Header{Type: frame.Join, Tag: 3, Group: durableGroup, Flags: frame.FlagAt}, frame.AppendU64s(nil, 0)...)
	p.send(frame.Header{Group: durableGroup, Flags: frame.FlagAck, Tag: 4}, id1, "x")
	assert.Equal(t, connector.ErrWouldBlock.Code(), p.code())
	b.loop = &SiteLoop{b.h.join(&JoinConfig{Host: 2, Uplink: b})}
	s.carry()
	fr := p.read()
	require.Equal(t, frame.Ack, fr[0].Type)
	kept(t, fr[1:], 0, 5)

	// The broker leaves and comes back: its member goes on where it was.
	b.h.site.leave()
	a.publish(sender, 5, 300)
	p.none()
	b.h.willJoin = true
	b.loop = &SiteLoop{b.h.join(&JoinConfig{Host: 2, Uplink: b})}
	s.carry()
	fr = nil
	for p.c.out.len() > 0 {
		fr = append(fr, p.read()...)
		s.carry()
	}
	require.Equal(t, frame.Lost, fr[0].Type)
	assert.EqualValues(t, 195, fr[0].Pos, "100 of 300 are kept")
	kept(t, fr[1:], 200, 100)
}

// TestAnAgentMakesItsGroupDurable: and ends that, on all hosts.
func TestAnAgentMakesItsGroupDurable(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	agent, member := a.root(), b.root()
	agent.add(id1, "agent")
	group := id1.Idx
	b.join(member, group)
	s.carry()
	agent.read() // Interest
	agent.write(frame.Header{Type: frame.History, Tag: 2, Group: group, Flags: frame.FlagSite}, frame.AppendU64s(nil, 10, 0, 0)...)
	s.carry()
	ack := agent.read()
	require.Contains(t, types(ack), frame.Ack)
	for _, f := range ack {
		require.True(t, f.Type == frame.Interest || f.Code == 0, string(f.body))
	}
	agent.send(frame.Header{Group: group, Flags: frame.FlagAck, Tag: 9}, id1, "0")
	s.carry()
	kept(t, member.read(), 0, 1)
	agent.write(frame.Header{Type: frame.History, Tag: 2, Group: group}, frame.AppendU64s(nil, 10, 0, 0)...)
	refused := agent.read()
	require.Equal(t, connector.ErrInvalid.Code(), refused[len(refused)-1].Code, "it is durable: first it has to end")
	agent.write(frame.Header{Type: frame.History, Tag: 2, Group: group}, frame.AppendU64s(nil, 0, 0, 0)...)
	s.carry()
	agent.read()
	assert.Empty(t, s.kept)
	agent.send(frame.Header{Group: group, Flags: frame.FlagAck, Tag: 9}, id1, "again")
	s.carry()
	f := member.one(frame.Msg)
	assert.Zero(t, f.Pos)
	assert.Equal(t, "again", f.data())
	b.h.close(member.c)
	a.h.close(agent.c)
	s.carry()
	assert.Empty(t, a.h.groups)
	assert.Empty(t, b.h.groups)
}

// TestWhoComesBackBeforeItIsKnownWhatIsDurable: the policy says nothing of the group; an agent on another host has made it
// durable.
func TestWhoComesBackBeforeItIsKnownWhatIsDurable(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	want := connector.History{Messages: 100, Durable: true}
	a.Define(durableGroup, 0, want)
	s.carry()
	sender := a.root()
	a.publish(sender, 0, 5)
	sender.read()
	b.h.site.leave()
	b.h.willJoin = true
	p := b.root()
	p.write(frame.Header{Type: frame.Join, Tag: 3, Group: durableGroup, Flags: frame.FlagAt, Pos: 2}, frame.AppendU64s(nil, s.kept[durableGroup].epoch)...)
	p.none()
	gone := b.root()
	gone.write(frame.Header{Type: frame.Join, Tag: 3, Group: durableGroup, Flags: frame.FlagAt, Pos: 2}, frame.AppendU64s(nil, 9)...)
	b.h.close(gone.c)
	b.loop = &SiteLoop{b.h.join(&JoinConfig{Host: 2, Uplink: b, Durable: map[uint32]connector.History{durableGroup: want}})}
	s.carry()
	fr := p.read()
	require.Equal(t, frame.Ack, fr[0].Type)
	kept(t, fr[1:], 2, 3)
	assert.Len(t, b.h.groups[durableGroup].members, 1)
}
