package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

var id1 = cbid.Make(0x123, 0x456)

func TestMessageToIDRunsAtItsOwnerWithTheSendersCredentials(t *testing.T) {
	s := newSim(t, nil)
	agent, user := s.root(), s.client(s.h.rules.self)
	agent.add(id1, "cn_test")

	forged := frame.Header{Flags: frame.FlagCall, UID: 4711, GID: 4712, PID: 4713, Pos: 99}
	user.raw(msg(forged, id1, 5, 6, "hello"))
	user.none()
	m := agent.one(frame.Msg)
	assert.Equal(t, uint8(frame.FlagToID|frame.FlagCall), m.Flags)
	assert.Equal(t, user.c.port, m.Port)
	assert.Equal(t, user.c.cred, connector.Cred{UID: m.UID, GID: m.GID, PID: m.PID})
	assert.Zero(t, m.Pos)
	assert.Equal(t, "hello", m.data())
	assert.Equal(t, id1.Idx, native.Uint32(m.body[16:]))

	agent.raw(msg(frame.Header{Port: m.Port, Flags: frame.FlagReply}, id1, 5, 7, "hi"))
	r := user.one(frame.Msg)
	assert.Equal(t, uint8(frame.FlagReply), r.Flags)
	assert.Equal(t, agent.c.port, r.Port)
	assert.Equal(t, "hi", r.data())
}

func TestEachFailureHasItsOwnError(t *testing.T) {
	s := newSim(t, nil)
	a, b := s.root(), s.root()
	ack := frame.Header{Flags: frame.FlagAck, Tag: 5}
	a.send(ack, id1, "")
	assert.Equal(t, connector.ErrNoID.Code(), a.code())
	a.send(frame.Header{Flags: frame.FlagAck, Group: 4}, id1, "")
	assert.Equal(t, connector.ErrNoListener.Code(), a.code())
	a.send(frame.Header{Flags: frame.FlagAck, Port: 999}, id1, "")
	assert.Equal(t, connector.ErrNoPort.Code(), a.code())
	a.send(frame.Header{Flags: frame.FlagAck | frame.FlagAgent}, id1, "")
	assert.Equal(t, connector.ErrNoID.Code(), a.code())
	b.add(id1, "")
	a.send(frame.Header{Flags: frame.FlagAck | frame.FlagAgent}, id1, "")
	assert.Equal(t, connector.ErrNoListener.Code(), a.code())
	a.write(frame.Header{Type: frame.Add}, frame.AppendNamed(nil, id1, "x")...)
	f := a.one(frame.Ack)
	assert.Equal(t, connector.ErrDuplicate.Code(), f.Code)
	assert.Contains(t, string(f.body), "port 2 (peer, pid 2, uid 0)")
	a.write(frame.Header{Type: frame.Add}, frame.AppendNamed(nil, cbid.Control, "x")...)
	assert.Equal(t, connector.ErrDuplicate.Code(), a.code())
	a.write(frame.Header{Type: frame.Del}, frame.AppendID(nil, id1)...)
	assert.Equal(t, connector.ErrNoID.Code(), a.code(), "only the owner removes an id")
}

func TestUnacknowledgedSendThatFailsIsToldByFail(t *testing.T) {
	s := newSim(t, nil)
	a := s.root()
	a.raw(msg(frame.Header{Group: 3}, id1, 41, 42, strings.Repeat("x", 1000)))
	f := a.one(frame.Fail)
	assert.Equal(t, connector.ErrNoListener.Code(), f.Code)
	assert.Equal(t, uint32(3), f.Group)
	require.Len(t, f.body, connector.HeaderLen)
	assert.Equal(t, []uint32{41, 42}, []uint32{native.Uint32(f.body[24:]), native.Uint32(f.body[28:])})
}

func TestGroupMessageReachesMembersExceptTheSender(t *testing.T) {
	s := newSim(t, nil)
	a, b, c, out := s.root(), s.root(), s.root(), s.root()
	for _, p := range []*peer{a, b, c} {
		p.join(9)
		p.join(9)
	}
	a.send(frame.Header{Group: 9, Flags: frame.FlagAck, Tag: 3}, id1, "news")
	assert.Equal(t, uint32(9), b.one(frame.Msg).Group)
	a.none() // acknowledged only when both have it
	c.one(frame.Msg)
	assert.Equal(t, uint32(3), a.one(frame.Ack).Tag)
	out.none()
	c.write(frame.Header{Type: frame.Leave, Group: 9})
	assert.Zero(t, c.code())
	a.send(frame.Header{Group: 9}, id1, "more")
	c.none()
	assert.Equal(t, "more", b.one(frame.Msg).data())
}

