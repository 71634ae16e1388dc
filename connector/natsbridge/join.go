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
	for i := 0; i < connector.MaxHost; {
		n := uint16((int(first)-1+i)%connector.MaxHost + 1)
		op := storeOp{kind: storeCreate, bucket: bucketIDs, key: numberKey(n), value: leaseValue(n, 0, name)}
		r := s.do(ctx, &op)
		if r.err == nil {
			return n, nil
		}
		if errors.Is(r.err, errStoreExists) {
			op = storeOp{kind: storeGet, bucket: bucketIDs, key: numberKey(n)}
			r = s.do(ctx, &op)
		}
		switch {
		case r.err == nil:
		case s.late(ctx, r.err):
			continue
		default:
			return 0, fmt.Errorf("host number: %w", r.err)
		}
		if v, err := parseNamed(r.value); err == nil && v.name == name {
			return n, nil
		}
		i++
	}
	return 0, errSiteFull
}

// late reports whether the store is to be asked again, after a pause: err may pass by itself, as while its servers choose a leader, and
// there is more time. It may have done what it was asked for.
func (s *natsStore) late(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !passes(err) || definite(streamFailure(err)) || s.nc.IsClosed() || s.refused() != nil {
		return false
	}
	why := "NATS"
	if errors.Is(err, context.DeadlineExceeded) {
		why = "NATS does not answer"
	}
	s.trying(fmt.Errorf("%s: %w", why, err))
	select {
	case <-ctx.Done():
		return false
	case <-time.After(askAgain):
		return true
	}
}

// flushed waits until the server has all that was sent, as flush does; NATS's client wants a deadline for that. A server that takes
// longer is asked again until ctx ends.
func (s *natsStore) flushed(ctx context.Context, flush func(context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, storeTime)
		err := flush(once)
		cancel()
		if err == nil || !s.late(ctx, err) {
			return err
		}
	}
}

// nameTaken is why a host does not join whose name another one has. It is an ErrDuplicate.
type nameTaken struct {
	name   string
	number uint16
}

func (e *nameTaken) Error() string {
	return fmt.Sprintf("a host named %s has joined the site already (number %d)", e.name, e.number)
}

func (e *nameTaken) Unwrap() error { return connector.ErrDuplicate }

// takeLease gets the lease of a host. One that is there may be of a run of it that has just ended: it is waited
// for, unless somebody renews it. The store ends it when it gets to it. That of this run is renewed. It counts from asked on.
func (s *natsStore) takeLease(ctx context.Context, number uint16, run uint64, name string, lease time.Duration) (rev uint64, asked time.Time, err error) {
	key, value := leaseKey(number), leaseValue(number, run, name)
	op := storeOp{kind: storeCreate, bucket: bucketHosts, key: key, value: value}
	var first uint64
	for {
		asked = time.Now()
		r := s.do(ctx, &op)
		if r.err == nil {
			return r.rev, asked, nil
		}
		op = storeOp{kind: storeCreate, bucket: bucketHosts, key: key, value: value}
		if errors.Is(r.err, errStoreExists) {
			r = s.do(ctx, &storeOp{kind: storeGet, bucket: bucketHosts, key: key})
		}
		switch {
		case errors.Is(r.err, errStoreNotFound), r.err != nil && s.late(ctx, r.err):
			continue
		case r.err != nil:
			return 0, asked, fmt.Errorf("lease: %w", r.err)
		}
		if v, err := parseNamed(r.value); err == nil && v.run == run { // what came too late was done
			op = storeOp{kind: storeUpdate, bucket: bucketHosts, key: key, value: value, rev: r.rev}
			continue
		}
		if first == 0 {
			first = r.rev
		}
		if r.rev != first {
			return 0, asked, &nameTaken{name, number}
		}
		s.trying(fmt.Errorf("a host named %s has joined the site already (number %d): if that was the last run of this one, its lease ends soon", name, number))
		select {
		case <-ctx.Done():
			return 0, asked, fmt.Errorf("lease: waiting for that of the host's last run to end: %w", ctx.Err())
		case <-time.After(lease / (4 * renewals)):
		}
	}
}

// hosts returns the numbers of the hosts that have a lease.
func (s *natsStore) hosts(ctx context.Context) (numbers []uint16, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	keys, err := s.buckets[bucketHosts].ListKeys(ctx)
	if err != nil {
		return nil, err
	}
	for key := range keys.Keys() {
		var n uint16
		if _, err := fmt.Sscanf(key, "h.%d", &n); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// meetTime is how long a host that joins waits for those that are there to know of it.
const meetTime = 2 * time.Second

// meet waits until the hosts of the site and this one know of each other. One that does not answer, whose
// lease may be all that is left of it, is not waited for.
func (g *Bridge) meet(ctx context.Context) {
	numbers, err := g.store.hosts(ctx)
	if err != nil {
		g.log.Debug("who is in the site", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	met := make(chan bool, 1)
	for ctx.Err() == nil {
		if !g.post(func() { met <- g.core.hasMet(numbers) }) {
			return
		}
		select {
		case all := <-met:
			if all {
				return
			}
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// hasMet reports whether those hosts are known, and know of this one.
func (c *core) hasMet(numbers []uint16) bool {
	for _, n := range numbers {
		if p := c.peers[n]; n != c.host && (p == nil || !p.reachable || len(p.link.unacked) > 0) {
			return false
		}
	}
	return true
}
