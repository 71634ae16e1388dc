package natsbridge

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/internal/testenv"
)

const durablePolicy = everybody + `
[[history]]
group = "0x300"
messages = 20000
durable = true

[[history]]
group = "0x301"
messages = 10
durable = true
`

const kept1 = 0x300

// durableSite is some hosts whose brokers can be restarted.
type durableSite struct {
	t     *testing.T
	e     *Embedded
	dir   string
	hosts []*host
}

func newDurableSite(t *testing.T, e *Embedded, n int) *durableSite {
	s := &durableSite{t: t, e: e, dir: t.TempDir()}
	for i := range n {
		s.hosts = append(s.hosts, nil)
		s.start(i)
	}
	return s
}

func (s *durableSite) start(i int) {
	path := filepath.Join(s.dir, string(rune('a'+i)))
	s.hosts[i] = startHostAt(s.t, config(s.e, i+1), 0, path, durablePolicy)
}

func (s *durableSite) stop() {
	for _, h := range s.hosts {
		h.stop()
	}
}

func (s *durableSite) endpoint(i int) connector.Endpoint {
	b := s.hosts[i].dial(s.t, "durable")
	s.t.Cleanup(func() { _ = b.Close() })
	ep, err := b.Endpoint(s.t.Context())
	require.NoError(s.t, err)
	return ep
}

func counted(n uint32) connector.Message {
	return connector.Message{ID: cbid.Make(kept1, 1), Seq: n, Data: binary.NativeEndian.AppendUint32(nil, n)}
}

// next is the next message of an endpoint; nothing may have been lost.
func next(t *testing.T, ep connector.Endpoint) connector.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		ev, err := ep.Recv(ctx)
		require.NoError(t, err)
		switch ev.Kind {
		case connector.EventMessage:
			return ev
		case connector.EventLost, connector.EventFailed:
			require.FailNow(t, "lost", "%+v", ev)
		}
	}
}

// wants reads messages number first to last, at the positions of the same number.
func wants(t *testing.T, ep connector.Endpoint, first, last uint32) {
	t.Helper()
	for n := first; n <= last; n++ {
		ev := next(t, ep)
		require.Equal(t, n, ev.Msg.Seq)
		require.EqualValues(t, n, ev.Pos)
	}
}

// TestDurableThinPath: what is sent on one host is received on another, by members and by who comes later, also when the
// sender's broker and the receiver's have been started anew.
func TestDurableThinPath(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("site", func(t *testing.T) {
		e, err := StartEmbedded(EmbeddedConfig{Name: "test", Store: t.TempDir(), Log: quiet})
		require.NoError(t, err)
		defer e.Close()
		s := newDurableSite(t, e, 3)
		defer s.stop()
		to := connector.Dest{Group: kept1}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		member, here := s.endpoint(1), s.endpoint(0)
		require.NoError(t, member.Join(ctx, kept1))
		require.NoError(t, here.Join(ctx, kept1))
		sender := s.endpoint(0)
		require.NoError(t, sender.Join(ctx, kept1))
		for n := range uint32(20) {
			require.NoError(t, sender.Send(ctx, counted(n+1), to))
		}
		wants(t, member, 1, 20)
		wants(t, here, 1, 20)
		for n := range uint32(500) {
			require.NoError(t, sender.Post(ctx, counted(n+21), to))
		}
		require.NoError(t, sender.Send(ctx, counted(521), to))
		wants(t, member, 21, 521)
		wants(t, here, 21, 521)

		// On a host on which nobody was a member.
		late := s.endpoint(2)
		require.NoError(t, connector.JoinAt(ctx, late, kept1, connector.Position{}))
		wants(t, late, 1, 521)
		at := connector.Position{Epoch: late.(connector.HistoryEndpoint).Epoch(kept1), Pos: 500}
		require.NotZero(t, at.Epoch)
		assert.Equal(t, at.Epoch, member.(connector.HistoryEndpoint).Epoch(kept1), "positions are the same everywhere")

		// A receiver goes on elsewhere.
		moved := s.endpoint(0)
		require.NoError(t, connector.JoinAt(ctx, moved, kept1, at))
		wants(t, moved, 501, 521)

		// The receiver's broker ends, and comes back: it goes on where it was.
		s.hosts[1].stop()
		for n := range uint32(30) {
			require.NoError(t, sender.Send(ctx, counted(n+522), to))
		}
		s.start(1)
		wants(t, member, 522, 551)

		// The sender's does.
		s.hosts[0].stop()
		s.start(0)
		again := s.endpoint(0)
		require.NoError(t, again.Send(ctx, counted(552), to))
		wants(t, member, 552, 552)
		wants(t, here, 522, 552)
		wants(t, late, 522, 552)
	})
	testenv.NoLeaks(t, before)
}

// TestWhatADurableGroupHasNoMore is counted exactly, over a store that has ten messages.
func TestWhatADurableGroupHasNoMore(t *testing.T) {
	s := newDurableSite(t, startServer(t), 2)
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sender := s.endpoint(0)
	for n := range uint32(35) {
		require.NoError(t, sender.Send(ctx, counted(n+1), connector.Dest{Group: 0x301}))
	}
	member := s.endpoint(1)
	require.NoError(t, member.Join(ctx, 0x301))
	at := connector.Position{Epoch: member.(connector.HistoryEndpoint).Epoch(0x301), Pos: 5}
	late := s.endpoint(1)
	require.NoError(t, connector.JoinAt(ctx, late, 0x301, at))
	ev, err := late.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, connector.EventLost, ev.Kind)
	assert.EqualValues(t, 20, ev.Lost)
	assert.False(t, ev.Unknown)
	wants(t, late, 26, 35)
}