func TestAcknowledgementComesWhenTheMessageIsWritten(t *testing.T) {
	s := newSim(t, nil)
	a, b := s.root(), s.root()
	b.add(id1, "b")
	a.send(frame.Header{Flags: frame.FlagAck, Tag: 1}, id1, "one")
	a.send(frame.Header{Flags: frame.FlagAck, Tag: 2}, id1, "two")
	a.none()
	b.take(frame.HeaderLen + connector.HeaderLen + 3)
	assert.Equal(t, uint32(1), a.one(frame.Ack).Tag)
	b.take(1)
	a.none()
	s.h.close(b.c)
	f := a.one(frame.Ack)
	assert.Equal(t, uint32(2), f.Tag)
	assert.Equal(t, connector.ErrNoPort.Code(), f.Code, "the receiver died before it was written")
}

func TestFullMemberLosesInOrderAndIsTold(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune.queue = 1000
	a, b, c := s.root(), s.root(), s.root()
	b.join(5)
	c.join(5)
	const size = frame.HeaderLen + connector.HeaderLen + 4
	sent := 0
	for range 100 {
		a.send(frame.Header{Group: 5}, id1, "xxxx")
		sent++
		c.read()
	}
	b.take(400) // more than half is left: still no room
	a.send(frame.Header{Group: 5}, id1, "yyyy")
	sent++
	frames := b.read()
	msgs, lost := 0, 0
	for i, f := range frames {
		if f.Type == frame.Lost {
			lost += int(f.Pos)
			assert.Equal(t, uint32(5), f.Group)
			assert.Equal(t, len(frames)-1, i, "one loss, at its place")
			continue
		}
		msgs++
	}
	assert.Equal(t, (1000+size-1)/size, msgs)
	assert.Equal(t, sent, msgs+lost)
	a.send(frame.Header{Group: 5}, id1, "zzzz")
	assert.Equal(t, "zzzz", b.one(frame.Msg).data())
	a.none()
}

func TestUnicastToFullReceiverStopsTheSenderAlone(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 4000, overrun: 500, waits: 64}
	a, b, other, full := s.root(), s.root(), s.root(), s.root()
	full.add(id1, "slow")
	other.join(5)
	sent := 0
	for !a.c.paused {
		a.send(frame.Header{}, id1, "data")
		sent++
	}
	stop := a.one(frame.Stop)
	id, _, _ := frame.ParseID(stop.body)
	assert.Equal(t, id1, id)
	// Others are not held up, by id or by group.
	b.send(frame.Header{Group: 5}, id1, "free")
	other.one(frame.Msg)
	b.send(frame.Header{}, id1, "also stopped")
	assert.Equal(t, frame.Stop, b.one(frame.Stop).Type)
	got := len(full.read())
	assert.Equal(t, sent+1, got, "what was on the way is kept")
	assert.Equal(t, []frame.Type{frame.Go}, types(a.read()))
	assert.Equal(t, []frame.Type{frame.Go}, types(b.read()))
	assert.False(t, a.c.paused)
	assert.Empty(t, a.buf)
}

// A sender who heeds Stop is read, whatever others have sent to the same receiver.
func TestOverrunsOfOthersDoNotPauseASender(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 4000, overrun: 500, waits: 64}
	full := s.root()
	full.add(id1, "slow")
	senders := make([]*peer, 10)
	for i := range senders {
		senders[i] = s.root()
		for !senders[i].c.paused {
			senders[i].send(frame.Header{}, id1, "data")
		}
	}
	last := s.root()
	last.send(frame.Header{}, id1, "on its way")
	last.one(frame.Stop)
	assert.False(t, last.c.paused)
	full.read()
	assert.False(t, senders[0].c.paused)
}

// A uid that comes again and again fills a receiver no further than its clients together may.
func TestOverrunsOfAUidAreBounded(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [\"*\"]\nregister = [\"*\"]\nsend = [\"*\"]\n")
	require.NoError(t, err)
	s := newSim(t, p)
	s.h.tune = tuning{queue: 1000, replies: 4000, overrun: 500, waits: 64}
	full := s.root()
	full.add(id1, "slow")
	for range 100 {
		x := s.client(1000) // its uid has no other
		for !x.c.paused {
			x.send(frame.Header{}, id1, "data")
		}
		s.h.close(x.c)
	}
	assert.LessOrEqual(t, full.c.out.len(), 1100+16*500)
	full.read()
	x := s.root()
	x.send(frame.Header{}, id1, "data")
	assert.False(t, x.c.paused)
}

