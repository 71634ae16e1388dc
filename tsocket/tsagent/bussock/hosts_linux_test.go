package bussock_test

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// hosts returns a client of each of two brokers that have joined.
func hosts(t testing.TB) [2]*client.Bus {
	quiet := slog.New(slog.DiscardHandler)
	e, err := natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{Name: "test", Store: t.TempDir(), Log: quiet})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	var buses [2]*client.Bus
	for i := range buses {
		path := socketPath(t)
		policy, err := broker.ParsePolicy(`
[[rule]]
uid = ["*"]
register = ["*"]
send = ["*"]
join = ["*"]
unicast = true
`)
		require.NoError(t, err)
		b, err := broker.New(&broker.Config{Socket: path, HistoryDir: "-", Drain: time.Second, Policy: policy, Log: quiet})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- b.Serve(ctx) }()
		t.Cleanup(func() { cancel(); assert.NoError(t, <-served) })
		bridge, err := natsbridge.Join(soon(t), b, &natsbridge.Config{
			Host: fmt.Sprintf("host%d", i), Server: e, SameUsers: true, Log: quiet,
			SiteWide: func(cbid.ID) bool { return true },
		})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, bridge.Close(soon(t))) })
		buses[i] = dial(t, path)
	}
	return buses
}

// The rules between two hosts, whose brokers have joined through NATS.
func TestBetweenHosts(t *testing.T) {
	buses := hosts(t)
	n, m := node(t, buses[0], nil), node(t, buses[1], nil)
	l, err := m.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	// A NATS server has goroutines and descriptors as it likes.
	noise := []string{"github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1", "github.com/nats-io/nats.go.(*Conn).waitForMsgs"}
	tstest.TestStreams(t, tstest.Streams{Ignore: append(noise, ignored...), Pair: func(t testing.TB) (a, b *tsocket.Stream) {
		a, err := n.Dial(soon(t), listenID)
		require.NoError(t, err)
		b, err = l.Accept(soon(t))
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		return a, b
	}})

	d, err := n.Dgram(&bussock.DgramConfig{Number: 7})
	require.NoError(t, err)
	e, err := m.Dgram(nil)
	require.NoError(t, err)
	_, err = n.Publish(soon(t), dialedID, "d", d)
	require.NoError(t, err)
	at, err := m.Lookup(soon(t), dialedID)
	require.NoError(t, err)
	_, err = e.SendTo(soon(t), []byte("there"), at)
	require.NoError(t, err)
	b := make([]byte, 10)
	k, from, err := d.RecvFrom(soon(t), b)
	require.NoError(t, err)
	assert.Equal(t, "there", string(b[:k]))
	_, err = d.SendTo(soon(t), []byte("back"), from)
	require.NoError(t, err)
	k, _, err = e.RecvFrom(soon(t), b)
	require.NoError(t, err)
	assert.Equal(t, "back", string(b[:k]))

	s, err := n.Dial(soon(t), listenID)
	require.NoError(t, err)
	defer s.Close()
	reading := s.ReadvSend(soon(t), make([]byte, 1))
	require.NoError(t, buses[1].Close())
	_, err = reading.Wait(soon(t))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
