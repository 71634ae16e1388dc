package broker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func TestAnIDOfAnotherHostIsCalledAsIfItWereHere(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	user, agent := a.root(), b.root()
	b.addSite(agent, id1, "far")
	assert.Equal(t, connector.SitePort(1, 1), user.c.port, "who connects after Join has a port that means the same everywhere")

	user.raw(msg(frame.Header{Flags: frame.FlagCall | frame.FlagAck, Tag: 77}, id1, 5, 6, "hello"))
	user.none()
	s.carry()
	m := agent.one(frame.Msg)
	assert.Equal(t, uint8(frame.FlagToID|frame.FlagCall), m.Flags)
	assert.Equal(t, user.c.port, m.Port)
	assert.Equal(t, user.c.cred, connector.Cred{UID: m.UID, GID: m.GID, PID: m.PID})
	assert.Equal(t, "hello", m.data())
	s.carry()
	assert.Equal(t, uint32(77), user.one(frame.Ack).Tag, "the agent's socket has it")

	agent.raw(msg(frame.Header{Port: m.Port, Flags: frame.FlagReply}, id1, 5, 7, "hi"))
	s.carry()
	r := user.one(frame.Msg)
	assert.Equal(t, uint8(frame.FlagReply), r.Flags)
	assert.Equal(t, agent.c.port, r.Port)
	assert.Equal(t, "hi", r.data())
	assert.Empty(t, user.c.far, "all is consumed")
	assert.Positive(t, a.flush)
}

func TestAnIDIsOnlyRegisteredForAllWhereItIsAskedFor(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	here, there, user := a.root(), b.root(), a.root()
	there.add(id1, "their own")
	user.send(frame.Header{Flags: frame.FlagAck}, id1, "")
	assert.Equal(t, connector.ErrNoID.Code(), user.code())
	a.addSite(here, id1, "everybody's")
	require.Len(t, b.h.site.ids, 1)
	other := b.root()
	other.send(frame.Header{}, id1, "to the one of this host")
	assert.Equal(t, "to the one of this host", there.one(frame.Msg).data())
	there.write(frame.Header{Type: frame.Del}, frame.AppendID(nil, id1)...)
	require.Zero(t, there.code())
	other.send(frame.Header{}, id1, "to the other now")
	s.carry()
	assert.Equal(t, "to the other now", here.one(frame.Msg).data())
	there.add(id1, "their own again")
	other.send(frame.Header{}, id1, "and back")
	assert.Equal(t, "and back", there.one(frame.Msg).data())
}

func TestARegistrationForAllHasOneOwner(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	first, second := a.root(), b.root()
	a.addSite(first, id1, "first")
	add := func(p *peer, flags uint8) got {
		p.write(frame.Header{Type: frame.Add, Tag: 9, Flags: flags}, frame.AppendNamed(nil, id1, "second")...)
		s.carry()
		return p.read()[0]
	}
	refused := add(second, frame.FlagSite)
	assert.Equal(t, connector.ErrDuplicate.Code(), refused.Code)
	assert.Contains(t, string(refused.body), "another host has it")

	require.Zero(t, add(second, frame.FlagTakeover).Code)
	lost := first.one(frame.Site)
	assert.Equal(t, uint16(connector.SiteLost), lost.Code)
	assert.Equal(t, "taken over", string(lost.body[8:]))
	first.write(frame.Header{Type: frame.Del, Tag: 4}, frame.AppendID(nil, id1)...)
	require.Zero(t, first.code(), "its own host's registration has stayed")
	user := a.root()
	user.send(frame.Header{}, id1, "to the new owner")
	s.carry()
	assert.Equal(t, "to the new owner", second.read()[0].data())

	second.write(frame.Header{Type: frame.Del, Tag: 5}, frame.AppendID(nil, id1)...)
	second.none()
	s.carry()
	assert.Zero(t, second.code(), "now everybody knows")
	user.send(frame.Header{Flags: frame.FlagAck}, id1, "")
	assert.Equal(t, connector.ErrNoID.Code(), user.code())
}

