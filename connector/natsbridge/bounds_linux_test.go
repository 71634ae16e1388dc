package natsbridge

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// on runs f on the broker's loop.
func (g *Bridge) on(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	require.True(t, g.post(func() {
		f()
		close(done)
	}))
	select {
	case <-done:
	case <-soon(t).Done():
		require.Fail(t, "the loop does not run it")
	}
}

// TestTheLeaseIsRenewedWhileManyIDsAreClaimed: the operations that are under way do not hold it up.
func TestTheLeaseIsRenewedWhileManyIDsAreClaimed(t *testing.T) {
	h := startHost(t, config(startServer(t), 1), 0)
	defer h.stop()
	g := h.bridge
	for range storesMost {
		g.stores <- struct{}{}
	}
	held := make(chan storeResult, 1)
	carrier{g}.Store(storeOp{kind: storeGet, bucket: bucketIDs, key: "i.1.1", then: func(r storeResult) { held <- r }})
	var before uint64
	g.on(t, func() {
		before = g.core.lease.rev
		g.core.lease.renewAt = g.core.now
		g.core.tick()
	})
	require.Eventually(t, func() bool {
		var now uint64
		g.on(t, func() { now = g.core.lease.rev })
		return now > before
	}, 2*time.Minute, 10*time.Millisecond)
	assert.Empty(t, held, "others wait their turn")
	for range storesMost {
		<-g.stores
	}
	select {
	case r := <-held:
		assert.ErrorIs(t, r.err, errStoreNotFound)
	case <-soon(t).Done():
		require.Fail(t, "and get it")
	}
}

// TestWhatTheStoreSaysBeforeJoinHasReturnedIsNotLost: the broker asks for the ids that waited while it is being joined.
func TestWhatTheStoreSaysBeforeJoinHasReturnedIsNotLost(t *testing.T) {
	h := startHost(t, config(startServer(t), 1), 0)
	defer h.stop()
	early := &Bridge{store: h.bridge.store, core: h.bridge.core, stores: make(chan struct{}, storesMost), joined: make(chan struct{})}
	early.ctx, early.cancel = context.WithCancel(t.Context())
	defer early.wg.Wait()
	defer early.cancel()
	said := make(chan storeResult, 1)
	key := idKey(cbid.Make(0x200, 1))
	carrier{early}.Store(storeOp{kind: storeCreate, bucket: bucketIDs, key: key, value: []byte("x"), then: func(r storeResult) { said <- r }})
	require.Eventually(t, func() bool {
		return early.store.do(t.Context(), &storeOp{kind: storeGet, bucket: bucketIDs, key: key}).err == nil
	}, 2*time.Minute, 5*time.Millisecond)
	early.site.Store(h.bridge.site.Load())
	close(early.joined)
	select {
	case r := <-said:
		assert.NoError(t, r.err)
	case <-soon(t).Done():
		require.Fail(t, "the result is lost")
	}
}

// TestWhatAStreamSaysBeforeJoinHasReturnedIsNotLost: the broker locates its durable groups while it is being joined.
func TestWhatAStreamSaysBeforeJoinHasReturnedIsNotLost(t *testing.T) {
	h := startHost(t, config(startServer(t), 1), 0)
	defer h.stop()
	early := &Bridge{store: h.bridge.store, core: h.bridge.core, joined: make(chan struct{})}
	early.ctx, early.cancel = context.WithCancel(t.Context())
	early.reads = newReaders(early)
	defer early.wg.Wait()
	defer early.cancel()
	said := make(chan streamResult, 1)
	carrier{early}.Stream(streamOp{kind: streamOpen, group: kept1, want: connector.History{Messages: 10, Durable: true}, then: func(r streamResult) { said <- r }})
	require.Eventually(t, func() bool {
		return early.store.doStream(t.Context(), &streamOp{kind: streamLook, group: kept1}).err == nil && len(early.reads.ops) == 0
	}, 2*time.Minute, 5*time.Millisecond)
	assert.Empty(t, said)
	early.site.Store(h.bridge.site.Load())
	close(early.joined)
	select {
	case r := <-said:
		assert.NoError(t, r.err)
		assert.NotZero(t, r.epoch)
	case <-soon(t).Done():
		require.Fail(t, "the result is lost")
	}
}

// TestCloseThatIsNotWaitedForSharesNothing: the race detector looks at what the loop and the caller do.
func TestCloseThatIsNotWaitedForSharesNothing(t *testing.T) {
	h := startHost(t, config(startServer(t), 1), 0)
	bus := h.dial(t, "agent")
	defer bus.Close()
	for i := range uint32(20) {
		require.NoError(t, connector.AddSiteCallback(soon(t), bus, cbid.Make(0x200, i), "x", connector.HandlerFunc(func(context.Context, *connector.Delivery) {}), connector.SiteOptions{}))
	}
	hold, held := make(chan struct{}), make(chan struct{})
	require.True(t, h.bridge.post(func() {
		close(held)
		<-hold
	}))
	<-held
	over, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error, 1)
	go func() { closed <- h.bridge.Close(over) }()
	var err error
	select {
	case err = <-closed:
	case <-soon(t).Done():
		require.Fail(t, "Close waits though its context has ended")
	}
	close(hold)
	assert.True(t, err == nil || errors.Is(err, context.Canceled), "%v", err)
	h.stop()
}