// A group message that waits counts once, however many members are full.
func TestOverrunsOfAGroupCountOnce(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 4000, overrun: 500, waits: 64}
	a := s.root()
	for range 5 {
		s.root().join(5)
	}
	for a.c.stopped == nil {
		a.send(frame.Header{Group: 5, Flags: frame.FlagWait}, id1, "data")
	}
	size := frame.HeaderLen + connector.HeaderLen + len("data")
	for n := size; n+size <= 500; n += size {
		a.send(frame.Header{Group: 5, Flags: frame.FlagWait}, id1, "data")
		require.False(t, a.c.paused, "%d bytes", n)
	}
}

// A uid whose clients read nothing loses what others have for them, when it is too much: they do not wait.
func TestSwampedReceiversHoldUpNobodyElse(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [\"*\"]\nsend = [\"*\"]\nunicast = true\n")
	require.NoError(t, err)
	s := newSim(t, p)
	s.h.tune = tuning{queue: 1000, replies: 4000, share: 64 << 10, overrun: 500, waits: 64}
	deaf, idle := s.client(1000), s.client(1000)
	deaf.c.acct.limits.QueuedBytes = 1000
	for !s.h.swamped(deaf.c) {
		x := s.client(1000)
		for range 10 {
			x.send(frame.Header{Port: deaf.c.port}, id1, "data")
			deaf2 := s.client(1000)
			for !x.c.paused && !s.h.swamped(deaf2.c) {
				x.send(frame.Header{Port: deaf2.c.port}, id1, "data")
			}
			if x.c.paused {
				break
			}
		}
	}
	own := s.client(1000)
	own.send(frame.Header{Port: deaf.c.port}, id1, "data")
	assert.True(t, own.c.paused)
	agent := s.root()
	agent.send(frame.Header{Port: deaf.c.port}, id1, "data")
	assert.False(t, agent.c.paused)
	assert.Equal(t, connector.ErrWouldBlock.Code(), agent.one(frame.Fail).Code)
	agent.send(frame.Header{Port: idle.c.port}, id1, "data")
	agent.one(frame.Stop)
	assert.False(t, agent.c.paused)
	idle.one(frame.Msg)
	agent.one(frame.Go)
	lost := 0
	for _, f := range deaf.read() {
		if f.Type == frame.Lost {
			lost += int(f.Pos)
		}
	}
	assert.Equal(t, 1, lost)
}

func TestRepliesDoNotWait(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 3000, overrun: 500, waits: 64}
	agent, caller := s.root(), s.root()
	for range 100 {
		agent.send(frame.Header{Port: caller.c.port, Flags: frame.FlagReply}, id1, "reply")
		assert.False(t, agent.c.paused)
		for _, f := range agent.read() {
			require.Equal(t, frame.Fail, f.Type)
			require.Equal(t, connector.ErrWouldBlock.Code(), f.Code)
		}
	}
	msgs, lost := 0, 0
	for _, f := range caller.read() {
		if f.Type == frame.Lost {
			lost += int(f.Pos)
		} else {
			msgs++
		}
	}
	assert.Equal(t, 100, msgs+lost)
	assert.Positive(t, lost)
}

func TestWaitingGroupMessageLosesNothing(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 3000, overrun: 500, waits: 64}
	a, b, c := s.root(), s.root(), s.root()
	b.join(5)
	c.join(5)
	var nb, nc, stops, goes int
	for range 300 {
		a.send(frame.Header{Group: 5, Flags: frame.FlagWait}, id1, "data")
		for a.c.paused {
			b.take(100)
			c.take(300)
		}
	}
	for _, f := range b.read() {
		require.Equal(t, frame.Msg, f.Type)
		nb++
	}
	for _, f := range c.read() {
		require.Equal(t, frame.Msg, f.Type)
		nc++
	}
	for _, f := range a.read() {
		switch f.Type {
		case frame.Stop:
			stops++
		case frame.Go:
			goes++
		}
	}
	assert.Equal(t, 300, nb)
	assert.Equal(t, 300, nc)
	assert.Positive(t, stops)
	assert.Equal(t, stops, goes)
}