func TestWhoIsNotJoinedRegistersForNobodyElse(t *testing.T) {
	s := newSim(t, nil)
	a := s.root()
	a.write(frame.Header{Type: frame.Add, Flags: frame.FlagSite}, frame.AppendNamed(nil, id1, "x")...)
	f := a.one(frame.Ack)
	assert.Equal(t, connector.ErrNotSupported.Code(), f.Code)
	assert.Contains(t, string(f.body), "not joined")
}

func TestAClientThatGoesBeforeItsClaimIsGranted(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a := s.hosts[0]
	p := a.root()
	p.write(frame.Header{Type: frame.Add, Flags: frame.FlagSite}, frame.AppendNamed(nil, id1, "x")...)
	q := a.root()
	q.write(frame.Header{Type: frame.Add}, frame.AppendNamed(nil, id1, "x")...)
	assert.Equal(t, connector.ErrDuplicate.Code(), q.code(), "it is asked for")
	a.h.close(p.c)
	s.carry()
	assert.Empty(t, s.owner)
	assert.Empty(t, s.hosts[1].h.ids)
	q.add(id1, "free again")
}

func TestPortsOfOtherHosts(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	x, y := a.root(), b.root()
	x.send(frame.Header{Port: y.c.port, Flags: frame.FlagAck, Tag: 1}, id1, "hello")
	s.carry()
	assert.Equal(t, "hello", y.one(frame.Msg).data())
	s.carry()
	assert.Equal(t, uint32(1), x.one(frame.Ack).Tag)

	x.send(frame.Header{Port: connector.SitePort(2, 99), Flags: frame.FlagAck, Tag: 2}, id1, "nobody")
	s.carry()
	f := x.one(frame.Ack)
	assert.Equal(t, []uint32{2, uint32(connector.ErrNoPort.Code())}, []uint32{f.Tag, uint32(f.Code)})
	x.send(frame.Header{Port: connector.SitePort(2, 99)}, id1, "nobody, unacknowledged")
	s.carry()
	assert.Equal(t, connector.SitePort(2, 99), x.one(frame.Fail).Port)
	x.send(frame.Header{Port: connector.SitePort(77, 1), Flags: frame.FlagAck, Tag: 3}, id1, "no such host")
	assert.Equal(t, connector.ErrNoPort.Code(), x.code())

	x.send(frame.Header{Port: connector.LocalPort(x.c.port)}, id1, "one's own port in its short form")
	x.one(frame.Msg)
}

func TestWhoConnectedBeforeJoinIsReachedByItsSiteWidePort(t *testing.T) {
	s := &siteSim{t: t, owner: make(map[cbid.ID]uint32)}
	for i := range 2 {
		s.hosts = append(s.hosts, &hostSim{sim: newSim(t, nil), all: s, num: uint32(i + 1)})
	}
	old := s.hosts[0].root()
	for i, h := range s.hosts {
		h.loop = &SiteLoop{h.h.join(&JoinConfig{Host: h.num, Uplink: h})}
		h.loop.HostUp(uint32(2-i), "other")
	}
	far := s.hosts[1].root()
	old.send(frame.Header{Port: far.c.port, Flags: frame.FlagCall}, id1, "from the old port")
	s.carry()
	m := far.one(frame.Msg)
	assert.Equal(t, connector.SitePort(1, old.c.port), m.Port)
	far.send(frame.Header{Port: m.Port, Flags: frame.FlagReply}, id1, "back")
	s.carry()
	assert.Equal(t, "back", old.one(frame.Msg).data())
}

