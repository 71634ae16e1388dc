package broker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// rest takes what comes until nothing does.
func (h *hostSim) rest(p *peer) (fr []got) {
	for h.all.carry(); p.c.out.len() > 0; h.all.carry() {
		fr = append(fr, p.read()...)
	}
	return fr
}

// TestTheStoreRefusesADurableGroup: everybody who joins is told so, and that is the end of it.
func TestTheStoreRefusesADurableGroup(t *testing.T) {
	s := newSiteSim(t, 1, durablePolicy(t, 100))
	a := s.hosts[0]
	a.refuse = connector.ErrLimit
	p := a.root()
	p.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup})
	p.write(frame.Header{Type: frame.Join, Tag: 2, Group: durableGroup})
	fr := a.rest(p)
	require.Len(t, fr, 2)
	for i, f := range fr {
		assert.EqualValues(t, i+1, f.Tag)
		assert.Equal(t, connector.ErrLimit.Code(), f.Code)
	}
	assert.Empty(t, a.h.groups)
	assert.Empty(t, p.c.members)
}

// TestTheStoreRefusesAGroupThatHasMembers: it is not asked without end; when it does it after all, they are in it.
func TestTheStoreRefusesAGroupThatHasMembers(t *testing.T) {
	s := newSiteSim(t, 1, nil)
	a := s.hosts[0]
	p := a.root()
	a.join(p, durableGroup)
	a.refuse = connector.ErrLimit
	want := connector.History{Messages: 10, Durable: true}
	a.loop.SetDurable(durableGroup, want)
	s.carry()
	p.none()
	a.refuse = nil
	k := s.keeps(durableGroup, want)
	a.loop.Located(durableGroup, k.epoch, k.first, k.last(), false, nil, "")
	a.publish(p, 0, 2)
	require.Len(t, a.rest(p), 2, "the acknowledgements")
	other := a.root()
	a.join(other, durableGroup)
	a.publish(other, 2, 3)
	kept(t, a.rest(p), 2, 1)
}

// TestADurableGroupBeginsAnew: what was asked for before that is not answered any more.
func TestADurableGroupBeginsAnew(t *testing.T) {
	none := connector.History{}
	t.Run("while a join waits", func(t *testing.T) {
		s := newSiteSim(t, 1, durablePolicy(t, 100))
		a := s.hosts[0]
		p := a.root()
		p.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup})
		a.turn()
		require.Len(t, a.queue, 1)
		a.queue = nil
		a.loop.SetDurable(durableGroup, none)
		fr := a.rest(p)
		require.Len(t, fr, 1)
		assert.Zero(t, fr[0].Code)
	})
	t.Run("while messages are fetched", func(t *testing.T) {
		s := newSiteSim(t, 1, durablePolicy(t, 100))
		a := s.hosts[0]
		sender, p := a.root(), a.root()
		a.publish(sender, 0, 5)
		p.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup, Flags: frame.FlagAt}, frame.AppendU64s(nil, 0)...)
		a.turn()
		located := a.queue[0]
		a.queue = nil
		located()
		require.True(t, a.h.groups[durableGroup].durable().fetching)
		a.queue = nil
		a.loop.SetDurable(durableGroup, none)
		fr := a.rest(p)
		require.NotEmpty(t, fr)
		kept(t, fr[1:], 0, 5)
	})
	t.Run("as another", func(t *testing.T) {
		s := newSiteSim(t, 1, durablePolicy(t, 100))
		a := s.hosts[0]
		sender, p := a.root(), a.root()
		a.publish(sender, 0, 5)
		p.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup, Flags: frame.FlagAt}, frame.AppendU64s(nil, 0)...)
		a.turn()
		located := a.queue[0]
		a.queue = nil
		located()
		a.queue = nil // no answer to Fetch
		k := s.kept[durableGroup]
		k.epoch++
		a.loop.Located(durableGroup, k.epoch, k.first, k.last(), true, nil, "")
		fr := a.rest(p)
		require.Equal(t, frame.Lost, fr[1].Type)
		kept(t, fr[2:], 0, 5)
	})
}

// TestAGroupBecomesDurableWhileAJoinWaits for the other hosts: it is answered with a place in the history.
func TestAGroupBecomesDurableWhileAJoinWaits(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a := s.hosts[0]
	p := a.root()
	p.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup})
	a.turn()
	want := connector.History{Messages: 10, Durable: true}
	waits := a.queue
	a.queue = nil
	a.loop.SetDurable(durableGroup, want)
	for _, f := range waits { // MembersDone is among them
		f()
	}
	fr := a.rest(p)
	require.Len(t, fr, 1)
	assert.Equal(t, frame.Ack, fr[0].Type)
	assert.Zero(t, fr[0].Code)
	assert.Zero(t, fr[0].Pos)
	assert.Equal(t, frame.AppendU64s(nil, s.kept[durableGroup].epoch), fr[0].body)
}

