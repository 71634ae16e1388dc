//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

const victimIdx = 0x5000

// victimMain registers ids, calls, and takes every third id back, until it is killed. It
// prints "add VAL" when the broker has taken an id, and "del VAL" before it gives one back.
func victimMain() error {
	socket, err := roleConfig[string]()
	if err != nil {
		return err
	}
	ctx := context.Background()
	b, err := client.Dial(ctx, &client.Config{Socket: socket, Name: "victim", DialTimeout: patience})
	if err != nil {
		return err
	}
	e, err := b.Endpoint(ctx)
	if err != nil {
		return err
	}
	for i := uint32(0); ; i++ {
		if err := b.AddCallback(ctx, cbid.Make(victimIdx, i), "victim", connector.HandlerFunc(silent)); err != nil {
			return err
		}
		fmt.Println("add", i)
		if _, err := e.Call(ctx, connector.Message{ID: echoID}, toID); err != nil {
			return err
		}
		if i%3 == 1 {
			fmt.Println("del", i-1)
			if err := b.DelCallback(ctx, cbid.Make(victimIdx, i-1)); err != nil {
				return err
			}
		}
	}
}

// toldOf counts what a watcher, or the messages of a notify request, say of each id.
type toldOf struct {
	added, removed map[cbid.ID]int
	wrong          string
}

func newTold() *toldOf {
	return &toldOf{added: make(map[cbid.ID]int), removed: make(map[cbid.ID]int)}
}

func (c *toldOf) tell(id cbid.ID, removed bool) {
	m := c.added
	if removed {
		m = c.removed
	}
	m[id]++
	if d := c.added[id] - c.removed[id]; d != 0 && d != 1 {
		c.wrong += fmt.Sprintf("%v: %d times added, %d times removed. ", id, c.added[id], c.removed[id])
	}
}

// A client is killed wherever it happens to be: all that it had goes, those who
// watch are told exactly once, and those who called it do not wait for ever.
func TestClientKilledWhileItRegistersAndCalls(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{QueueBytes: 4 << 20})
	o := s.observer()
	agent := s.bus("agent")
	echoes(t, agent, echoID)
	rnd := rand.New(rand.NewPCG(3, 4))
	set := cbid.NewSet(cbid.Rect{Idx: cbid.Range{First: victimIdx, Count: 1}, Val: cbid.Range{Count: 1 << 32}})
	for range 8 {
		w, err := agent.Watch(limited(t), set)
		require.NoError(t, err)
		ch, err := w.Next(limited(t))
		require.NoError(t, err)
		require.Equal(t, connector.ChangeMarker, ch.Kind)
		asker := member(t, s.bus("asker"), 9)
		_, err = asker.Call(limited(t), connector.Message{ID: cbid.Control, Data: ctl(1, 1, 9, 16, victimIdx, 1, 0, 1<<32-1)}, toID)
		require.NoError(t, err)

		p := spawn(t, "victim", s.cfg.Socket)
		lines := []string{p.line(), p.line(), p.line()}
		first := cbid.Make(victimIdx, 1) // it stays as long as the victim lives
		calls := make(chan error, 3)
		for range cap(calls) {
			e := endpoint(t, s.bus("caller"))
			go func() {
				_, err := e.Call(limited(t), connector.Message{ID: first}, toID)
				calls <- err
			}()
		}
		eventually(t, "the victim has the calls", func() bool { return o.messages(first) == uint64(cap(calls)) })
		for range rnd.IntN(60) {
			lines = append(lines, p.line())
		}
		lines = append(lines, p.kill()...)

		for range cap(calls) {
			err := <-calls
			require.ErrorIs(t, err, connector.ErrAgentGone)
			var op *connector.OpError
			require.ErrorAs(t, err, &op)
			assert.True(t, op.MayBeDelivered)
		}
		// What the sentinel's registration follows has been told.
		eventually(t, "the victim's ids are gone", func() bool { return o.stat().IDs == 1 })
		sentinel := cbid.Make(victimIdx, 1<<32-2)
		echoes(t, agent, sentinel)
		watched, notified := newTold(), newTold()
		for watched.added[sentinel] == 0 {
			ch, err := w.Next(limited(t))
			require.NoError(t, err)
			require.NotEqual(t, connector.ChangeResync, ch.Kind, "it was read too slowly for this test")
			watched.tell(ch.Info.ID, ch.Kind == connector.ChangeRemoved)
		}
		for notified.added[sentinel] == 0 {
			ev, err := asker.Recv(limited(t))
			require.NoError(t, err)
			require.Equal(t, connector.EventMessage, ev.Kind)
			notified.tell(ev.Msg.ID, ev.Msg.Ack == 1)
		}
		require.Empty(t, watched.wrong)
		require.Equal(t, watched, notified)
		for id, n := range watched.added {
			if id != sentinel {
				require.Equal(t, 1, n, id)
				require.Equal(t, 1, watched.removed[id], id)
			}
		}
		for _, l := range lines {
			var what string
			var val uint32
			_, err := fmt.Sscan(l, &what, &val)
			require.NoError(t, err, l)
			require.Equal(t, 1, watched.added[cbid.Make(victimIdx, val)], "%s was acknowledged", l)
		}
		require.NoError(t, agent.DelCallback(limited(t), sentinel))
		require.NoError(t, w.Close())
		require.NoError(t, asker.Close())
	}
}
