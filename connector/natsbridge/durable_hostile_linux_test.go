package natsbridge

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// storedPacket is a message as a stream has it.
func storedPacket(host uint16, run uint64, record []byte) []byte {
	h := packetHeader{kind: packetDurable, host: host, run: run, seq: 1}
	b := make([]byte, packetHeaderLen)
	h.put(b)
	return append(b, record...)
}

// FuzzStored: whatever is in a stream is a message of the host of its subject, or nothing.
func FuzzStored(f *testing.F) {
	send := appendSend(nil, port(3), connector.Cred{UID: 1}, message(0, 7, 1))
	f.Add(uint16(3), storedPacket(3, 9, send))
	f.Add(uint16(1), storedPacket(1, 9, appendSend(nil, port(1), connector.Cred{}, message(0, 7, 2))))
	f.Add(uint16(2), storedPacket(3, 9, send))
	f.Add(uint16(3), storedPacket(3, 9, append(send, send...)))
	f.Add(uint16(3), storedPacket(3, 9, appendSend(nil, port(3), connector.Cred{}, message(0, 8, 1))))
	f.Add(uint16(3), storedPacket(3, 9, appendSend(nil, port(3), connector.Cred{}, message(1, 0, 1))))
	f.Fuzz(func(t *testing.T, host uint16, b []byte) {
		s := newSim(t, 1, 1)
		s.start()
		c := s.hosts[0].core
		c.log = slog.New(slog.DiscardHandler)
		got := c.parseStored(7, &streamMsg{seq: 5, host: host, data: b})
		require.EqualValues(t, 5, got.Pos)
		if got.Frame == nil {
			require.Equal(t, stored{Pos: 5}, got)
			require.NotZero(t, c.stats.Refused)
			return
		}
		require.NoError(t, checkSend(got.Frame))
		require.EqualValues(t, 7, groupOf(got.Frame))
		require.EqualValues(t, host, connector.HostOf(got.Port))
	})
}

// TestAStrangerWritesIntoAStream: what is no message is told as lost, at its place.
func TestAStrangerWritesIntoAStream(t *testing.T) {
	e := startServer(t)
	s := newDurableSite(t, e, 2)
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	member, sender := s.endpoint(1), s.endpoint(0)
	require.NoError(t, member.Join(ctx, kept1))
	nc := connectTo(t, e)
	to := connector.Dest{Group: kept1}
	require.NoError(t, sender.Send(ctx, counted(1), to))
	own := uint16(s.hosts[0].bridge.Number())
	for _, bad := range []struct {
		host uint16
		data []byte
	}{
		{77, []byte("hello")},
		{own, storedPacket(own, 1, []byte("nonsense"))},
		{78, storedPacket(own, 1, appendSend(nil, connector.SitePort(uint32(own), 1), connector.Cred{}, message(0, kept1, 1)))},
	} {
		_, err := nc.RequestWithContext(ctx, fmt.Sprintf("cnbus.main.d.%d.%d", kept1, bad.host), bad.data)
		require.NoError(t, err)
	}
	// One of them is now the last message under the host's own subject.
	require.NoError(t, sender.Send(ctx, counted(5), to))
	wants(t, member, 1, 1)
	lost := uint64(0)
	for lost < 3 {
		ev, err := member.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, connector.EventLost, ev.Kind)
		assert.False(t, ev.Unknown)
		lost += ev.Lost
	}
	wants(t, member, 5, 5)
}

// TestAnAgentMakesItsGroupDurable: for the whole site, also for hosts that come later, and ends that.
func TestAnAgentMakesItsGroupDurable(t *testing.T) {
	s := newDurableSite(t, startServer(t), 2)
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id := cbid.Make(0x500, 1)
	agent := s.hosts[0].dial(t, "agent")
	defer agent.Close()
	require.ErrorIs(t, connector.SetHistory(ctx, agent, id.Idx, connector.History{Messages: 100, Durable: true}), connector.ErrPermission)
	none := connector.HandlerFunc(func(context.Context, *connector.Delivery) {})
	require.NoError(t, agent.AddCallback(ctx, id, "agent", none))
	require.ErrorIs(t, connector.SetHistory(ctx, agent, id.Idx, connector.History{Durable: true}), connector.ErrInvalid)
	member := s.endpoint(1)
	require.NoError(t, member.Join(ctx, id.Idx))
	require.NoError(t, connector.SetHistory(ctx, agent, id.Idx, connector.History{Messages: 3, Durable: true}))
	to := connector.Dest{Group: id.Idx}
	for n := range uint32(5) {
		require.NoError(t, agent.Send(ctx, counted(n+1), to))
		wants(t, member, n+1, n+1) // the store keeps three
	}

	late := newDurableSite(t, s.e, 0)
	late.hosts = append(late.hosts, nil, nil, nil)
	late.dir = t.TempDir()
	late.start(2)
	defer late.hosts[2].stop()
	ep := late.endpoint(2)
	require.NoError(t, connector.JoinAt(ctx, ep, id.Idx, connector.Position{}))
	wants(t, ep, 3, 5)
	require.NoError(t, connector.SetHistory(ctx, agent, id.Idx, connector.History{Messages: 10, Durable: true}), "other bounds")
	require.NoError(t, agent.Send(ctx, counted(6), to))
	wants(t, ep, 6, 6)
	again := late.endpoint(2)
	require.NoError(t, connector.JoinAt(ctx, again, id.Idx, connector.Position{}))
	wants(t, again, 3, 6)

	require.NoError(t, connector.SetHistory(ctx, agent, id.Idx, connector.History{}))
	for {
		// Whoever is told later that it has ended delivers without a position.
		require.NoError(t, connector.Post(ctx, agent, counted(7), to))
		short, end := context.WithTimeout(ctx, 200*time.Millisecond)
		ev, err := ep.Recv(short)
		end()
		if err == nil && ev.Kind == connector.EventMessage && ev.Pos == 0 {
			break
		}
		require.NoError(t, ctx.Err())
	}
}
