package procevent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
)

// later lets time pass in a synctest bubble, where that takes none.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func exec1(pid uint32) Event { return Event{Kind: Exec, Pid: pid, Tgid: pid} }

func TestClientDeliversInOrderAndTakesTheSubscriptionBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		c, _ := dialFake(t, k, 1000, Config{})
		assert.Equal(t, 1, k.count())
		for pid := range uint32(100) {
			k.emit(pid%2, exec1(pid))
		}
		for pid := range uint32(100) {
			e := next(t, c)
			assert.Equal(t, pid, e.Pid)
			assert.Equal(t, pid%2, e.CPU)
		}
		l, err := c.Audit(t.Context())
		require.NoError(t, err)
		assert.True(t, l.Complete(), "%+v", l)
		assert.EqualValues(t, 100, l.Delivered)
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		assert.Zero(t, k.count(), "IGNORE on Close")
		_, err = c.Recv(t.Context())
		assert.ErrorIs(t, err, connector.ErrClosed)
	})
}

// On a kernel that does not know masks every LISTEN counts, so there must be one only.
func TestClientOnAnOldKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{old: true}
		c, _ := dialFake(t, k, 1000, Config{Kinds: MaskOf(Exec)})
		assert.Equal(t, 1, k.count())
		later(time.Minute) // some probes
		assert.Equal(t, 1, k.count())
		k.emit(0, Event{Kind: Exit, Pid: 3, Tgid: 3})
		k.emit(0, exec1(4))
		assert.Equal(t, Exec, next(t, c).Kind, "the mask holds here, if not in the kernel")
		l := c.Ledger()
		assert.EqualValues(t, 1, l.Filtered)
		assert.Zero(t, l.Silences)
		require.NoError(t, c.Close())
		assert.Zero(t, k.count())
	})
}

// The place of the loss is behind what was queued when the buffer became full.
func TestClientTellsALossInItsPlaceAndGoesOn(t *testing.T) {
	for _, kinds := range []Mask{0, MaskOf(Exec)} {
		t.Run(kinds.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &fakeKernel{}
				c, s := dialFake(t, k, 20, Config{Kinds: kinds, Queue: 1, Probe: -1, MaxReadBuffer: -1})
				// The reader takes one batch into the queue and waits there for Recv.
				k.emit(0, exec1(0))
				synctest.Wait()
				for pid := uint32(1); pid < 60; pid++ {
					k.emit(pid%2, exec1(pid))
				}
				lost := uint64(0)
				for pid := uint32(0); pid < 60 && lost == 0; pid++ {
					e := next(t, c)
					if e.Kind == Lost {
						lost = e.Count
						assert.True(t, e.Exact)
						assert.EqualValues(t, 60-pid, e.Count)
						break
					}
					assert.Equal(t, pid, e.Pid)
				}
				assert.NotZero(t, lost)
				assert.EqualValues(t, s.drops, lost)
				k.emit(1, exec1(77))
				assert.EqualValues(t, 77, next(t, c).Pid)
				l := c.Ledger()
				assert.Equal(t, lost, l.Lost, "told once, not again by the gap")
				assert.EqualValues(t, 1, l.Overruns)
				require.NoError(t, c.Close())
			})
		})
	}
}

// What a CPU lost last leaves no gap until it speaks again: the probe makes it.
func TestProbeTurnsTailLossIntoANumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		c, s := dialFake(t, k, 100, Config{})
		k.mu.Lock()
		k.seq[1] += 5 // produced, and dropped before any counter of the socket (no memory)
		k.mu.Unlock()
		l, err := c.Audit(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 5, l.Gaps)
		assert.Zero(t, s.drops)
		e := next(t, c)
		assert.Equal(t, Event{Kind: Lost, Count: 5, Exact: true}, e)
		require.NoError(t, c.Close())
	})
}

func TestClientRefusesForgedAndMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		c, s := dialFake(t, k, 100, Config{})
		k.forge(1234, 7, exec1(666))
		k.forge(1234, 0, exec1(666))
		k.forge(0, 7, exec1(666))
		k.mu.Lock()
		for _, b := range [][]byte{nil, make([]byte, 15), make([]byte, 76)} {
			s.deliver(nlconn.Datagram{Data: b, Group: Group})
		}
		k.mu.Unlock()
		k.emit(0, exec1(1))
		assert.EqualValues(t, 1, next(t, c).Pid)
		l := c.Ledger()
		assert.EqualValues(t, 3, l.Forged)
		assert.EqualValues(t, 3, l.Malformed)
		require.NoError(t, c.Close())
	})
}

// Anybody can lower the kernel's count of listeners. The next probe notices, raises
// it, and the stream says that something may be missing.
func TestClientRevivesASilencedSubscription(t *testing.T) {
	for _, kinds := range []Mask{0, MaskOf(Exec)} {
		t.Run(kinds.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &fakeKernel{}
				c, _ := dialFake(t, k, 100, Config{Kinds: kinds, Probe: 10 * time.Second})
				vandal := k.open(10)
				for range 2 { // op 3, then IGNORE, on a socket that never listened: -1 each time
					_ = vandal.Send(c.request(3, 0, false, 1))
					_ = vandal.Send(c.request(opIgnore, 0, false, 1))
				}
				assert.Equal(t, -1, k.count())
				k.emit(0, exec1(1)) // nobody sees it
				e := next(t, c)
				assert.Equal(t, Event{Kind: Lost}, e, "an unknown number")
				later(5 * time.Second)
				assert.Equal(t, 1, k.count())
				k.emit(0, exec1(2))
				assert.EqualValues(t, 2, next(t, c).Pid)
				assert.EqualValues(t, 1, c.Ledger().Silences)
				require.NoError(t, c.Close())
				assert.Zero(t, k.count())
			})
		})
	}
}

func TestDialSaysWhyNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{listeners: -5} // takes requests, answers none, as in another pid namespace
		cfg, err := (&Config{}).withDefaults()
		require.NoError(t, err)
		_, err = newClient(t.Context(), cfg, k.open(10))
		require.ErrorIs(t, err, ErrSilent)
		require.ErrorIs(t, err, connector.ErrTimeout)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = newClient(ctx, cfg, k.open(10))
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Kinds: 0x400}, {Queue: -1}, {Batch: -1}, {AckTimeout: -1}} {
		_, err := cfg.withDefaults()
		assert.ErrorIs(t, err, connector.ErrInvalid, "%+v", cfg)
	}
}

// Reading an event allocates nothing once the slices have grown.
func TestRecvAllocatesNothing(t *testing.T) {
	c := &Client{pending: make(map[uint32]*probe), batch: make([]Event, 0, 64)}
	e := exec1(1)
	data, err := e.Append(nil, native)
	require.NoError(t, err)
	b, err := (&connector.Message{ID: ID, Data: data}).AppendNative(nil, 0)
	require.NoError(t, err)
	d := nlconn.Datagram{Data: b, Group: Group, HasCred: true}
	q := newQueue(1000)
	ctx := t.Context()
	allocs := testing.AllocsPerRun(1000, func() {
		c.batch = c.batch[:0]
		c.mu.Lock()
		for range 8 {
			c.accept(&d)
		}
		c.mu.Unlock()
		q.push(c.batch)
		for range 8 {
			if _, err := q.pop(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	assert.Zero(t, allocs)
}
