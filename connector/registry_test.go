package connector

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var nothing = HandlerFunc(func(context.Context, *Delivery) {})

func mustAdd(t testing.TB, r *Registry, id cbid.ID, h Handler) *Entry {
	t.Helper()
	e, err := r.Add(IDInfo{ID: id, Name: "test"}, h)
	require.NoError(t, err)
	return e
}

func numbered(id cbid.ID, n int) *Delivery { return &Delivery{Msg: Message{ID: id, Seq: uint32(n)}} }

func TestRegistryAddRefuses(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(0x123, 0x456)
	_, err := r.Add(IDInfo{ID: id, Name: strings.Repeat("x", MaxName)}, nothing)
	require.NoError(t, err, "31 bytes fit")
	for name, c := range map[string]struct {
		info IDInfo
		h    Handler
		want error
	}{
		"duplicate":   {IDInfo{ID: id}, nothing, ErrDuplicate},
		"long name":   {IDInfo{ID: cbid.Proc, Name: strings.Repeat("x", MaxName+1)}, nothing, ErrInvalid},
		"long umlaut": {IDInfo{ID: cbid.Proc, Name: strings.Repeat("ü", 16)}, nothing, ErrInvalid},
		"NUL":         {IDInfo{ID: cbid.Proc, Name: "a\x00b"}, nothing, ErrInvalid},
		"no handler":  {IDInfo{ID: cbid.Proc}, nil, ErrInvalid},
	} {
		_, err := r.Add(c.info, c.h)
		require.ErrorIs(t, err, c.want, name)
		require.ErrorIs(t, err, syscall.EINVAL, name)
		var op *OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, c.info.ID, op.ID)
	}
	assert.Equal(t, 1, r.Len())
	assert.Nil(t, r.Lookup(cbid.Proc))
}

func TestRegistryGroups(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	a := mustAdd(t, r, cbid.Make(5, 1), nothing)
	b := mustAdd(t, r, cbid.Make(5, 2), nothing)
	c := mustAdd(t, r, cbid.Make(6, 1), nothing)
	assert.Equal(t, uint32(5), a.Info().Group)
	five := r.Group(5)
	assert.Equal(t, []*Entry{a, b}, five)
	require.NoError(t, r.Del(t.Context(), a))
	assert.Equal(t, []*Entry{b}, r.Group(5))
	assert.Equal(t, []*Entry{a, b}, five, "what was handed out stays")
	require.NoError(t, r.Del(t.Context(), b))
	assert.Empty(t, r.Group(5))
	assert.Equal(t, []*Entry{c}, slices.Collect(r.All()))
}

func TestDispatchRunsInline(t *testing.T) {
	type key struct{}
	r := NewRegistry(context.WithValue(t.Context(), key{}, "bus"), nil)
	var got *Delivery
	id := cbid.Make(1, 2)
	e := mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, d *Delivery) {
		got = d.Detach()
		assert.Equal(t, "bus", ctx.Value(key{}), "the context is the registry's")
	}))
	d := &Delivery{Msg: counter(), From: From{Port: 3, Cred: Cred{1, 2, 3}}, Call: true}
	d.Msg.ID = id
	require.NoError(t, r.Dispatch(t.Context(), d, FullDefault))
	assert.Equal(t, d, got)
	assert.Equal(t, uint64(1), e.Handled())

	err := r.Dispatch(t.Context(), numbered(cbid.Make(2, 2), 0), FullDefault)
	require.ErrorIs(t, err, ErrNoID)
	require.ErrorIs(t, err, syscall.ENODEV)
	assert.ErrorContains(t, err, "2:2")
}

func TestDispatchDoesNotAllocate(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	n := 0
	mustAdd(t, r, cbid.Make(1, 2), HandlerFunc(func(context.Context, *Delivery) { n++ }))
	data := make([]byte, 128)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		d := Delivery{Msg: Message{ID: cbid.Make(1, 2), Data: data}} // stays on the stack
		if r.Dispatch(t.Context(), &d, FullDefault) != nil {
			t.Error("not delivered")
		}
	}))
	assert.Equal(t, 101, n)
}

// From its own callback a message goes to the mailbox and is handled in order
// before Dispatch returns.
func TestDispatchFromOwnCallback(t *testing.T) {
	r := NewRegistry(t.Context(), &RegistryConfig{Queue: 3})
	var got []uint32
	var full error
	id := cbid.Make(1, 2)
	data := []byte{1}
	mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, d *Delivery) {
		got = append(got, d.Msg.Seq)
		if d.Msg.Seq != 0 {
			assert.Equal(t, []byte{1}, d.Msg.Data, "the data were copied")
			return
		}
		for n := 1; n <= 3; n++ {
			m := numbered(id, n)
			m.Msg.Data = data
			assert.NoError(t, r.Dispatch(ctx, m, FullDefault))
		}
		data[0] = 2
		full = r.Dispatch(ctx, numbered(id, 4), FullWait)
	}))
	require.NoError(t, r.Dispatch(t.Context(), numbered(id, 0), FullDefault))
	assert.Equal(t, []uint32{0, 1, 2, 3}, got)
	require.ErrorIs(t, full, ErrWouldBlock, "it would wait for itself")
}

