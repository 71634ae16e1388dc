//go:build linux

package faults

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the broker has confirmed no longer needs it: it is killed with messages
// in its queue, and none of those that it confirmed is among them.
func TestConfirmedMessagesAreOutOfTheBroker(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	o := s.observer()
	agent, sender := s.raw(), s.raw()
	agent.put(head{typ: tAdd}.frame(idBody(silentID, "slow")...))
	agent.want(tAck)
	const n = 5000
	go func() { // the death of the broker ends it
		var b []byte
		for i := range uint32(n) {
			b = append(b, head{typ: tSend, flags: fAck, tag: i}.frame(netlink(silentID, i, 0, bytes.Repeat([]byte("x"), 1000))...)...)
		}
		_, _ = sender.Write(b)
	}()
	eventually(t, "its queue is full", func() bool { return o.conn(agent.port).Full })
	s.crash()

	got := make(map[uint32]bool)
	h, body, err := agent.next()
	for ; err == nil; h, body, err = agent.next() {
		if h.typ == tMsg {
			got[native.Uint32(body[24:])] = true
		}
	}
	confirmed := 0
	for h, body, err = sender.next(); err == nil; h, body, err = sender.next() {
		if h.typ == tAck {
			require.Zero(t, h.code, "%s", body)
			require.True(t, got[h.tag], "message %d was confirmed", h.tag)
			confirmed++
		}
	}
	assert.Positive(t, confirmed)
	assert.Less(t, len(got), n)
	s.start()
}
