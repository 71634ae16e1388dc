package natsbridge

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
)

// TestJoinSaysWhyItTakesTime: a server without JetStream, and none at all, are named while Join tries.
func TestJoinSaysWhyItTakesTime(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(time.Minute))
	t.Cleanup(s.Shutdown)
	for url, want := range map[string]string{s.ClientURL(): "bucket cnbus_main_hosts of JetStream", "nats://127.0.0.1:1": "NATS at nats://127.0.0.1:1"} {
		ctx, cancel := context.WithCancel(t.Context())
		var said error
		_, err = Join(ctx, &broker.Broker{}, &Config{Host: "a", URL: url, Log: quiet, Trying: func(err error) {
			said = err
			cancel()
		}})
		cancel()
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorContains(t, said, want)
	}
}