func TestCallsToAnotherHostEndWithTheAgent(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	user, agent, port := a.root(), b.root(), b.root()
	b.addSite(agent, id1, "agent")
	user.write(frame.Header{Type: frame.Ping})
	user.one(frame.Ack)
	user.send(frame.Header{Flags: frame.FlagCall}, id1, "x")
	user.send(frame.Header{Flags: frame.FlagCall, Port: port.c.port}, id1, "x")
	s.carry()
	b.h.close(agent.c)
	b.h.close(port.c)
	s.carry()
	var ids, ports int
	for _, g := range user.read() {
		require.Equal(t, frame.Gone, g.Type)
		if len(g.body) == 8 {
			assert.Equal(t, agent.c.port, g.Port)
			ids++
		} else {
			assert.Equal(t, port.c.port, g.Port)
			ports++
		}
		assert.GreaterOrEqual(t, g.Pos, uint64(3), "counted as this host's broker counts")
	}
	assert.Positive(t, ids)
	assert.Equal(t, 1, ports)
	assert.Empty(t, user.c.called)
}

func TestGroupsReachTheHostsThatListen(t *testing.T) {
	s := newSiteSim(t, 3, nil)
	a, b, c := s.hosts[0], s.hosts[1], s.hosts[2]
	pub, near, far, deaf := a.root(), a.root(), b.root(), c.root()
	pub.send(frame.Header{Group: 9, Flags: frame.FlagAck}, id1, "")
	assert.Equal(t, connector.ErrNoListener.Code(), pub.code())
	b.join(far, 9)
	pub.send(frame.Header{Group: 9}, id1, "one")
	a.join(near, 9)
	pub.send(frame.Header{Group: 9}, id1, "two")
	pub.send(frame.Header{Group: 9, Flags: frame.FlagAck, Tag: 5}, id1, "three")
	pub.send(frame.Header{Group: 9, Flags: frame.FlagAck | frame.FlagWait, Tag: 6}, id1, "four")
	s.carry()
	var texts []string
	for _, m := range far.read() {
		texts = append(texts, m.data())
		assert.Equal(t, []uint32{pub.c.port, 9}, []uint32{m.Port, m.Group})
	}
	assert.Equal(t, []string{"one", "two", "three", "four"}, texts)
	pub.none()
	s.carry()
	pub.none() // near has not got them
	assert.Len(t, near.read(), 3)
	acks := pub.read()
	require.Equal(t, []frame.Type{frame.Ack, frame.Ack}, types(acks))
	assert.Equal(t, []uint32{5, 6}, []uint32{acks[0].Tag, acks[1].Tag})
	deaf.none()
	assert.Equal(t, []int{2, 2}, []int{a.pub, a.fwd})
	assert.Zero(t, b.fwd+b.pub, "what came from another host is not passed on")

	far.write(frame.Header{Type: frame.Leave, Group: 9, Tag: 8})
	far.none()
	s.carry()
	require.Zero(t, far.code())
	near.write(frame.Header{Type: frame.Leave, Group: 9})
	s.carry()
	near.read()
	pub.send(frame.Header{Group: 9, Flags: frame.FlagAck}, id1, "")
	assert.Equal(t, connector.ErrNoListener.Code(), pub.code())
}

func TestInterestSpansHosts(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	agent, far := a.root(), b.root()
	agent.add(id1, "x")
	b.join(far, id1.Idx)
	assert.Equal(t, uint16(1), agent.one(frame.Interest).Code)
	b.h.close(far.c)
	s.carry()
	assert.Zero(t, agent.one(frame.Interest).Code)
}

func TestLossesBetweenHostsAreToldToTheMembers(t *testing.T) {
	s := newSiteSim(t, 1, nil)
	a := s.hosts[0]
	m := a.root()
	a.join(m, 9)
	a.loop.GroupLost(9, 3, false)
	l := m.one(frame.Lost)
	assert.Equal(t, []uint64{3, 0}, []uint64{l.Pos, uint64(l.Flags)})
	a.loop.GroupLost(9, 0, true)
	assert.Equal(t, uint8(frame.FlagUnknown), m.one(frame.Lost).Flags)
	a.loop.GroupLost(10, 3, false)
	m.none()
}

