package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// aloneAgain is how long after a refusal the key of a stream is asked for again.
const aloneAgain = 20 * time.Millisecond

func aloneKey(group uint32) string { return fmt.Sprintf("s.%d", group) }

// alone does what makes, changes or deletes the stream of a group, while no other host does either: a server that makes a stream while it
// deletes the one before of that name may end (nats-server 2.15.2: newFileStore). Who does has a key in the bucket of leases, which
// ends by itself if nobody knows whether that has been done.
func (s *natsStore) alone(ctx context.Context, group uint32, do func(context.Context) error) error {
	key := aloneKey(group)
	for {
		began := time.Now() // before the key is there, as it ends by itself
		r := s.do(ctx, &storeOp{kind: storeCreate, bucket: bucketHosts, key: key, value: leaseValue(s.host, 0, "-")})
		if r.err == nil {
			once, cancel := context.WithDeadline(ctx, began.Add(s.renewal*renewals/2))
			err := do(once)
			cancel()
			var api *jetstream.APIError
			if err == nil || errors.As(err, &api) {
				s.do(ctx, &storeOp{kind: storeDelete, bucket: bucketHosts, key: key, rev: r.rev})
			}
			return err
		}
		if !errors.Is(r.err, errStoreExists) {
			return r.err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another host makes or deletes the stream of group %d: %w", group, ctx.Err())
		case <-time.After(aloneAgain):
		}
	}
}
