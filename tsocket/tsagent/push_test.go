package tsagent_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// What is handed over is what would have been received, in order, and nothing comes after Close.
func TestPush(t *testing.T) {
	s := onSink(t, tsagent.Config{})
	c := s.client(t)
	a, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	b, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	require.NoError(t, b.SetNotices(true))
	send := func(n int) {
		for sent := 0; sent < n; {
			k, err := a.SendBatch(soon(t), []tsocket.Message{{Data: make([]byte, 1+sent%60_000), Addr: b.LocalAddr()}})
			require.NoError(t, err)
			sent += k
		}
	}
	send(3) // before: they wait in the queue
	var mu sync.Mutex
	var sizes []int
	var from tsocket.Addr
	var last error
	over := 0
	await := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(sizes) == n
		}, patience, time.Millisecond)
	}
	require.True(t, b.Ops().(tsocket.PushOps).Push(func(msgs []tsocket.Message, err error, end bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range msgs {
			sizes, from = append(sizes, len(m.Data)), m.Addr
		}
		if err != nil {
			last = err
		}
		if end {
			over++
		}
	}))
	await(3)
	send(40)
	await(43)
	require.Equal(t, a.LocalAddr(), from)
	for i := range 40 {
		require.Equal(t, i+1, sizes[3+i])
	}
	// A batch in several messages.
	big := make([]tsocket.Message, 3)
	for i := range big {
		big[i] = tsocket.Message{Data: make([]byte, 30_000), Addr: b.LocalAddr()}
	}
	_, err = a.SendBatch(soon(t), big)
	require.NoError(t, err)
	await(46)
	require.NoError(t, b.Close())
	_, err = a.SendBatch(soon(t), big)
	require.NoError(t, err)
	_, err = c.Stat(soon(t))
	require.NoError(t, err)
	require.Len(t, sizes, 46)

	// The end of the agent is told once.
	sizes = nil
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	require.True(t, d.Ops().(tsocket.PushOps).Push(func(_ []tsocket.Message, err error, end bool) {
		mu.Lock()
		defer mu.Unlock()
		if last = err; end {
			over++
		}
	}))
	require.NoError(t, s.agent.Close())
	require.Eventually(t, func() bool {
		_, err := d.SendTo(soon(t), []byte("x"), d.LocalAddr()) // whoever asks finds out
		mu.Lock()
		defer mu.Unlock()
		return err != nil && over == 1
	}, patience, time.Millisecond)
	require.ErrorIs(t, last, tsagent.ErrDown)

	plain := onLoopback(t, nil)
	p, err := plain.client(t).UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	require.False(t, p.Ops().(tsocket.PushOps).Push(nil), "without a sink")
}

// Calls end when the agent does.
func TestEngineWhoseAgentEnds(t *testing.T) {
	s := onSink(t, tsagent.Config{})
	open := throughBus(s)
	e := open(t)
	nobody, err := tsocket.UDP(local4(0), tsocket.Addr{})
	require.NoError(t, err)
	defer nobody.Close()
	c := e.Client(nobody.LocalAddr().AddrPort(), nil)
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(soon(t), 1, []byte("nobody answers"))
		done <- err
	}()
	_, _, err = nobody.RecvFrom(soon(t), make([]byte, 2000))
	require.NoError(t, err)
	require.NoError(t, s.agent.Close())
	require.Error(t, <-done)
}
