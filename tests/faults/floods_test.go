//go:build linux

package faults

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

const (
	floodLimit = 300
	beyond     = 20000 // requests after the limit
)

// A flood is a request that is made again and again, on a connection that never
// reads its answers until the end.
type flood struct {
	what  string // in the words of the error
	limit string // line of the policy
	one   func(i uint32) []byte
}

var floods = []flood{
	{"registrations", "registrations", func(i uint32) []byte {
		return head{typ: tAdd, tag: i}.frame(idBody(cbid.Make(0x9000+i%7, i), "flood")...)
	}},
	{"memberships", "memberships", func(i uint32) []byte { return head{typ: tJoin, tag: i, group: 0x9000 + i}.frame() }},
	{"watches", "watches", func(i uint32) []byte {
		return head{typ: tWatch, tag: i}.frame(u64s(uint64(i), 1, 0, 1<<32)...)
	}},
}

// Who wants more than its share is told so: who, how much, and of what. The rest of
// the world does not notice, and when the client goes, so does all it had.
func TestFloodsReachTheirLimit(t *testing.T) {
	t.Parallel()
	for _, f := range floods {
		t.Run(f.what, func(t *testing.T) {
			s := newSite(t, brokerConfig{Policy: fmt.Sprintf("[[rule]]\nuid = [\"*\"]\nadmin = true\n[[limit]]\n%s = %d\n", f.limit, floodLimit)})
			o := s.observer()
			echoes(t, s.bus("agent"), echoID)
			caller := member(t, s.bus("caller"), 5)
			_, err := s.bus("watcher").Watch(limited(t), cbid.NewSet(cbid.Rect{Idx: cbid.Range{First: 1, Count: 1}, Val: cbid.Range{First: 1, Count: 1}}))
			require.NoError(t, err)
			talks(t, caller, 1)
			first, rss := o.settled(), s.memory("VmHWM")

			c := s.raw()
			sent := make(chan error, 1)
			go func() {
				var b []byte
				for i := range uint32(floodLimit + beyond) {
					b = append(b, f.one(i+1)...)
				}
				_, err := c.Write(b)
				sent <- err
			}()
			var granted, refused int
			var why string
			for granted+refused < floodLimit+beyond {
				h, body, err := c.next()
				require.NoError(t, err)
				switch {
				case h.typ != tAck: // Interest, Change
				case h.code == 0:
					granted++
				default:
					require.Equal(t, connector.ErrLimit.Code(), h.code, "%s", body)
					refused++
					why = string(body)
				}
			}
			require.NoError(t, <-sent)
			assert.Equal(t, floodLimit-1, granted, "one is another's of the same user")
			words := fmt.Sprintf("uid %d has reached its limit of %d %s", ownCred().UID, floodLimit, f.what)
			assert.Equal(t, words, why)
			s.logged(words, "name=raw", fmt.Sprintf("pid=%d", ownCred().PID))
			assert.Less(t, strings.Count(s.log.String(), "\n"), 1000, "nor is the log flooded")
			u := o.stat().Users[0]
			assert.EqualValues(t, beyond+1, u.Exceeded[f.what])
			talks(t, caller, 10)
			assert.Less(t, s.memory("VmHWM")-rss, mib(24))
			require.NoError(t, c.Close())
			o.back(first)
		})
	}
}

// The client library says the same as the broker's answer, and goes on.
func TestLimitsThroughTheLibrary(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{Policy: "[[rule]]\nuid = [\"*\"]\nadmin = true\n[[limit]]\nregistrations = 2\nmemberships = 2\nwatches = 2\nhistory_bytes = 100000\n"})
	b, o := s.bus("greedy"), s.observer()
	echoes(t, b, echoID)
	m := member(t, b, 5)
	_, err := b.Watch(limited(t), nil)
	require.NoError(t, err)
	limit := func(err error, what string) {
		t.Helper()
		require.ErrorIs(t, err, connector.ErrLimit)
		require.ErrorContains(t, err, fmt.Sprintf("uid %d has reached its limit of ", ownCred().UID))
		require.ErrorContains(t, err, what)
	}
	for range 3 {
		echoes(t, b, silentID)
		limit(b.AddCallback(limited(t), cbid.Make(9, 9), "x", connector.HandlerFunc(echo)), "2 registrations")
		require.NoError(t, b.DelCallback(limited(t), silentID))
		require.NoError(t, m.Join(limited(t), 6))
		limit(m.Join(limited(t), 7), "2 memberships")
		require.NoError(t, m.Leave(limited(t), 6))
		w, err := b.Watch(limited(t), nil)
		require.NoError(t, err)
		_, err = b.Watch(limited(t), nil)
		limit(err, "2 watches")
		require.NoError(t, w.Close())
		// One that this test made to see whether it may would not be gone by the next round either.
		eventually(t, "the watch is gone", func() bool { return o.stat().Users[0].Watches == 1 })
		require.NoError(t, b.SetHistory(limited(t), echoID.Idx, connector.History{Bytes: 20000}))
		limit(b.SetHistory(limited(t), echoID.Idx, connector.History{Bytes: 1 << 30}), "100000 bytes of history")
	}
	talks(t, m, 3)
}

// Connections beyond the limit are refused with the reason; those that are there go on.
func TestFloodOfConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{Policy: fmt.Sprintf("[[rule]]\nuid = [\"*\"]\nadmin = true\n[[limit]]\nconnections = %d\n", floodLimit)})
	o := s.observer()
	echoes(t, s.bus("agent"), echoID)
	caller := endpoint(t, s.bus("caller"))
	talks(t, caller, 1)
	first := o.settled()
	have := first.Clients - 1 // without the query's own
	var held []*rawConn
	for range floodLimit - have {
		held = append(held, s.raw())
	}
	words := fmt.Sprintf("uid %d has reached its limit of %d connections", ownCred().UID, floodLimit)
	for range 500 {
		c := s.connect()
		h, body := c.want(tBye)
		require.Equal(t, connector.ErrLimit.Code(), h.code)
		require.Equal(t, words, string(body))
		require.NoError(t, c.Close())
	}
	_, err := client.Dial(limited(t), &client.Config{Socket: s.cfg.Socket, Logger: slog.New(slog.DiscardHandler), DialTimeout: patience})
	require.ErrorIs(t, err, connector.ErrLimit)
	require.ErrorContains(t, err, words)
	s.logged(words)
	talks(t, caller, 10)
	for _, c := range held {
		require.NoError(t, c.Close())
	}
	eventually(t, "there is room again", func() bool {
		b, err := client.Dial(limited(t), &client.Config{Socket: s.cfg.Socket, Logger: slog.New(slog.DiscardHandler), DialTimeout: patience})
		return err == nil && assert.NoError(t, b.Close())
	})
	o.back(first)
}
