package tsagent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// Datagrams through the agent of the same process cost no allocation, neither sent nor received.
func TestBatchesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates")
		return
	}
	for name, l := range map[string]*tsocket.Loop{"goroutine": nil, "loop": running(t)} {
		t.Run(name, func(t *testing.T) { batchesAllocateNothing(t, onSink(t, tsagent.Config{Loop: l})) })
	}
}

func batchesAllocateNothing(t *testing.T, s *site) {
	c := s.client(t)
	a, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	require.NoError(t, a.SetNotices(true))
	out := make([]tsocket.Message, 20)
	for i := range out {
		out[i] = tsocket.Message{Data: make([]byte, 1400), Addr: a.LocalAddr()}
	}
	in := make([]tsocket.Message, 64)
	pass := func() {
		n, err := a.SendBatch(background, out)
		if err != nil || n != len(out) {
			t.Fatal(n, err)
		}
		for got := 0; got < len(out); got += n {
			if n, err = a.RecvBatch(background, in); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 200 {
		pass()
	}
	// The owner's pump may have something to tell in between: not for each batch.
	require.Less(t, testing.AllocsPerRun(200, pass), 1.0)
}
