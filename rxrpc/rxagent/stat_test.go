package rxagent_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// TestAnswersToStatGoWithTheirReader, or when its user reads too many; who was put off is told to begin again.
func TestAnswersToStatGoWithTheirReader(t *testing.T) {
	w := newWorld(t, nil)
	holder := w.client(t)
	for range 250 {
		holder.socket(rxmsg.Socket{})
	}
	ask := func(c *client) int {
		r, body := c.must(rxmsg.Header{Op: rxmsg.OpStat}, []byte("sockets"))
		require.NotZero(t, r.Flags&rxmsg.FlagMore)
		return len(body)
	}
	for range 3 {
		c := w.client(t)
		ask(c)
		require.Equal(t, 1, w.agent.Reading())
		require.NoError(t, c.ep.Close())
		require.Eventually(t, func() bool { return w.agent.Reading() == 0 }, time.Minute, time.Millisecond)
	}
	first := w.client(t)
	n := ask(first)
	for range 8 {
		ask(w.client(t))
	}
	require.Equal(t, 8, w.agent.Reading())
	_, _, err := first.do(rxmsg.Header{Op: rxmsg.OpStat, Arg: uint64(n)}, []byte("sockets"))
	require.ErrorIs(t, err, syscall.ESTALE)
	_, _, err = first.do(rxmsg.Header{Op: rxmsg.OpStat, Arg: 1 << 40}, []byte("sockets"))
	require.ErrorIs(t, err, syscall.ESTALE)
	last := w.client(t)
	n = ask(last)
	for more := true; more; {
		r, body := last.must(rxmsg.Header{Op: rxmsg.OpStat, Arg: uint64(n)}, []byte("sockets"))
		n += len(body)
		more = r.Flags&rxmsg.FlagMore != 0
		require.True(t, more || n == int(r.Value))
	}
	require.Equal(t, 7, w.agent.Reading(), "it has been read")
}
