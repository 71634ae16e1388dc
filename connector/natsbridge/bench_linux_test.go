package natsbridge

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// BenchmarkRemoteCall is a call from host to host, all in one process.
func BenchmarkRemoteCall(b *testing.B) {
	e := startServer(b)
	one, two := startHost(b, config(e, 1), 0), startHost(b, config(e, 2), 0)
	defer one.stop()
	defer two.stop()
	agent, caller := two.dial(b, "agent"), one.dial(b, "caller")
	defer agent.Close()
	defer caller.Close()
	id := cbid.Make(0x200, 1)
	h := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, d.Msg.Data) })
	require.NoError(b, connector.AddSiteCallback(b.Context(), agent, id, "echo", h, connector.SiteOptions{}))
	ep, err := caller.Endpoint(b.Context())
	require.NoError(b, err)
	m := connector.Message{ID: id, Data: make([]byte, 128)}
	b.ReportAllocs()
	for b.Loop() {
		_, err := ep.Call(b.Context(), m, connector.Dest{})
		require.NoError(b, err)
	}
}

// BenchmarkGroup is a group message from host to host.
func BenchmarkGroup(b *testing.B) {
	e := startServer(b)
	one, two := startHost(b, config(e, 1), 0), startHost(b, config(e, 2), 0)
	defer one.stop()
	defer two.stop()
	sender, receiver := one.dial(b, "sender"), two.dial(b, "receiver")
	defer sender.Close()
	defer receiver.Close()
	to, err := receiver.Endpoint(b.Context())
	require.NoError(b, err)
	require.NoError(b, to.Join(b.Context(), 0x200))
	ep, err := sender.Endpoint(b.Context())
	require.NoError(b, err)
	m := connector.Message{ID: cbid.Make(0x200, 1), Data: make([]byte, 128)}
	const burst = 256
	b.ReportAllocs()
	lost := uint64(0)
	for b.Loop() {
		for range burst {
			require.NoError(b, ep.Post(b.Context(), m, connector.Dest{Group: 0x200, Full: connector.FullWait}))
		}
		for got := uint64(0); got < burst; {
			ev, err := to.Recv(b.Context())
			require.NoError(b, err)
			switch ev.Kind {
			case connector.EventMessage:
				got++
			case connector.EventLost:
				got += ev.Lost
				lost += ev.Lost
			}
		}
	}
	require.Zero(b, lost)
	b.ReportMetric(burst, "messages/op")
}
