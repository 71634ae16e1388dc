package broker

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// TestWhoAsksFasterThanOtherHostsAnswerIsNotRead: answers that come from elsewhere are as much memory as those that are queued.
func TestWhoAsksFasterThanOtherHostsAnswerIsNotRead(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	a.h.tune.waits = 8
	p, far := a.root(), b.root()
	answers := func(want int) {
		t.Helper()
		got := 0
		for range 100 {
			s.carry()
			got += len(p.read())
		}
		assert.Equal(t, want, got, "in the end everything is answered")
		assert.Zero(t, p.c.waits)
		assert.False(t, p.c.paused)
	}
	t.Run("join", func(t *testing.T) {
		for i := range uint32(50) {
			p.write(frame.Header{Type: frame.Join, Group: 500, Tag: i})
			p.write(frame.Header{Type: frame.Leave, Group: 500, Tag: i})
		}
		assert.True(t, p.c.paused)
		assert.Len(t, a.h.site.joins[500], 8)
		answers(100)
	})
	t.Run("follow", func(t *testing.T) {
		for i := range uint64(50) {
			p.write(frame.Header{Type: frame.Follow, Port: far.c.port, Pos: i, Tag: 1})
		}
		assert.True(t, p.c.paused)
		assert.Len(t, p.c.farAcks, 8)
		assert.Equal(t, 8*frame.HeaderLen, p.c.far[2].out, "they count like what is sent")
		answers(50)
		for i := range uint64(50) {
			p.write(frame.Header{Type: frame.Unfollow, Pos: i})
		}
		assert.Equal(t, 50*frame.HeaderLen, p.c.far[2].out)
		s.carry()
		assert.Empty(t, p.c.far)
		assert.Empty(t, far.c.followers)
	})
	t.Run("remove", func(t *testing.T) {
		var regs []*peer
		for i := range uint32(20) {
			id := cbid.Make(0x300, i)
			a.addSite(p, id, "x")
			regs = append(regs, p)
		}
		for i := range uint32(20) {
			p.write(frame.Header{Type: frame.Del, Tag: i}, frame.AppendID(nil, cbid.Make(0x300, i))...)
		}
		assert.Len(t, a.h.site.dels, 8)
		answers(len(regs))
	})
	a.h.close(p.c)
	assert.Empty(t, a.h.accounts)
}

// TestWhatWaitsForTheFirstJoinIsBounded: it is of clients that are there, may register, and are within their limits.
func TestWhatWaitsForTheFirstJoinIsBounded(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [5]\nregister = [\"1:*\"]\n[[limit]]\nregistrations = 3\n")
	require.NoError(t, err)
	s := newSim(t, p)
	s.h.log = slog.New(slog.DiscardHandler)
	s.h.willJoin = true
	add := func(p *peer, id cbid.ID) {
		p.write(frame.Header{Type: frame.Add, Tag: 1, Flags: frame.FlagSite}, frame.AppendNamed(nil, id, "x")...)
	}
	for range 10 {
		c := s.client(5)
		add(c, cbid.Make(2, 1))
		assert.Equal(t, connector.ErrPermission.Code(), c.code(), "not asked for what it may not have")
		for i := range uint32(3) {
			add(c, cbid.Make(1, i))
			c.none()
		}
		add(c, cbid.Make(1, 3))
		assert.Equal(t, connector.ErrLimit.Code(), c.code())
		assert.Len(t, s.h.early, 3)
		s.h.close(c.c)
		assert.Empty(t, s.h.early, "who goes waits for nothing")
	}
	for _, a := range s.h.accounts {
		assert.Zero(t, a.regs)
	}
}