func TestCallersAreToldWhenTheirAgentGoes(t *testing.T) {
	s := newSim(t, nil)
	a, b, agent := s.root(), s.root(), s.root()
	agent.add(id1, "x")
	a.send(frame.Header{Flags: frame.FlagCall}, id1, "")
	b.send(frame.Header{}, id1, "")
	agent.write(frame.Header{Type: frame.Del, Tag: 8}, frame.AppendID(nil, id1)...)
	g := a.one(frame.Gone)
	id, _, _ := frame.ParseID(g.body)
	assert.Equal(t, id1, id)
	assert.Equal(t, agent.c.port, g.Port)
	b.none()
	a.send(frame.Header{Flags: frame.FlagCall, Port: agent.c.port}, id1, "")
	s.h.close(agent.c)
	assert.Empty(t, a.one(frame.Gone).body)
}

func TestHoldKeepsMessagesForOneIDBack(t *testing.T) {
	s := newSim(t, nil)
	id2 := cbid.Make(0x123, 2)
	agent, a := s.root(), s.root()
	agent.add(id1, "slow")
	agent.add(id2, "quick")
	agent.write(frame.Header{Type: frame.Hold}, frame.AppendID(nil, id1)...)
	a.send(frame.Header{}, id1, "")
	a.one(frame.Stop)
	a.send(frame.Header{}, id2, "")
	a.none()
	agent.write(frame.Header{Type: frame.Resume}, frame.AppendID(nil, id1)...)
	a.one(frame.Go)
	assert.Len(t, agent.read(), 2)
}

func TestInterestFollowsTheMembers(t *testing.T) {
	s := newSim(t, nil)
	agent, m := s.root(), s.root()
	agent.write(frame.Header{Type: frame.Add}, frame.AppendNamed(nil, id1, "a")...)
	fr := agent.read()
	assert.Equal(t, frame.Interest, fr[1].Type)
	assert.Zero(t, fr[1].Code)
	m.join(id1.Idx)
	assert.Equal(t, uint16(1), agent.one(frame.Interest).Code)
	s.h.close(m.c)
	assert.Zero(t, agent.one(frame.Interest).Code)
}

func TestViolationsEndTheConnectionWithAReason(t *testing.T) {
	hello := frame.Header{Type: frame.Hello}.Append(nil, frame.AppendHello(nil, "x")...)
	ok := msg(frame.Header{}, id1, 1, 2, "data")
	bad := func(f func(b []byte)) []byte {
		b := append([]byte(nil), ok...)
		f(b)
		return append(append([]byte(nil), hello...), b...)
	}
	for name, b := range map[string][]byte{
		"no hello":        ok,
		"two hellos":      append(append([]byte(nil), hello...), hello...),
		"wrong version":   frame.Header{Type: frame.Hello}.Append(nil, 9, 0, 0, 0, 4, 3, 2, 1),
		"foreign order":   frame.Header{Type: frame.Hello}.Append(nil, 1, 0, 0, 0, 1, 2, 3, 4),
		"length 39":       bad(func(b []byte) { native.PutUint32(b, 39) }),
		"length too long": bad(func(b []byte) { native.PutUint32(b, frame.MaxLen+1) }),
		"unknown type":    bad(func(b []byte) { b[4] = 99 }),
		"nlmsg_len":       bad(func(b []byte) { native.PutUint32(b[40:], 41) }),
		"nlmsg_type":      bad(func(b []byte) { native.PutUint16(b[44:], 2) }),
		"nlmsg_flags":     bad(func(b []byte) { native.PutUint16(b[46:], 2) }),
		"cn_msg.len":      bad(func(b []byte) { native.PutUint16(b[72:], 5) }),
		"short add":       append(append([]byte(nil), hello...), frame.Header{Type: frame.Add}.Append(nil, 1, 2, 3)...),
		"long name":       append(append([]byte(nil), hello...), frame.Header{Type: frame.Add}.Append(nil, make([]byte, 41)...)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, nil)
			p := s.dial(0)
			p.raw(b)
			fr := p.read()
			require.NotEmpty(t, fr)
			last := fr[len(fr)-1]
			require.Equal(t, frame.Bye, last.Type)
			assert.Equal(t, connector.ErrProtocol.Code(), last.Code)
			assert.NotEmpty(t, last.body)
			assert.True(t, p.c.last)
			assert.EqualValues(t, 1, s.h.stats.Violations)
		})
	}
}

