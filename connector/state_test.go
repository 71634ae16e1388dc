package connector

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

// What is written for each message is in as few cache lines as possible, none of which
// another entry's message writes or reads.
func TestEntryLayout(t *testing.T) {
	if strconv.IntSize != 64 {
		return // another layout, which is right but not tuned
	}
	r := NewRegistry(t.Context(), nil)
	for i := range 100 {
		e := mustAdd(t, r, cbid.Make(uint32(i), 0), nothing)
		require.Zero(t, uintptr(unsafe.Pointer(&e.state))%64)
	}
	var e Entry
	assert.LessOrEqual(t, unsafe.Offsetof(e.d)+unsafe.Sizeof(e.d.Msg)-unsafe.Offsetof(e.state), uintptr(64))
	assert.LessOrEqual(t, unsafe.Offsetof(e.tag)+unsafe.Sizeof(e.tag), uintptr(128), "what is read")
	assert.LessOrEqual(t, unsafe.Offsetof(e.ctx)+unsafe.Sizeof(e.via), uintptr(64), "what is read")
	assert.GreaterOrEqual(t, unsafe.Offsetof(e.state)-unsafe.Offsetof(e.interest)-unsafe.Sizeof(e.interest), uintptr(64))
}

// A runner leaves though others have claimed, and the first of them becomes the runner.
func TestRunnerLeavesToWhoHasClaimed(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(1, 2)
	var got []uint32
	e := mustAdd(t, r, id, HandlerFunc(func(_ context.Context, d *Delivery) { got = append(got, d.Msg.Seq) }))
	require.True(t, e.Take())
	require.False(t, e.Take())
	require.False(t, e.Take())
	e.HandleTaken(&numbered(id, 1).Msg, new(From))
	assert.True(t, e.free)
	require.NoError(t, e.Behind(&numbered(id, 2).Msg, new(From)), "it is the runner now")
	assert.True(t, e.free)
	require.NoError(t, e.Behind(&numbered(id, 3).Msg, new(From)))
	assert.False(t, e.free)
	assert.Equal(t, []uint32{1, 2, 3}, got)
	assert.Zero(t, e.state.Load()&stateMore)

	// Enqueue may be the first as well.
	require.True(t, e.Take())
	require.False(t, e.Take())
	e.HandleTaken(&numbered(id, 4).Msg, new(From))
	q, err := e.Enqueue(numbered(id, 5), nil)
	require.NoError(t, err)
	require.True(t, q.Start)
	require.NoError(t, e.Behind(&numbered(id, 6).Msg, new(From)))
	assert.Equal(t, 2, e.Queued())
	e.Run()
	assert.Equal(t, []uint32{1, 2, 3, 4, 5, 6}, got)
	assert.Zero(t, e.state.Load()&stateMore)
	assert.EqualValues(t, 6, e.Handled())

	// And it may be removed before anybody is.
	require.True(t, e.Take())
	require.False(t, e.Take())
	e.HandleTaken(&numbered(id, 7).Msg, new(From))
	require.NoError(t, r.Del(t.Context(), e))
	require.ErrorIs(t, e.Behind(&numbered(id, 8).Msg, new(From)), ErrNoID)
	assert.EqualValues(t, 7, e.Handled())
}

func TestRemovedWhileClaimed(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(1, 2)
	e := mustAdd(t, r, id, nothing)
	require.True(t, e.Take())
	require.False(t, e.Take())
	require.True(t, r.Extract(e))
	e.HandleTaken(&numbered(id, 1).Msg, new(From))
	require.NoError(t, e.drain(t.Context()), "who has claimed only is not waited for")
	require.ErrorIs(t, e.Behind(&numbered(id, 2).Msg, new(From)), ErrNoID)
	require.False(t, e.Take())
	require.ErrorIs(t, e.Behind(&numbered(id, 3).Msg, new(From)), ErrNoID)
	assert.EqualValues(t, 1, e.Handled())
	assert.EqualValues(t, stateRemoved, e.state.Load()&stateMore)
}

func TestHandledGoesOn(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(1, 2)
	const many uint64 = stateFold / oneHandled
	for _, queued := range []bool{false, true} {
		e := mustAdd(t, r, id, nothing)
		e.state.Store(stateFold - oneHandled)
		for i := range 3 {
			if queued {
				_, err := e.Enqueue(numbered(id, i), nil)
				require.NoError(t, err)
				e.Run()
				e.fold() // the next time that something waits
			} else {
				require.NoError(t, r.Dispatch(t.Context(), numbered(id, i), FullDefault))
			}
			assert.Equal(t, many+uint64(i), e.Handled())
		}
		assert.Less(t, e.state.Load(), uint64(stateFold))
		require.NoError(t, r.Del(t.Context(), e))
	}
}

// An id that comes and goes under load: what was accepted is handled, and not after Del.
func TestDelUnderLoad(t *testing.T) {
	r := NewRegistry(t.Context(), &RegistryConfig{Queue: 4})
	id := cbid.Make(1, 2)
	var accepted, handled atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := r.Dispatch(t.Context(), numbered(id, 0), []WhenFull{FullDrop, FullWait}[i%2])
				if err == nil {
					accepted.Add(1)
				}
			}
		})
	}
	for range 60 {
		var inside, gone atomic.Int32
		e := mustAdd(t, r, id, HandlerFunc(func(context.Context, *Delivery) {
			if inside.Add(1) != 1 || gone.Load() != 0 {
				t.Error("two at once, or after Del")
			}
			if handled.Add(1)%8 == 0 {
				runtime.Gosched()
			}
			inside.Add(-1)
		}))
		for e.Handled() < 50 {
			runtime.Gosched()
		}
		require.NoError(t, r.Del(t.Context(), e))
		gone.Store(1)
	}
	close(stop)
	wg.Wait()
	assert.Equal(t, accepted.Load(), handled.Load())
}