// TestIDsThatAreForAllBecomeSoWithTheJoin: whoever registered one before is not asked to do it again.
func TestIDsThatAreForAllBecomeSoWithTheJoin(t *testing.T) {
	s := &siteSim{t: t, owner: make(map[cbid.ID]uint32)}
	id2, id3, other := cbid.Make(0x200, 2), cbid.Make(0x200, 3), cbid.Make(0x201, 1)
	wide := func(id cbid.ID) bool { return id.Idx == 0x200 }
	for n := range uint32(2) {
		h := &hostSim{sim: newSim(t, nil), all: s, num: n + 1}
		h.h.log = slog.New(slog.DiscardHandler)
		s.hosts = append(s.hosts, h)
	}
	a, b := s.hosts[1], s.hosts[0] // what b says is carried first
	agent, rival := a.root(), b.root()
	for _, id := range []cbid.ID{cbid.Make(0x200, 1), id2, id3, other} {
		agent.add(id, "early")
	}
	rival.add(id2, "theirs")
	for _, h := range s.hosts {
		h.loop = &SiteLoop{h.h.join(&JoinConfig{Host: h.num, Uplink: h, SiteWide: wide})}
		h.loop.HostUp(3-h.num, "other")
		assert.NotNil(t, h.h.ids[id2.Key()], "meanwhile it works for its own host")
	}
	s.carry()
	assert.Equal(t, map[cbid.ID]uint32{cbid.Make(0x200, 1): 2, id2: 1, id3: 2}, s.owner)
	lost := agent.one(frame.Site)
	assert.Equal(t, uint16(connector.SiteLost), lost.Code, "the other host was first")
	assert.Equal(t, frame.AppendID(nil, id2), lost.body[:8])
	rival.none()
	user := b.root()
	user.send(frame.Header{}, id3, "over there")
	s.carry()
	assert.Equal(t, "over there", agent.one(frame.Msg).data())

	agent.write(frame.Header{Type: frame.Del}, frame.AppendID(nil, id3)...)
	s.carry()
	require.Zero(t, agent.code())
	assert.NotContains(t, s.owner, id3, "it goes as any that is for all does")
	a.loop.Renewed()
	s.carry()
	agent.none()

	// A site that could not be asked is asked again when it can be.
	agent.add(cbid.Make(0x202, 1), "later")
	a.h.site.wide = func(id cbid.ID) bool { return id.Idx == 0x202 }
	a.h.site.widenAll()
	a.queue = nil
	a.loop.Granted(cbid.Make(0x202, 1), connector.ErrInterrupted, "no contact")
	agent.none()
	a.loop.Renewed()
	s.carry()
	assert.Equal(t, a.num, s.owner[cbid.Make(0x202, 1)])

	a.h.close(agent.c)
	s.carry()
	assert.Equal(t, map[cbid.ID]uint32{id2: b.num}, s.owner)
	assert.Zero(t, a.h.accounts[0].regs)
}