func TestConfirmedGroupMessageDoesNotWaitForAMemberThatDoesNotRead(t *testing.T) {
	s := newSim(t, nil)
	a, b, c := s.root(), s.root(), s.root()
	b.join(5)
	c.join(5)
	a.send(frame.Header{Group: 5, Flags: frame.FlagAck, Tag: 1}, id1, "x")
	c.read()
	a.none()
	s.h.blocked(b.c)
	assert.Equal(t, uint32(1), a.one(frame.Ack).Tag)
	a.send(frame.Header{Group: 5, Flags: frame.FlagAck, Tag: 2}, id1, "x")
	a.none() // c has not got it yet
	c.read()
	assert.Equal(t, uint32(2), a.one(frame.Ack).Tag)
	a.send(frame.Header{Port: b.c.port, Flags: frame.FlagAck | frame.FlagDrop, Tag: 3}, id1, "x")
	assert.Equal(t, uint32(3), a.one(frame.Ack).Tag)
	a.send(frame.Header{Port: b.c.port, Flags: frame.FlagAck, Tag: 4}, id1, "x")
	a.none()
	b.read()
	assert.Equal(t, uint32(4), a.one(frame.Ack).Tag)
}

func TestClientThatDoesNotReadItsAnswersIsNotReadEither(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 3000, overrun: 500, waits: 64}
	a := s.root()
	const n = 1000
	for i := range uint32(n) {
		a.write(frame.Header{Type: frame.Ping, Tag: i})
	}
	assert.True(t, a.c.paused)
	assert.Less(t, a.c.out.len(), 3000+frame.HeaderLen)
	a.take(2000)
	assert.True(t, a.c.paused, "more than half of the queue is left")
	for i, f := range a.read() {
		require.EqualValues(t, i, f.Tag, "each is answered, in order")
		require.True(t, i < n-1 || len(a.buf) == 0)
	}
	assert.False(t, a.c.paused)
	assert.Empty(t, a.buf)
}

func TestAnswersCountAgainstTheUsersQueues(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [7, 8]\nadmin = true\n[[limit]]\nqueued_bytes = 5000\n")
	require.NoError(t, err)
	s := newSim(t, p)
	s.h.tune.share = 400
	greedy, poor, other := s.client(7), s.client(7), s.client(8)
	for range 200 {
		greedy.write(frame.Header{Type: frame.Ping})
	}
	assert.True(t, greedy.c.paused, "the uid has too much waiting")
	assert.Less(t, greedy.c.out.len(), 5000+frame.HeaderLen)
	for range 20 {
		poor.write(frame.Header{Type: frame.Ping})
		other.write(frame.Header{Type: frame.Ping})
	}
	assert.True(t, poor.c.paused)
	assert.Less(t, poor.c.out.len(), 400+frame.HeaderLen, "it has its share")
	assert.False(t, other.c.paused, "another's limit is another's")
	assert.Len(t, poor.read(), 20)
	assert.Len(t, greedy.read(), 200)
	assert.Len(t, other.read(), 20)
}

func TestInterestThatFlickersDoesNotFillTheQueueOfWhoDoesNotRead(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 1000, replies: 3000, overrun: 500, waits: 64}
	agent, m := s.root(), s.root()
	agent.add(id1, "a")
	for range 200 {
		m.join(id1.Idx)
		m.write(frame.Header{Type: frame.Leave, Group: id1.Idx})
		m.read()
	}
	m.join(id1.Idx)
	assert.Less(t, agent.c.out.len(), 2000+frame.HeaderLen)
	fr := agent.read()
	assert.Equal(t, uint16(1), fr[len(fr)-1].Code, "the last one is how it is")
}

func TestLogIsNotFilledByOneUser(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [7, 8]\nadmin = true\n[[limit]]\nmemberships = 1\n")
	require.NoError(t, err)
	s := newSim(t, p)
	var log bytes.Buffer
	s.h.log = slog.New(slog.NewTextHandler(&log, nil))
	flood := func(uid uint32, n int) {
		c := s.client(uid)
		for i := range uint32(n + 1) {
			c.write(frame.Header{Type: frame.Join, Group: i + 1})
		}
		s.h.close(c.c)
	}
	flood(7, 500)
	flood(7, 500)
	assert.Equal(t, warnMax, strings.Count(log.String(), "msg=limit"))
	flood(8, 1)
	assert.Contains(t, log.String(), "uid=8", "another user's line is not left out")
	log.Reset()
	s.h.now += 1e9
	flood(8, 1)
	assert.Contains(t, log.String(), "msg=\"lines left out\" uid=7 lines=980")
	assert.Equal(t, 1, strings.Count(log.String(), "msg=limit"))
}
