package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// hostNumber finds the number of the host with that name, and keeps it for it.
func (s *natsStore) hostNumber(ctx context.Context, name string) (uint16, error) {
	first := firstNumber(name)
	for i := range connector.MaxHost {
		n := uint16((int(first)-1+i)%connector.MaxHost + 1)
		op := storeOp{kind: storeCreate, bucket: bucketIDs, key: numberKey(n), value: leaseValue(n, 0, name)}
		r := s.do(ctx, &op)
		if r.err == nil {
			return n, nil
		}
		if !errors.Is(r.err, errStoreExists) {
			return 0, fmt.Errorf("host number: %w", r.err)
		}
		op = storeOp{kind: storeGet, bucket: bucketIDs, key: numberKey(n)}
		if r = s.do(ctx, &op); r.err != nil {
			return 0, fmt.Errorf("host number: %w", r.err)
		}
		if v, err := parseNamed(r.value); err == nil && v.name == name {
			return n, nil
		}
	}
	return 0, errSiteFull
}

// takeLease gets the lease of a host. One that is there may be of a run of it that has just ended: it is waited
// for, unless somebody renews it.
func (s *natsStore) takeLease(ctx context.Context, number uint16, run uint64, name string, lease time.Duration) (rev uint64, err error) {
	value := leaseValue(number, run, name)
	end := time.Now().Add(2*lease + time.Second) // the store ends keys when it gets to it
	var first uint64
	for {
		op := storeOp{kind: storeCreate, bucket: bucketHosts, key: leaseKey(number), value: value}
		r := s.do(ctx, &op)
		if r.err == nil {
			return r.rev, nil
		}
		if !errors.Is(r.err, errStoreExists) {
			return 0, fmt.Errorf("lease: %w", r.err)
		}
		op = storeOp{kind: storeGet, bucket: bucketHosts, key: leaseKey(number)}
		r = s.do(ctx, &op)
		switch {
		case errors.Is(r.err, errStoreNotFound):
			continue
		case r.err != nil:
			return 0, fmt.Errorf("lease: %w", r.err)
		case first == 0:
			first = r.rev
		case r.rev != first || time.Now().After(end):
			return 0, fmt.Errorf("a host named %s has joined the site already (number %d): %w", name, number, connector.ErrDuplicate)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("lease: waiting for that of the host's last run to end: %w", ctx.Err())
		case <-time.After(lease / (4 * renewals)):
		}
	}
}