// TestARegistrationOfBeforeIsSuspendedWhileTheSiteCannotBeAsked: a client that is back has its id for its own host at once, and for all
// when that is settled. Who asks for the first time is refused.
func TestARegistrationOfBeforeIsSuspendedWhileTheSiteCannotBeAsked(t *testing.T) {
	again := func(p *peer, id cbid.ID, flags uint8) {
		t.Helper()
		p.write(frame.Header{Type: frame.Add, Tag: 1, Flags: frame.FlagSite | frame.FlagAgain | flags}, frame.AppendNamed(nil, id, "x")...)
	}
	suspended := func(p *peer) {
		t.Helper()
		fr := p.read()
		require.Equal(t, []frame.Type{frame.Ack, frame.Interest, frame.Site}, types(fr))
		require.Zero(t, fr[0].Code)
		require.Equal(t, uint16(connector.SiteSuspended), fr[2].Code)
	}
	id2, id3 := cbid.Make(0x200, 2), cbid.Make(0x200, 3)
	s := &siteSim{t: t, owner: make(map[cbid.ID]uint32)}
	for n := range uint32(2) {
		h := &hostSim{sim: newSim(t, nil), all: s, num: n + 1}
		h.h.willJoin, h.h.log = true, slog.New(slog.DiscardHandler)
		s.hosts = append(s.hosts, h)
	}
	a, b := s.hosts[0], s.hosts[1]
	early, rival, user := a.root(), b.root(), a.root()
	again(early, id1, 0)
	suspended(early)
	again(rival, id1, 0)
	suspended(rival)
	user.send(frame.Header{}, id1, "here")
	assert.Equal(t, "here", early.one(frame.Msg).data())
	for _, h := range s.hosts {
		h.loop = &SiteLoop{h.h.join(&JoinConfig{Host: h.num, Uplink: h})}
		h.loop.HostUp(3-h.num, "other")
	}
	s.carry()
	assert.Equal(t, uint16(connector.SiteInForce), early.one(frame.Site).Code)
	assert.Equal(t, uint16(connector.SiteLost), rival.one(frame.Site).Code, "the other host was first")

	// The site cannot be asked: what the bridge says is that of a host without contact.
	refuse := func(id cbid.ID, err *connector.Error) {
		a.queue = nil
		a.loop.Granted(id, err, "no contact")
	}
	p := a.root()
	p.write(frame.Header{Type: frame.Add, Tag: 1, Flags: frame.FlagSite}, frame.AppendNamed(nil, id2, "x")...)
	refuse(id2, connector.ErrInterrupted)
	assert.Equal(t, connector.ErrInterrupted.Code(), p.code(), "for the first time")
	for i, err := range []*connector.Error{connector.ErrInterrupted, connector.ErrWouldBlock} {
		id := cbid.Make(0x210, uint32(i))
		again(p, id, 0)
		p.none()
		refuse(id, err)
		suspended(p)
		a.loop.Renewed()
		refuse(id, connector.ErrInterrupted)
		p.none()
		a.loop.Renewed()
		s.carry()
		assert.Equal(t, uint16(connector.SiteInForce), p.one(frame.Site).Code)
		assert.Equal(t, a.num, s.owner[id])
		assert.True(t, b.h.ids[id.Key()].far)
	}
	again(p, id3, 0)
	refuse(id3, connector.ErrPermission)
	assert.Equal(t, connector.ErrPermission.Code(), p.code())

	// What was a takeover is one when it can be.
	s.owner[id3] = b.num
	again(p, id3, frame.FlagTakeover)
	refuse(id3, connector.ErrInterrupted)
	suspended(p)
	a.loop.Renewed()
	s.carry()
	assert.Equal(t, uint16(connector.SiteInForce), p.one(frame.Site).Code)
	assert.Equal(t, a.num, s.owner[id3])

	// What will not be granted, however often it is asked for, is told at once.
	never := cbid.Make(0x230, 1)
	again(p, never, 0)
	refuse(never, connector.ErrInterrupted)
	suspended(p)
	a.loop.Renewed()
	refuse(never, connector.ErrInvalid)
	assert.Equal(t, uint16(connector.SiteLost), p.one(frame.Site).Code)
	a.loop.Renewed()
	assert.Empty(t, a.queue)

	// Who was told something else by an earlier connection is told that all is well.
	well := cbid.Make(0x230, 2)
	again(p, well, 0)
	s.carry()
	fr := p.read()
	require.Equal(t, []frame.Type{frame.Ack, frame.Interest, frame.Site}, types(fr))
	assert.Equal(t, uint16(connector.SiteInForce), fr[2].Code)

	for _, row := range a.h.idRows() {
		assert.False(t, row.Suspended, "%v", row.ID)
	}
	a.loop.State(well, connector.SiteSuspended, "no contact")
	p.one(frame.Site)
	isSuspended := func(id cbid.ID) bool {
		return slices.ContainsFunc(a.h.idRows(), func(r IDRow) bool { return r.ID == id && r.Suspended && r.Site })
	}
	assert.True(t, isSuspended(well))
	a.loop.State(well, connector.SiteInForce, "")
	p.one(frame.Site)

	// The broker leaves meanwhile, or the client does.
	q := a.root()
	for i := range uint32(2) {
		id := cbid.Make(0x220, i)
		again(q, id, 0)
		refuse(id, connector.ErrInterrupted)
		suspended(q)
	}
	q.write(frame.Header{Type: frame.Del}, frame.AppendID(nil, cbid.Make(0x220, 0))...)
	require.Zero(t, q.code())
	assert.True(t, isSuspended(cbid.Make(0x220, 1)))
	a.loop.Renewed() // asked for, and not answered
	a.h.site.leave()
	lost := q.one(frame.Site)
	assert.Equal(t, uint16(connector.SiteLost), lost.Code)
	assert.Equal(t, frame.AppendID(nil, cbid.Make(0x220, 1)), lost.body[:8])
	for _, r := range a.h.ids {
		assert.False(t, r.takeover, "%v: another stay takes nothing from who has it by then", r.id)
	}
	for _, x := range []*peer{early, p, q, user} {
		a.h.close(x.c)
	}
	assert.Empty(t, a.h.accounts)
}

// TestNamesThatOtherHostsRefuseAreNotWidened: what was registered before the join was for this host then.
func TestNamesThatOtherHostsRefuseAreNotWidened(t *testing.T) {
	s := &siteSim{t: t, owner: make(map[cbid.ID]uint32)}
	h := &hostSim{sim: newSim(t, nil), all: s, num: 1}
	h.h.log = slog.New(slog.DiscardHandler)
	s.hosts = append(s.hosts, h)
	p := h.root()
	p.add(id1, "tab\there")
	h.loop = &SiteLoop{h.h.join(&JoinConfig{Host: 1, Uplink: h, SiteWide: func(cbid.ID) bool { return true }})}
	s.carry()
	assert.Equal(t, uint16(connector.SiteLost), p.one(frame.Site).Code)
	assert.Empty(t, s.owner)
	h.loop.Renewed()
	s.carry()
	p.none()
}

// TestAClaimThatIsOverwrittenGivesItsAccountBack: its client was gone, and the bridge answers the later one alone.
func TestAClaimThatIsOverwrittenGivesItsAccountBack(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a := s.hosts[0]
	stays := a.root()
	for range 5 {
		p := a.root()
		p.write(frame.Header{Type: frame.Add, Flags: frame.FlagSite}, frame.AppendNamed(nil, id1, "x")...)
		p.none()
		a.h.close(p.c)
	}
	assert.Equal(t, 1, a.h.accounts[0].regs)
	a.queue = a.queue[len(a.queue)-1:]
	s.carry()
	assert.Zero(t, a.h.accounts[0].regs)
	assert.Empty(t, s.owner)
	a.h.close(stays.c)
	assert.Empty(t, a.h.accounts)
}