func TestAFullReceiverOnAnotherHostStopsItsSendersOnly(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	small := tuning{queue: 3000, replies: 20000, overrun: 2000, window: 4000, waits: 64, hello: 1e10, bye: 5e9}
	a, b := s.hosts[0], s.hosts[1]
	a.h.tune, b.h.tune = small, small
	x, y, full, free := a.root(), a.root(), b.root(), b.root()
	data := strings.Repeat("x", 400)
	sent := 0
	for ; !x.c.paused && sent < 1000; sent++ {
		x.send(frame.Header{Port: full.c.port}, id1, data)
		s.carry()
	}
	require.True(t, x.c.paused)
	assert.Less(t, full.c.out.len(), 6000)
	fr := x.read()
	require.Equal(t, []frame.Type{frame.Stop}, types(fr))
	assert.Equal(t, full.c.port, fr[0].Port)
	y.send(frame.Header{Port: free.c.port}, id1, "not held up")
	s.carry()
	assert.Equal(t, "not held up", free.one(frame.Msg).data())

	got := 0
	var last []frame.Type
	for range 50 {
		got += len(full.read())
		s.carry()
		last = append(last, types(x.read())...)
	}
	assert.Equal(t, sent, got, "nothing is lost")
	assert.False(t, x.c.paused)
	require.NotEmpty(t, last)
	assert.Equal(t, frame.Go, last[len(last)-1])
	assert.Empty(t, x.c.stopped)
	assert.Empty(t, x.c.farStops)
	assert.Empty(t, x.c.far)
}

func TestAHostThatDoesNotAnswerHoldsUpWhoSendsThereAndTakesReplies(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	small := tuning{queue: 3000, replies: 8000, overrun: 2000, window: 4000, waits: 64, hello: 1e10, bye: 5e9}
	a := s.hosts[0]
	a.h.tune = small
	far := s.hosts[1].root()
	x, agent := a.root(), a.root()
	s.cut = true
	data := strings.Repeat("x", 400)
	n := 0
	for ; !x.c.paused; n++ {
		x.send(frame.Header{Port: far.c.port, Flags: frame.FlagAck, Tag: uint32(n)}, id1, data)
	}
	assert.LessOrEqual(t, n, 4000/400+1)
	assert.Equal(t, []frame.Type{frame.Stop}, types(x.read()))
	for range 100 {
		agent.send(frame.Header{Port: far.c.port, Flags: frame.FlagReply}, id1, data)
	}
	assert.False(t, agent.c.paused, "a reply never waits")
	fails := agent.read()
	assert.Equal(t, frame.Fail, fails[0].Type)
	s.cut = false
	s.carry()
	fr := far.read()
	require.NotEmpty(t, fr)
	msgs, lost := 0, 0
	for range 50 {
		for _, f := range fr {
			if f.Type == frame.Lost {
				lost += int(f.Pos)
			} else {
				msgs++
			}
		}
		s.carry()
		fr = far.read()
	}
	assert.Equal(t, n+100, msgs+lost, "each has come or was told as lost")
	assert.Equal(t, len(fails), lost)
}

