//go:build linux

package faults

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// malformed are frames that end their connection.
func malformed() map[string][]byte {
	good := head{}.send(echoID, "data")
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	u32 := func(at int, v uint32) []byte { return change(func(b []byte) { native.PutUint32(b[at:], v) }) }
	u16 := func(at int, v uint16) []byte { return change(func(b []byte) { native.PutUint16(b[at:], v) }) }
	all := map[string][]byte{
		"len 0":                   u32(0, 0),
		"len 39":                  u32(0, headLen-1),
		"len too long":            u32(0, maxFrame+1),
		"len 2^32-1":              u32(0, 1<<32-1),
		"nlmsg_len short":         u32(40, 39),
		"nlmsg_len long":          u32(40, 41),
		"nlmsg_len 2^32-1":        u32(40, 1<<32-1),
		"nlmsg_type":              u16(44, 2),
		"nlmsg_flags":             u16(46, 1),
		"cn_msg.len short":        u16(72, 3),
		"cn_msg.len long":         u16(72, 5),
		"cn_msg.len 65535":        u16(72, 65535),
		"Send of nothing":         head{typ: tSend}.frame(),
		"Send of less than heads": head{typ: tSend}.frame(make([]byte, msgLen-1)...),
		"second Hello":            hello(),
		"type 0":                  head{}.frame(),
		"type 17":                 head{typ: 17}.frame(),
		"type 255":                head{typ: 255}.frame(),
		"Welcome":                 head{typ: tWelcome, port: 1}.frame(),
		"Msg":                     head{typ: tMsg, port: 1}.frame(netlink(echoID, 1, 2, nil)...),
		"Bye":                     head{typ: tBye}.frame(),
		"Add without id":          head{typ: tAdd}.frame(1, 2, 3, 4, 5, 6, 7),
		"Add of a long name":      head{typ: tAdd}.frame(make([]byte, 8+32)...),
		"Add with NUL":            head{typ: tAdd}.frame(idBody(echoID, "a\x00b")...),
		"Del and more":            head{typ: tDel}.frame(idBody(echoID, "x")...),
		"Join with a body":        head{typ: tJoin, group: 5}.frame(1),
		"Join at half a position": head{typ: tJoin, flags: 64, group: 5}.frame(1, 2, 3, 4),
		"Watch of half a range":   head{typ: tWatch}.frame(u64s(1, 2, 3)...),
		"Watch beyond 2^32":       head{typ: tWatch}.frame(u64s(1<<32-1, 2, 0, 1)...),
		"Watch that overflows":    head{typ: tWatch}.frame(u64s(0, 1, 1<<31, 1<<64-1)...),
		"Hold of half an id":      head{typ: tHold}.frame(1, 2, 3, 4),
		"History without bounds":  head{typ: tHistory, group: 5}.frame(u64s(1, 2)...),
		"Follow with a body":      head{typ: 15, port: 1}.frame(1),
		"Unfollow with a body":    head{typ: 16}.frame(1),
	}
	return all
}

// A connection that breaks the protocol is told so and ends; nobody else
// notices.
func TestMalformedFramesEndTheirConnectionAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	o := s.observer()
	echoes(t, s.bus("agent"), echoID)
	caller := endpoint(t, s.bus("caller"))
	talks(t, caller, 1)
	first := o.settled()
	violations := o.stat().Violations
	cases := malformed()
	for name, bad := range cases {
		c := s.raw()
		c.put(bad)
		heads, texts := c.ended()
		require.NotEmpty(t, heads, name)
		last := heads[len(heads)-1]
		assert.EqualValues(t, tBye, last.typ, name)
		assert.Equal(t, connector.ErrProtocol.Code(), last.code, name)
		assert.NotEmpty(t, texts[len(texts)-1], name)
		talks(t, caller, 1)
	}
	assert.EqualValues(t, len(cases), o.stat().Violations-violations)
	o.back(first)
}

// Whatever a client sends, and wherever it is cut off, the broker stands.
func TestTruncatedFramesAndGarbage(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	o := s.observer()
	echoes(t, s.bus("agent"), echoID)
	caller := endpoint(t, s.bus("caller"))
	talks(t, caller, 1)
	first := o.settled()
	whole := head{flags: fCall}.send(echoID, "data")
	for n := range len(whole) {
		c := s.connect()
		c.put(append(hello(), whole[:n]...))
		require.NoError(t, c.Close())
	}
	for n := range len(hello()) {
		c := s.connect()
		c.put(hello()[:n])
		require.NoError(t, c.Close())
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		c := s.connect()
		b := hello()
		for len(b) < 4000 {
			fr := head{typ: byte(rnd.Uint32() % 16), flags: byte(rnd.Uint32()), port: rnd.Uint32() % 5, group: rnd.Uint32() % 5}.
				frame(make([]byte, rnd.Uint32()%64)...)
			for range rnd.Uint32() % 4 {
				fr[rnd.IntN(len(fr))] = byte(rnd.Uint32())
			}
			b = append(b, fr...)
		}
		_, _ = c.Write(b)
		require.NoError(t, c.Close())
	}
	talks(t, caller, 10)
	o.back(first)
	assert.Less(t, s.memory("VmHWM"), mib(64))
}

// Who sends is what the kernel says, whatever the frame does, and no client can
// make a message look like one for a callback, or like the reply to somebody's call.
func TestForgedSenders(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	victim := member(t, s.bus("victim"), 77)
	forger := s.raw()
	lies := head{typ: tSend, flags: fToID, uid: 4242, gid: 4242, procs: 1, pos: 99, tag: 5}
	for _, to := range []connector.Dest{{Port: victim.Port()}, {Group: 77}} {
		lies.port, lies.group = to.Port, to.Group
		forger.put(lies.send(echoID, "forged"))
		ev, err := victim.Recv(limited(t))
		require.NoError(t, err)
		require.Equal(t, connector.EventMessage, ev.Kind)
		assert.Equal(t, forger.port, ev.From.Port)
		assert.Equal(t, to.Group, ev.From.Group)
		assert.Equal(t, ownCred(), ev.From.Cred)
		assert.Zero(t, ev.Pos)
	}

	// The forger sees the request, as a monitor does, and is the quicker to answer.
	agent := s.raw()
	type result struct {
		ev  connector.Event
		err error
	}
	called := make(chan result, 1)
	go func() {
		ev, err := victim.Call(limited(t), connector.Message{ID: echoID, Data: []byte("?")}, connector.Dest{Port: agent.port})
		called <- result{ev, err}
	}()
	h, body := agent.want(tMsg)
	seq, ack := native.Uint32(body[24:]), native.Uint32(body[28:])
	reply := func(data string, id cbid.ID) []byte {
		return head{typ: tSend, flags: fReply, port: victim.Port()}.frame(netlink(id, seq, ack+1, []byte(data))...)
	}
	require.Equal(t, victim.Port(), h.port)
	forger.put(reply("forged", echoID))
	forger.put(head{typ: tPing}.frame())
	forger.want(tAck) // the broker has it, and so has the victim before the true one
	agent.put(reply("another id", silentID))
	agent.put(reply("true", echoID))
	r := <-called
	require.NoError(t, r.err)
	assert.Equal(t, "true", string(r.ev.Msg.Data))
	assert.Equal(t, agent.port, r.ev.From.Port)
}
