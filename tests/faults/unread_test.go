//go:build linux

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// A client that asks for ever and reads no answer is not read any more, whatever
// it asks for; what it asked is answered when it reads again. Small questions with long
// answers are the worst.
func TestClientThatAsksAndNeverReads(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string][]byte{
		"ping":                head{typ: tPing}.frame(),
		"query":               head{typ: tQuery}.frame([]byte("conns")...),
		"join":                head{typ: tJoin, group: 5}.frame(),
		"refused":             head{typ: tDel}.frame(idBody(cbid.Make(1, 2), "")...),
		"failing send":        head{}.send(cbid.Make(1, 2), ""),
		"failing send, asked": head{flags: fAck}.send(cbid.Make(1, 2), ""),
		"control id":          head{flags: fCall}.send(cbid.Control, ""),
		"acknowledged send":   head{flags: fAck}.send(silentID, ""),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, brokerConfig{})
			o := s.observer()
			agent := s.bus("agent")
			echoes(t, agent, echoID)
			require.NoError(t, agent.AddCallback(limited(t), silentID, "silent", connector.HandlerFunc(silent)))
			caller := endpoint(t, s.bus("caller"))
			talks(t, caller, 1)
			c := s.raw()
			rss := s.memory("VmHWM")
			const most = 128 << 20
			batch := bytes.Repeat(ask, 1+4000/len(ask))
			asked := make(chan int, 1)
			var written int64
			go func() {
				n := 0
				for n < most {
					k, err := c.Write(batch)
					n += k
					if err != nil || k < len(batch) {
						break
					}
				}
				asked <- n
			}()
			eventually(t, "the broker has read all of it, or will read no more", func() bool {
				row := o.conn(c.port)
				written = int64(row.BytesIn)
				return row.Paused || row.BytesIn >= most
			})
			talks(t, caller, 10)
			assert.Less(t, s.memory("VmHWM")-rss, mib(64), "%d bytes of questions were read", written)
			if t.Failed() {
				return
			}

			// It reads, and finds each answer.
			require.NoError(t, c.SetWriteDeadline(time.Unix(1, 0)))
			n := <-asked
			require.NoError(t, c.SetWriteDeadline(time.Time{}))
			rest := append(bytes.Clone(ask[n%len(ask):]), head{typ: tPing, tag: 77}.frame()...)
			go func() { _, _ = c.Write(rest) }()
			answers, pinged := 0, false
			for answers < n/len(ask)+1 || !pinged {
				h, _, err := c.next()
				require.NoError(t, err)
				switch {
				case h.tag == 77: // that of a Send may come later
					pinged = true
				case h.typ == tStop || h.typ == tGo || h.typ == tData && h.flags&1 != 0: // the latter: more of it follows
				default:
					answers++
				}
			}
		})
	}
}

// An agent that never reads stops those who send to it, each at a bounded
// number of bytes, and nobody else; what was confirmed or taken it still gets.
func TestAgentThatNeverReads(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{QueueBytes: 256 << 10})
	o := s.observer()
	echoes(t, s.bus("agent"), echoID)
	caller := endpoint(t, s.bus("caller"))
	talks(t, caller, 1)
	stuck := s.raw()
	stuck.put(head{typ: tAdd}.frame(idBody(silentID, "stuck")...))
	stuck.want(tAck)
	rss := s.memory("VmHWM")

	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	posted := make(chan int)
	for range 3 {
		e := endpoint(t, s.bus("sender"))
		go func() {
			n := 0
			for ; ; n++ {
				err := e.Post(ctx, connector.Message{ID: silentID, Data: []byte(strings.Repeat("x", 1000))}, toID)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						n = -1
					}
					break
				}
			}
			posted <- n
		}()
	}
	confirmed := endpoint(t, s.bus("confirmed"))
	eventually(t, "all are told to stop", func() bool { return o.conn(stuck.port).Waiting == 3 })
	talks(t, caller, 50)
	short, stop := context.WithCancel(ctx)
	waits := make(chan error, 1)
	go func() {
		waits <- confirmed.Send(short, connector.Message{ID: silentID, Data: []byte("never confirmed")}, toID)
	}()
	eventually(t, "the confirmed one waits too", func() bool { return o.conn(stuck.port).Waiting == 4 })
	stop()
	err := <-waits
	require.ErrorIs(t, err, context.Canceled)
	var op *connector.OpError
	require.ErrorAs(t, err, &op)
	assert.True(t, op.MayBeDelivered)
	cancel()
	total := 1
	for range 3 {
		n := <-posted
		require.GreaterOrEqual(t, n, 0)
		total += n
	}
	assert.Less(t, s.memory("VmHWM")-rss, mib(24))
	assert.Less(t, total, 20000)

	// It reads at last: nothing that was taken is missing.
	for got := 0; got < total; {
		h, _, err := stuck.next()
		require.NoError(t, err, fmt.Sprintf("%d of %d", got, total))
		if h.typ == tMsg {
			got++
		}
	}
	require.NoError(t, caller.Send(limited(t), connector.Message{ID: echoID}, toID))
}

// Clients that say nothing, or half of something, cost a descriptor each and
// hinder nobody.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	o := s.observer()
	echoes(t, s.bus("agent"), echoID)
	caller := endpoint(t, s.bus("caller"))
	talks(t, caller, 1)
	first, rss := o.settled(), s.memory("VmRSS")
	var silent []*rawConn
	accepted := o.stat().Accepted
	for i := range 600 {
		c := s.connect()
		switch i % 3 {
		case 1:
			c.put(hello()[:20])
		case 2:
			c.put(append(hello(), head{}.send(echoID, "data")[:60]...))
		}
		silent = append(silent, c)
	}
	// On a slow machine the first of them may be sent away, as they say nothing for long, before the last has come.
	eventually(t, "all have come", func() bool { return o.stat().Accepted >= accepted+uint64(len(silent)) })
	talks(t, caller, 100)
	assert.Less(t, s.memory("VmRSS")-rss, mib(8))
	for _, c := range silent {
		require.NoError(t, c.Close())
	}
	o.back(first)
}