func TestAHostThatIsGivenUp(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	x, far, agent := a.root(), b.root(), b.root()
	b.addSite(agent, id1, "agent")
	far.send(frame.Header{Port: x.c.port}, id1, "so that there is a proxy")
	s.carry()
	x.read()
	follower := a.root()
	follower.write(frame.Header{Type: frame.Follow, Port: far.c.port, Pos: 4, Tag: 1})
	follower.none()
	s.carry()
	require.Zero(t, follower.code())

	s.cut = true
	x.send(frame.Header{Port: far.c.port, Flags: frame.FlagAck, Tag: 7}, id1, "x")
	x.send(frame.Header{Port: far.c.port, Flags: frame.FlagCall}, id1, "x")
	x.send(frame.Header{Flags: frame.FlagCall}, id1, "x")
	x.none()
	a.loop.HostDown(2, "no word for 15 s")
	a.loop.IDRemoved(id1)
	fr := x.read()
	assert.ElementsMatch(t, []frame.Type{frame.Ack, frame.Gone, frame.Gone}, types(fr))
	for _, f := range fr {
		if f.Type == frame.Ack {
			assert.Equal(t, connector.ErrInterrupted.Code(), f.Code)
			assert.Contains(t, string(f.body), "no word for 15 s")
		}
	}
	assert.Equal(t, far.c.port, follower.one(frame.PortGone).Port)
	x.send(frame.Header{Port: far.c.port, Flags: frame.FlagAck}, id1, "x")
	assert.Equal(t, connector.ErrNoPort.Code(), x.code())
	x.send(frame.Header{Flags: frame.FlagAck}, id1, "x")
	assert.Equal(t, connector.ErrNoID.Code(), x.code())
	assert.Empty(t, a.h.site.proxies)
	assert.Empty(t, x.c.farAcks)
}

func TestPortsOfOtherHostsAreFollowed(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	agent, user, stays := a.root(), b.root(), b.root()
	for i, p := range []*peer{user, user, stays} {
		agent.write(frame.Header{Type: frame.Follow, Port: p.c.port, Pos: uint64(i), Tag: 1})
		s.carry()
		require.Zero(t, agent.code())
	}
	agent.write(frame.Header{Type: frame.Unfollow, Pos: 1})
	s.carry()
	b.h.close(user.c)
	s.carry()
	g := agent.one(frame.PortGone)
	assert.Equal(t, []uint64{0, uint64(user.c.port)}, []uint64{g.Pos, uint64(g.Port)})
	agent.write(frame.Header{Type: frame.Follow, Port: user.c.port, Pos: 9, Tag: 1})
	s.carry()
	assert.ElementsMatch(t, []frame.Type{frame.Ack, frame.PortGone}, types(agent.read()))
	a.h.close(agent.c)
	s.carry()
	assert.Empty(t, stays.c.followers)
	assert.Empty(t, b.h.site.proxies)
}

func TestWatchesSpanHosts(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	w, agent := a.root(), b.root()
	w.write(frame.Header{Type: frame.Watch, Tag: 3})
	kinds := func() (k []connector.ChangeKind) {
		a.turn()
		for _, f := range w.read() {
			if f.Type == frame.Change {
				k = append(k, connector.ChangeKind(f.Code))
			}
		}
		return k
	}
	require.Equal(t, []connector.ChangeKind{connector.ChangeMarker}, kinds())
	b.addSite(agent, id1, "far")
	assert.Equal(t, []connector.ChangeKind{connector.ChangeAdded}, kinds())
	rows := a.h.idRows()
	require.Len(t, rows, 1)
	assert.Equal(t, []any{uint32(2), true, false, agent.c.port}, []any{rows[0].Host, rows[0].Site, rows[0].Unknown, rows[0].Owner.Port})
	a.loop.IDUnknown(id1, true)
	a.loop.IDUnknown(id1, true)
	assert.Equal(t, []connector.ChangeKind{connector.ChangeUnknown}, kinds())
	assert.True(t, a.h.idRows()[0].Unknown)
	late := a.root()
	late.write(frame.Header{Type: frame.Watch, Tag: 3})
	a.turn()
	assert.Equal(t, uint8(frame.FlagUnknown), late.read()[1].Flags)
	a.loop.IDUnknown(id1, false)
	assert.Equal(t, []connector.ChangeKind{connector.ChangeAdded}, kinds())
	agent.write(frame.Header{Type: frame.Del}, frame.AppendID(nil, id1)...)
	s.carry()
	assert.Equal(t, []connector.ChangeKind{connector.ChangeRemoved}, kinds())
}

