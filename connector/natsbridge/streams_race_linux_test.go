package natsbridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// TestAStreamIsMadeWhileItIsDeleted, by hosts that do not know of each other: nats-server 2.15.2 ends with a panic when it makes
// a stream whose directory is being removed.
func TestAStreamIsMadeWhileItIsDeleted(t *testing.T) {
	e := startServer(t)
	var hosts []*natsStore
	for i := range 3 {
		nc := connectTo(t, e)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		cfg, err := config(e, i+1).withDefaults()
		require.NoError(t, err)
		s, err := openStore(t.Context(), js, cfg, func() error { return nil })
		require.NoError(t, err)
		hosts = append(hosts, s)
	}
	want := connector.History{Messages: 10, Durable: true}
	var wg sync.WaitGroup
	for i, s := range hosts {
		wg.Go(func() {
			for n := range 40 {
				op := streamOp{kind: streamOpen, group: 7, want: want}
				if (n+i)%3 == 0 {
					op.kind = streamDelete
				}
				r := s.doStream(context.Background(), &op)
				if !errors.Is(r.err, context.DeadlineExceeded) {
					assert.NoError(t, r.err)
				}
			}
		})
	}
	wg.Wait()

	var inside atomic.Int32
	for _, s := range hosts {
		wg.Go(func() {
			for range 5 {
				assert.NoError(t, s.alone(soon(t), 8, func(context.Context) error {
					assert.EqualValues(t, 1, inside.Add(1))
					_, err := s.js.AccountInfo(t.Context())
					inside.Add(-1)
					return err
				}))
			}
		})
	}
	wg.Wait()
}