// TestTheStoreGoesAndComesBack: what is sent meanwhile waits, and is there once.
func TestTheStoreGoesAndComesBack(t *testing.T) {
	dir := t.TempDir()
	cfg := EmbeddedConfig{Name: "test", Listen: "127.0.0.1:0", Store: dir, Log: quiet}
	e, err := StartEmbedded(cfg)
	require.NoError(t, err)
	cfg.Listen = e.s.Addr().String()
	url := "nats://" + cfg.Listen
	var hosts []*host
	for i := range 2 {
		c := config(nil, i+1)
		c.URL = url
		hosts = append(hosts, startHostAt(t, c, 0, filepath.Join(t.TempDir(), "s"), durablePolicy))
	}
	s := &durableSite{t: t, hosts: hosts}
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	member, sender := s.endpoint(1), s.endpoint(0)
	require.NoError(t, member.Join(ctx, kept1))
	const each = 400
	for round := range uint32(3) {
		first := round*each + 1
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := first; n < first+each; n++ {
				assert.NoError(t, sender.Send(ctx, counted(n), connector.Dest{Group: kept1}))
			}
		})
		wants(t, member, first, first+each/4)
		e.s.Shutdown()
		e.Close()
		e, err = StartEmbedded(cfg)
		require.NoError(t, err)
		wants(t, member, first+each/4+1, first+each-1)
		wg.Wait()
	}
	defer e.Close()
}

// TestAFirstBatchNamesTheLastMessageOfTheStream: a real store takes it right behind that message, and at no other time, however often
// it comes, also when the stream has no message of the host.
func TestAFirstBatchNamesTheLastMessageOfTheStream(t *testing.T) {
	s := testStore(t, time.Minute)
	s.host = 7
	do := func(op streamOp) streamResult {
		op.group = kept1
		return s.doStream(t.Context(), &op)
	}
	require.NoError(t, do(streamOp{kind: streamOpen, want: connector.History{Messages: 3, Durable: true}}).err)
	batch := func(host uint16, first uint64, n int) streamOp {
		op := streamOp{kind: streamAppend}
		for i := range n {
			op.batch = append(op.batch, []byte{byte(i)})
			op.ids = append(op.ids, streamMsgID(host, 1, first+uint64(i)))
		}
		return op
	}
	first := batch(7, 1, 3)
	first.still = true
	r := do(first)
	require.NoError(t, r.err)
	assert.EqualValues(t, 3, r.seq)
	other := *s
	other.host = 8
	op := batch(8, 1, 3)
	op.still = true
	op.group = kept1
	assert.ErrorIs(t, other.doStream(t.Context(), &op).err, errStreamBehind, "the stream has messages")
	op.end = 3
	op.name = ""
	r = other.doStream(t.Context(), &op)
	require.NoError(t, r.err)
	assert.EqualValues(t, 6, r.seq)

	last := do(streamOp{kind: streamLast})
	require.NoError(t, last.err)
	require.Empty(t, last.msgs, "this host's were evicted")
	assert.EqualValues(t, 6, last.last)
	for i := range first.ids {
		first.ids[i] += "-forgotten" // as after the time for which the store knows names
	}
	first.name = ""
	assert.ErrorIs(t, do(first).err, errStreamBehind)
	one := batch(7, 9, 1)
	one.still, one.end = true, 5
	assert.ErrorIs(t, do(one).err, errStreamBehind)
	one.end = 6
	r = do(one)
	require.NoError(t, r.err)
	assert.EqualValues(t, 7, r.seq)
}

// TestMessagesOfAHostThatIsGone are its users': the policy's rules for hosts go by the name that the store has for its number, in
// what is fetched and in what is read.
func TestMessagesOfAHostThatIsGone(t *testing.T) {
	const rules = `
[[rule]]
uid = ["*"]
register = ["*"]
send = ["*"]
join = ["*"]
unicast = true

[[rule]]
uid = ["4242"]
host = ["self", "host1"]
publish = ["*"]

[[host]]
name = "host1"
uids = {"*" = "nobody", "%d" = "4242"}

[[history]]
group = "0x300"
messages = 100
durable = true
`
	policy := fmt.Sprintf(rules, os.Getuid())
	ctx := soon(t)
	e := startServer(t)
	for _, n := range []uint32{1, 2} { // another run has another reader
		gone := startHostAt(t, config(e, 1), 0, filepath.Join(t.TempDir(), "s"), durablePolicy)
		bus := gone.dial(t, "gone")
		require.NoError(t, bus.Send(ctx, counted(n), connector.Dest{Group: kept1}))
		_ = bus.Close()
		gone.stop()
	}
	h := startHostAt(t, config(e, 2), 0, filepath.Join(t.TempDir(), "s"), policy)
	defer h.stop()
	late := (&durableSite{t: t, hosts: []*host{h}}).endpoint(0)
	require.NoError(t, connector.JoinAt(ctx, late, kept1, connector.Position{}))
	for n := range uint32(2) {
		ev := next(t, late)
		assert.Equal(t, n+1, ev.Msg.Seq)
		assert.EqualValues(t, 4242, ev.From.Cred.UID)
	}
	msgs := h.bridge.store.doStream(ctx, &streamOp{kind: streamFetch, group: kept1, seq: 2}).msgs
	require.Len(t, msgs, 1)
	assert.Equal(t, "host1", msgs[0].name)
}