func TestBothHostsApplyTheirPolicy(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [0]\nadmin = true\n[[rule]]\nuid = [5]\nsend = [\"1:*\"]\n")
	require.NoError(t, err)
	s := newSiteSim(t, 2, p)
	a, b := s.hosts[0], s.hosts[1]
	agent, poor := b.root(), a.client(5)
	b.addSite(agent, id1, "far")
	poor.send(frame.Header{Flags: frame.FlagAck}, id1, "x")
	assert.Equal(t, connector.ErrPermission.Code(), poor.code())
	assert.Zero(t, a.fwd)
	poor.send(frame.Header{Flags: frame.FlagAck, Port: agent.c.port}, id1, "x")
	assert.Equal(t, connector.ErrPermission.Code(), poor.code())
	// The sender's host lets it pass.
	require.NoError(t, b.loop.Input(poor.c.port, poor.c.cred, "", msg(frame.Header{Flags: frame.FlagAck, Tag: 3}, id1, 1, 2, "x")))
	b.turn()
	require.NotEmpty(t, b.answer)
	assert.Equal(t, connector.ErrPermission.Code(), b.answer[len(b.answer)-1].Code)
	agent.none()
	b.join(agent, 9)
	require.NoError(t, b.loop.Group(poor.c.port, poor.c.cred, msg(frame.Header{Group: 9}, id1, 1, 2, "x")))
	agent.none()
	require.NoError(t, b.loop.Input(poor.c.port, poor.c.cred, "", msg(frame.Header{Flags: frame.FlagCall}, cbid.Control, 1, 2, "0123456789abcdef")))
	assert.Zero(t, b.h.notify.Len())
}

func TestBadFramesOfABridgeAreRefused(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a := s.hosts[0]
	p := a.root()
	good := msg(frame.Header{}, id1, 1, 2, "x")
	far := connector.SitePort(2, 1)
	for name, fr := range map[string][]byte{
		"short": good[:20], "long": append(append([]byte(nil), good...), 0), "type": frame.Header{Type: frame.Add}.Append(nil),
		"body": frame.Header{Type: frame.Send}.Append(nil, 1, 2, 3), "follow": frame.Header{Type: frame.Follow}.Append(nil, 1), "none": nil,
	} {
		assert.ErrorIs(t, a.loop.Input(far, connector.Cred{}, "", fr), connector.ErrProtocol, name)
		assert.ErrorIs(t, a.loop.Deliver(2, p.c.port, fr), connector.ErrProtocol, name)
		assert.ErrorIs(t, a.loop.Group(far, connector.Cred{}, fr), connector.ErrProtocol, name)
	}
	assert.ErrorIs(t, a.loop.Input(p.c.port, connector.Cred{}, "", good), connector.ErrInvalid, "a port of this host")
	assert.ErrorIs(t, a.loop.IDAdded(connector.IDInfo{ID: id1, Port: 5}), connector.ErrInvalid)
	assert.ErrorIs(t, a.loop.IDAdded(connector.IDInfo{ID: cbid.Control, Port: far}), connector.ErrInvalid)
	for _, fr := range [][]byte{
		frame.Header{Type: frame.Fail}.Append(nil, 1), frame.Header{Type: frame.Stop}.Append(nil, 1), frame.Header{Type: frame.Gone}.Append(nil, 1),
		frame.Header{Type: frame.Lost}.Append(nil, 1), frame.Header{Type: frame.PortGone}.Append(nil, 1), good, frame.Header{Type: frame.Bye}.Append(nil),
	} {
		assert.ErrorIs(t, a.loop.Deliver(2, p.c.port, fr), connector.ErrProtocol)
	}
	require.NoError(t, a.loop.Deliver(2, p.c.port, frame.Header{Type: frame.Ack, Tag: 12}.Append(nil)), "nobody waits for it")
	require.NoError(t, a.loop.Deliver(2, 4711, frame.Header{Type: frame.Gone, Port: far}.Append(nil)), "it is gone")
	require.NoError(t, a.loop.Deliver(2, p.c.port, frame.Header{Type: frame.PortGone, Port: far}.Append(nil)), "it does not follow that")
	p.none()
	assert.Empty(t, a.h.site.proxies)
}