func TestNamesOfSiteWideIDsAreFitForOtherHosts(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	p := s.hosts[0].root()
	for _, name := range []string{"a\x1b[31m", "two\nlines", "\x7f"} {
		p.write(frame.Header{Type: frame.Add, Flags: frame.FlagSite}, frame.AppendNamed(nil, id1, name)...)
		f := p.one(frame.Ack)
		assert.Equal(t, connector.ErrInvalid.Code(), f.Code)
		assert.Contains(t, string(f.body), "control characters")
	}
	assert.Empty(t, s.hosts[0].h.site.claims)
	assert.Zero(t, p.c.acct.regs)
	p.add(id1, "on this host\tit is as it was")
}

// TestStopsOfClientsThatAreGoneAreForgotten: a receiver that stays full does not keep who has been there.
func TestStopsOfClientsThatAreGoneAreForgotten(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	full := a.root()
	full.add(id1, "full")
	full.write(frame.Header{Type: frame.Hold})
	full.write(frame.Header{Type: frame.Hold}, frame.AppendID(nil, id1)...)
	for range 20 {
		near, far := a.root(), b.root()
		near.send(frame.Header{}, id1, "x")
		near.send(frame.Header{Port: full.c.port}, id1, "x")
		far.send(frame.Header{Port: full.c.port}, id1, "x")
		s.carry()
		assert.NotEmpty(t, full.c.stops)
		a.h.close(near.c)
		b.h.close(far.c)
		s.carry()
		assert.Empty(t, full.c.stops)
		assert.Empty(t, a.h.ids[id1.Key()].stops)
	}
}

// TestAHostSpeaksOfItsOwnPortsOnly: what it says of others' is refused, and changes nothing.
func TestAHostSpeaksOfItsOwnPortsOnly(t *testing.T) {
	s := newSiteSim(t, 3, nil)
	a, b := s.hosts[0], s.hosts[1]
	user, agent := a.root(), b.root()
	user.send(frame.Header{Port: agent.c.port, Flags: frame.FlagCall}, id1, "x")
	s.carry()
	require.Len(t, user.c.called, 1)
	for _, hd := range []frame.Header{
		{Type: frame.Gone, Port: agent.c.port},
		{Type: frame.Stop, Port: agent.c.port},
		{Type: frame.Go, Port: agent.c.port},
		{Type: frame.PortGone, Port: agent.c.port},
		{Type: frame.Lost, Port: agent.c.port},
		{Type: frame.Gone, Port: user.c.port},
	} {
		assert.ErrorIs(t, a.loop.Deliver(3, user.c.port, hd.Append(nil)), connector.ErrProtocol, "%v", hd.Type)
	}
	fail := frame.Header{Type: frame.Fail, Port: agent.c.port, Flags: frame.FlagCall}.Append(nil, make([]byte, connector.HeaderLen)...)
	assert.ErrorIs(t, a.loop.Deliver(3, user.c.port, fail), connector.ErrProtocol)
	user.none()
	assert.Len(t, user.c.called, 1)
	assert.Empty(t, user.c.farStops)
	require.NoError(t, a.loop.Deliver(2, user.c.port, frame.Header{Type: frame.Gone, Port: agent.c.port}.Append(nil)))
	user.one(frame.Gone)
}

// TestAHostWithSmallQueuesTakesAWholeWindow: the window of a sender on another host is that host's, and nothing of it is refused here, however small
// the queues of this one are. What can be no window is.
func TestAHostWithSmallQueuesTakesAWholeWindow(t *testing.T) {
	s := newSiteSim(t, 2, nil)
	a, b := s.hosts[0], s.hosts[1]
	a.h.tune.queue, a.h.tune.replies, a.h.tune.overrun = 64<<10, 256<<10, 64<<10
	full := a.root()
	full.write(frame.Header{Type: frame.Hold})
	far := connector.SitePort(2, 1)
	fr := msg(frame.Header{Port: full.c.port}, id1, 1, 2, strings.Repeat("x", 8<<10))
	window := b.h.tune.window
	for n := len(fr); n <= window; n += len(fr) {
		require.NoError(t, a.loop.Input(far, connector.Cred{}, "host2", append([]byte(nil), fr...)))
	}
	require.True(t, a.loop.s.proxies[far].paused, "it waits")
	var err error
	for range 64 << 20 / len(fr) {
		if err = a.loop.Input(far, connector.Cred{}, "host2", append([]byte(nil), fr...)); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, connector.ErrProtocol)
	require.LessOrEqual(t, len(a.loop.s.proxies[far].in), proxyMost)
}
