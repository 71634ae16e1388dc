package nlconn

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/internal/usernet"
)

func open(t *testing.T, cfg Config) *Bus {
	t.Helper()
	b, err := Open(&cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func endpoint(t *testing.T, b *Bus) *Endpoint {
	t.Helper()
	ep, err := b.Endpoint(t.Context())
	require.NoError(t, err)
	return ep.(*Endpoint)
}

// A member that does not read is told exactly how many it lost, behind what it had, and goes on.
func TestEndpointTellsItsLoss(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		b := open(t, Config{Queue: 1})
		slow, a := endpoint(t, b), endpoint(t, b)
		require.NoError(t, slow.Join(t.Context(), 9))
		const n = 3000
		for range 2 { // the second loss is counted from the first
			for i := range uint32(n) {
				require.NoError(t, a.Send(t.Context(), connector.Message{ID: cbid.Make(9, 1), Seq: i}, connector.Dest{Group: 9}))
			}
			received, lost := 0, 0
			for received+lost < n {
				ev, err := slow.Recv(t.Context())
				require.NoError(t, err)
				if ev.Kind == connector.EventLost {
					lost += int(ev.Lost)
					continue
				}
				assert.EqualValues(t, received+lost, ev.Msg.Seq, "the loss stands where messages are missing")
				received++
			}
			assert.Equal(t, n, received+lost)
			assert.NotZero(t, lost)
		}
	})
}

// Unicast waits for a full receiver up to ctx, and loses nothing.
func TestEndpointWaitsForRoom(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		b := open(t, Config{Queue: 1})
		slow, a := endpoint(t, b), endpoint(t, b)
		to := connector.Dest{Port: slow.Port()}
		const n = 3000
		sent := make(chan int, 1)
		go func() {
			i := 0
			for ; i < n; i++ {
				if !assert.NoError(t, a.Send(t.Context(), connector.Message{Seq: uint32(i)}, to)) {
					break
				}
			}
			sent <- i
		}()
		for i := range uint32(n) {
			ev, err := slow.Recv(t.Context())
			require.NoError(t, err)
			require.Equal(t, i, ev.Msg.Seq)
		}
		assert.Equal(t, n, <-sent)

		full := connector.Dest{Port: slow.Port(), Full: connector.FullDrop}
		var err error
		for err == nil {
			err = a.Send(t.Context(), connector.Message{}, full)
		}
		assert.ErrorIs(t, err, connector.ErrWouldBlock)
		for err = nil; err == nil; {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			err = a.Send(ctx, connector.Message{}, to)
			cancel()
		}
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		err = a.Send(t.Context(), connector.Message{}, connector.Dest{Group: 4, Full: connector.FullWait})
		assert.ErrorIs(t, err, connector.ErrNotSupported)
	})
}

// A reply is found behind more messages than the queue holds.
func TestCallIsAnsweredThoughNobodyReceives(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		b := open(t, Config{Queue: 1 << 10, ReadBuffer: 4 << 20})
		id := cbid.Make(20, 1)
		require.NoError(t, b.AddCallback(t.Context(), id, "echo", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
			assert.True(t, d.Call)
			assert.NoError(t, d.Reply(ctx, d.Msg.Data))
		})))
		ep, a := endpoint(t, b), endpoint(t, b)
		require.NoError(t, ep.Join(t.Context(), 9))
		const n = 200
		for i := range uint32(n) {
			require.NoError(t, a.Send(t.Context(), connector.Message{Seq: i, Data: make([]byte, 100)}, connector.Dest{Group: 9}))
		}
		ev, err := ep.Call(t.Context(), connector.Message{ID: id, Data: []byte("hi")}, connector.Dest{})
		require.NoError(t, err)
		assert.Equal(t, "hi", string(ev.Msg.Data))
		received, lost := 0, 0
		for received+lost < n {
			ev, err := ep.Recv(t.Context())
			require.NoError(t, err)
			if ev.Kind == connector.EventLost {
				lost += int(ev.Lost)
			} else {
				received++
			}
		}
		assert.Equal(t, n, received+lost)
		assert.EqualValues(t, 1, ep.CallStats().Replies)
	})
}

// Another process's registration is seen, and goes with it.
func TestIDsAreUniqueInTheNamespace(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		for _, proto := range protocols {
			one, two := open(t, Config{Protocol: proto}), open(t, Config{Protocol: proto})
			h := connector.HandlerFunc(func(context.Context, *connector.Delivery) {})
			id := cbid.Make(5, 6)
			require.NoError(t, one.AddCallback(t.Context(), id, "x", h))
			assert.ErrorIs(t, two.AddCallback(t.Context(), id, "x", h), connector.ErrDuplicate)
			require.NoError(t, one.Close())
			assert.NoError(t, two.AddCallback(t.Context(), id, "x", h))
			for _, bad := range []cbid.ID{{}, cbid.Make(33, 1), cbid.Make(2, MaxVal+1)} {
				assert.ErrorIs(t, two.AddCallback(t.Context(), bad, "x", h), connector.ErrInvalid)
				ep := endpoint(t, two)
				assert.ErrorIs(t, ep.Send(t.Context(), connector.Message{ID: bad}, connector.Dest{}), connector.ErrNoID)
			}
			assert.ErrorIs(t, two.AddCallback(t.Context(), cbid.Control, "x", h), connector.ErrNotSupported)
		}
	})
}

// Sending, and receiving what has come, allocates nothing.
func TestEndpointAllocatesNothing(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		b := open(t, Config{})
		x, y := endpoint(t, b), endpoint(t, b)
		m := connector.Message{ID: cbid.Make(3, 3), Data: make([]byte, 100)}
		to := connector.Dest{Port: y.Port()}
		ctx := context.Background()
		round := func() {
			for range 32 {
				if err := x.Send(ctx, m, to); err != nil {
					panic(err)
				}
			}
			for range 32 {
				if _, err := y.Recv(ctx); err != nil {
					panic(fmt.Sprint(err))
				}
			}
		}
		round()
		if allocs := testing.AllocsPerRun(200, round); !raceDetector {
			assert.Zero(t, allocs)
		}
	})
}