func TestLeaveUndoesJoin(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	agent, user, member, far := a.root(), a.root(), a.root(), b.root()
	id2 := cbid.Make(1, 99)
	a.addSite(agent, id1, "for all")
	b.addSite(far, id2, "theirs")
	b.join(far, 9)
	far.send(frame.Header{Port: user.c.port}, id1, "x")
	s.carry()
	user.read()
	s.cut = true
	user.send(frame.Header{Flags: frame.FlagCall}, id2, "x")
	member.write(frame.Header{Type: frame.Join, Group: 77, Tag: 1})
	user.write(frame.Header{Type: frame.Add, Flags: frame.FlagSite, Tag: 4}, frame.AppendNamed(nil, cbid.Make(1, 3), "pending")...)
	a.h.site.leave()
	assert.Nil(t, a.h.site)
	require.Zero(t, member.code())
	assert.ElementsMatch(t, []frame.Type{frame.Gone, frame.Gone, frame.Ack}[1:], types(user.read()))
	assert.Equal(t, uint16(connector.SiteLost), agent.one(frame.Site).Code)
	user.send(frame.Header{Flags: frame.FlagAck}, id2, "x")
	assert.Equal(t, connector.ErrNoID.Code(), user.code())
	user.send(frame.Header{Flags: frame.FlagAck, Group: 9}, id2, "x")
	assert.Equal(t, connector.ErrNoListener.Code(), user.code())
	for _, p := range []*peer{agent, user, member} {
		a.h.close(p.c)
	}
	assert.Empty(t, a.h.ids)
	assert.Empty(t, a.h.accounts)
}

// The answer to a Join has its shape also when the member has left meanwhile.
func TestWhoLeavesBeforeOtherHostsHaveHeardOfTheJoin(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a := s.hosts[0]
	one, two := a.root(), a.root()
	s.cut = true
	one.write(frame.Header{Type: frame.Join, Group: 77, Tag: 1})
	two.write(frame.Header{Type: frame.Join, Group: 77, Tag: 1})
	one.write(frame.Header{Type: frame.Leave, Group: 77, Tag: 2})
	left := one.one(frame.Ack)
	assert.Equal(t, uint32(2), left.Tag)
	s.cut = false
	a.h.site.leave()
	joined := one.one(frame.Ack)
	assert.Equal(t, uint32(1), joined.Tag)
	assert.Equal(t, uint32(77), joined.Group)
	assert.Len(t, joined.body, 8)
	assert.Len(t, two.one(frame.Ack).body, 8)
}

func TestRegistrationsForAllWaitForJoin(t *testing.T) {
	s := &siteSim{t: t, owner: make(map[cbid.ID]uint32)}
	h := &hostSim{sim: newSim(t, nil), all: s, num: 1}
	s.hosts = append(s.hosts, h)
	h.h.willJoin = true
	first, second, gone := h.root(), h.root(), h.root()
	for _, p := range []*peer{gone, first, second} {
		p.write(frame.Header{Type: frame.Add, Tag: 1, Flags: frame.FlagSite}, frame.AppendNamed(nil, id1, "x")...)
		p.none()
	}
	h.h.close(gone.c)
	h.loop = &SiteLoop{h.h.join(&JoinConfig{Host: 1, Uplink: h})}
	s.carry()
	assert.Zero(t, first.read()[0].Code)
	assert.Equal(t, connector.ErrDuplicate.Code(), second.code())
	assert.Equal(t, 1, h.h.accounts[0].regs)
	h.h.site.leave()
	second.write(frame.Header{Type: frame.Add, Flags: frame.FlagSite}, frame.AppendNamed(nil, cbid.Make(1, 9), "x")...)
	assert.Equal(t, connector.ErrNotSupported.Code(), second.code())
}