// Many senders, ids and re-registrations at once: each sender's messages arrive in
// its order, callbacks of one id never overlap, and every accepted message is handled.
func TestSerialPerIDInOrder(t *testing.T) {
	const ids, senders, each = 3, 4, 2000
	r := NewRegistry(t.Context(), &RegistryConfig{Queue: 8})
	type seen struct {
		inside atomic.Int32
		last   [senders]uint32
		n      int
	}
	var state [ids]seen
	for i := range ids {
		s := &state[i]
		mustAdd(t, r, cbid.Make(uint32(i), 0), HandlerFunc(func(ctx context.Context, d *Delivery) {
			if s.inside.Add(1) != 1 {
				t.Error("two callbacks of one id at once")
			}
			if last := &s.last[d.From.Port]; *last+1 != d.Msg.Seq || string(d.Msg.Data) != fmt.Sprint(d.Msg.Seq) {
				t.Errorf("sender %d: %d %q after %d", d.From.Port, d.Msg.Seq, d.Msg.Data, *last)
			} else {
				*last = d.Msg.Seq
			}
			if s.n++; s.n%64 == 0 {
				runtime.Gosched() // let the others find it busy
			}
			s.inside.Add(-1)
		}))
	}
	var wg sync.WaitGroup
	for port := range senders {
		wg.Go(func() {
			for n := 1; n <= each; n++ {
				for i := range ids {
					d := numbered(cbid.Make(uint32(i), 0), n)
					d.From.Port = uint32(port)
					d.Msg.Data = fmt.Append(nil, n)
					if err := r.Dispatch(t.Context(), d, FullDefault); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, r.Close(t.Context()))
	for i := range state {
		assert.Equal(t, senders*each, state[i].n)
	}
}

// A callback that waits for one of another id shows that ids do not wait for each other.
func TestConcurrentBetweenIDs(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	other := make(chan struct{})
	mustAdd(t, r, cbid.Make(1, 1), HandlerFunc(func(context.Context, *Delivery) { <-other }))
	mustAdd(t, r, cbid.Make(1, 2), HandlerFunc(func(context.Context, *Delivery) { close(other) }))
	done := make(chan error)
	go func() { done <- r.Dispatch(t.Context(), numbered(cbid.Make(1, 1), 0), FullDefault) }()
	require.NoError(t, r.Dispatch(t.Context(), numbered(cbid.Make(1, 2), 0), FullDefault))
	require.NoError(t, <-done)
}

func TestDelDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(t.Context(), &RegistryConfig{Queue: 1})
		goOn := make(chan struct{})
		handled := 0
		var fromWithin error
		id := cbid.Make(1, 2)
		var e *Entry
		e = mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, _ *Delivery) {
			fromWithin = r.Del(ctx, e)
			<-goOn
			handled++
		}))
		send := func() error { return r.Dispatch(t.Context(), numbered(id, 0), FullDefault) }
		results := make([]error, 3)
		var wg sync.WaitGroup
		for i := range results { // one runs, one is queued, one waits for room
			wg.Go(func() { results[i] = send() })
			synctest.Wait()
		}
		deleted := false
		wg.Go(func() {
			assert.NoError(t, r.Del(t.Context(), e))
			deleted = true
		})
		synctest.Wait()
		assert.False(t, deleted, "it waits for the callback")
		assert.Nil(t, r.Lookup(id))
		require.ErrorIs(t, fromWithin, ErrInvalid, "from the callback it would wait for itself")
		require.ErrorIs(t, results[2], ErrNoID, "who waits for room is refused")
		require.ErrorIs(t, send(), ErrNoID)
		require.ErrorIs(t, r.Del(t.Context(), e), ErrNoID)
		_, err := e.Enqueue(numbered(id, 0), nil)
		require.ErrorIs(t, err, ErrNoID)
		mustAdd(t, r, id, nothing) // the id is free
		require.NoError(t, send())

		close(goOn)
		wg.Wait()
		assert.True(t, deleted)
		assert.Equal(t, 2, handled, "what was accepted is handled")
		require.NoError(t, results[0])
		require.NoError(t, results[1])
	})
}

func TestDelWaitsUpToContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(t.Context(), nil)
		goOn := make(chan struct{})
		e := mustAdd(t, r, cbid.Proc, HandlerFunc(func(context.Context, *Delivery) { <-goOn }))
		go func() { assert.NoError(t, r.Dispatch(t.Context(), numbered(cbid.Proc, 0), FullDefault)) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, r.Del(ctx, e), context.Canceled)
		assert.Nil(t, r.Lookup(cbid.Proc))
		close(goOn)
		require.ErrorIs(t, r.Del(t.Context(), e), ErrNoID)
	})
}

func TestCloseDrainsAll(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	for i := range 100 {
		mustAdd(t, r, cbid.Make(uint32(i), 0), nothing)
	}
	require.NoError(t, r.Close(t.Context()))
	assert.Zero(t, r.Len())
	_, err := r.Add(IDInfo{ID: cbid.Proc}, nothing)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, r.Close(t.Context()))
}