// TestHistoriesOfAGroupAreAnsweredEachByItself: also when the bridge is done with the later one first; and what follows one that is
// under way goes after it, though the group is not known as durable yet.
func TestHistoriesOfAGroupAreAnsweredEachByItself(t *testing.T) {
	s := newSiteSim(t, 1, nil)
	a := s.hosts[0]
	p := a.root()
	p.write(frame.Header{Type: frame.History, Tag: 1, Group: 7, Flags: frame.FlagSite}, frame.AppendU64s(nil, 10, 0, 0)...)
	p.write(frame.Header{Type: frame.History, Tag: 2, Group: 7}, frame.AppendU64s(nil, 0, 0, 0)...)
	p.write(frame.Header{Type: frame.History, Tag: 3, Group: 7, Flags: frame.FlagSite}, frame.AppendU64s(nil, 20, 0, 0)...)
	p.none()
	tags := make(map[uint32]uint32)
	for _, w := range a.h.site.defs[7] {
		tags[w.tag] = w.define
	}
	require.Len(t, tags, 3)
	a.queue = nil // the bridge answers in another order
	a.loop.Defined(7, tags[2], connector.ErrLimit, "refused")
	f := p.one(frame.Ack)
	assert.EqualValues(t, 2, f.Tag)
	assert.Equal(t, connector.ErrLimit.Code(), f.Code)
	a.loop.Defined(7, tags[1], nil, "")
	a.loop.Defined(7, tags[1], nil, "") // it is told once
	f = p.one(frame.Ack)
	assert.EqualValues(t, 1, f.Tag)
	assert.Zero(t, f.Code)
	a.loop.Defined(7, tags[3], nil, "")
	assert.EqualValues(t, 3, p.one(frame.Ack).Tag)
	assert.Empty(t, a.h.site.defs)
}

// TestAGroupThatStaysOnItsHostIsNotDurable: the policy says it is, before the site is known or by a reload; its members hear what is
// published, and it has its history here.
func TestAGroupThatStaysOnItsHostIsNotDurable(t *testing.T) {
	local := func(group uint32) bool { return group == durableGroup }
	check := func(t *testing.T, s *siteSim, member *peer) {
		a := s.hosts[0]
		sender, late := a.root(), a.root()
		a.publish(sender, 0, 3)
		kept(t, a.rest(member), 0, 3)
		for _, f := range a.rest(sender) {
			assert.Zero(t, f.Code, string(f.body))
		}
		late.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup, Flags: frame.FlagAt}, frame.AppendU64s(nil, 0)...)
		fr := a.rest(late)
		require.Equal(t, frame.Ack, fr[0].Type)
		kept(t, fr[1:], 0, 3)
		assert.Empty(t, s.kept)
		late.write(frame.Header{Type: frame.History, Tag: 2, Group: durableGroup, Flags: frame.FlagSite}, frame.AppendU64s(nil, 20, 0, 0)...)
		assert.Equal(t, connector.ErrInvalid.Code(), late.code())
		a.loop.SetDurable(durableGroup, connector.History{Messages: 10, Durable: true}) // as another host has it
		assert.Empty(t, a.h.site.durable)
		a.publish(sender, 3, 4)
		kept(t, a.rest(member), 3, 1)
	}
	again := func(s *siteSim) {
		a := s.hosts[0]
		a.h.site.leave()
		a.h.willJoin = true
		a.loop = nil
	}
	join := func(s *siteSim) {
		a := s.hosts[0]
		a.loop = &SiteLoop{a.h.join(&JoinConfig{Host: 1, Uplink: a, Local: local, Durable: map[uint32]connector.History{durableGroup: {Messages: 10, Durable: true}}})}
		s.carry()
	}
	t.Run("by a reload", func(t *testing.T) {
		s := newSiteSim(t, 1, nil)
		again(s)
		join(s)
		p := s.hosts[0].root()
		s.hosts[0].join(p, durableGroup)
		s.hosts[0].h.reload(durablePolicy(t, 100))
		check(t, s, p)
	})
	t.Run("before the site is reached", func(t *testing.T) {
		s := newSiteSim(t, 1, durablePolicy(t, 100))
		again(s)
		p := s.hosts[0].root()
		p.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup})
		p.none()
		join(s)
		fr := p.read()
		require.Len(t, fr, 1)
		assert.Zero(t, fr[0].Code)
		check(t, s, p)
	})
}
