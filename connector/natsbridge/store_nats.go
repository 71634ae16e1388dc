package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// storeTime is how long one operation on the store may take.
	storeTime = 5 * time.Second
	// askAgain is after what time one who joins asks again for what may be there later.
	askAgain = 200 * time.Millisecond
	// storePause is how long an operation waits for a leader before it is tried again.
	storePause = 100 * time.Millisecond
)

// natsStore is the two buckets in JetStream.
type natsStore struct {
	nc       *nats.Conn
	site     string
	host     uint16 // when it is known
	auto     bool   // nobody has said on how many servers the store is to be
	replicas int    // on how many, while it is made
	js       jetstream.JetStream
	renewal  time.Duration // how long a renewal of the lease may take: the next one is due then
	buckets  map[bucket]jetstream.KeyValue
	refused  func() error // why the server does not even answer, if it has said so
	trying   func(error)
	names    *hostNames
}

// openStore opens the buckets of a site, and makes them if they are not there. They are read from the
// leader of the stream only: another server may be behind, and a lease that it does not know yet is no lease that has ended.
func openStore(ctx context.Context, js jetstream.JetStream, cfg *Config, refused func() error) (*natsStore, error) {
	site, lease := cfg.Site, cfg.Lease
	s := &natsStore{nc: js.Conn(), site: site, auto: cfg.Replicas == 0, js: js, refused: refused, trying: cfg.Trying, renewal: lease / renewals, buckets: make(map[bucket]jetstream.KeyValue), names: newHostNames()}
	if s.replicas = cfg.Replicas; s.auto {
		s.replicas = replicasOfCluster
	}
	for _, b := range []struct {
		bucket bucket
		name   string
		age    time.Duration
	}{{bucketHosts, "hosts", lease}, {bucketIDs, "ids", 0}} {
		name := s.bucketName(b.name)
		stream, err := s.open(ctx, name, b.age)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
		if age := stream.CachedInfo().Config.MaxAge; age != b.age {
			return nil, fmt.Errorf("bucket %s: its keys end after %v, but this host's lease is %v: all hosts of a site have the same lease", name, age, b.age)
		}
		if s.buckets[b.bucket], err = s.keys(ctx, name); err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	return s, nil
}

func (s *natsStore) bucketName(name string) string   { return "cnbus_" + s.site + "_" + name }
func (s *natsStore) bucketStream(name string) string { return "KV_" + s.bucketName(name) }

// open opens a bucket's stream. A cluster that is only starting has no leader yet: it is asked until ctx ends.
func (s *natsStore) open(ctx context.Context, name string, age time.Duration) (jetstream.Stream, error) {
	began := time.Now()
	for {
		once, cancel := context.WithTimeout(ctx, storeTime)
		stream, err := s.js.Stream(once, "KV_"+name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = s.js.CreateStream(once, bucketConfig(name, age, s.replicas))
		}
		cancel()
		if err == nil {
			return stream, nil
		}
		if s.fewer(err, began) {
			continue
		}
		if !passes(err) {
			return nil, err
		}
		if errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return nil, err
		}
		if why := s.refused(); why != nil {
			return nil, why
		}
		s.trying(fmt.Errorf("bucket %s of JetStream: %w", name, err))
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(askAgain):
		}
	}
}

// passes reports whether what failed, the opening of a stream or an operation, may work later with nobody doing anything.
func passes(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return true
	}
	switch api.ErrorCode {
	case 10052, 10074: // the configuration: more replicas than the server can have
		return false
	}
	if api.Code/100 != 4 {
		return true
	}
	return api.ErrorCode == jetstream.JSErrCodeStreamNameInUse || api.ErrorCode == noPeers
}

// keys are those of a bucket that is there: a server of a cluster that has just begun may know of it a little later than the one that made it.
func (s *natsStore) keys(ctx context.Context, name string) (jetstream.KeyValue, error) {
	for {
		once, cancel := context.WithTimeout(ctx, storeTime)
		kv, err := s.js.KeyValue(once, name)
		cancel()
		if err == nil || !errors.Is(err, jetstream.ErrBucketNotFound) && !passes(err) {
			return kv, err
		}
		s.trying(fmt.Errorf("bucket %s of JetStream: %w", name, err))
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(askAgain):
		}
	}
}

// bucketConfig is what jetstream.CreateKeyValue makes, but for AllowDirect.
func bucketConfig(name string, age time.Duration, replicas int) jetstream.StreamConfig {
	duplicates := 2 * time.Minute
	if age > 0 {
		duplicates = min(duplicates, age)
	}
	return jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, Description: "cnbus, docs/hosts.md",
		MaxMsgsPerSubject: 1, MaxBytes: -1, MaxMsgs: -1, MaxMsgSize: 4096, MaxConsumers: -1, MaxAge: age,
		Replicas: replicas, AllowRollup: true, DenyDelete: true, Duplicates: duplicates, Discard: jetstream.DiscardNew,
	}
}

// do is storeOp on the store; it waits for the answer. What no server has taken, as they are choosing a leader, is tried again, but for
// a deletion: a host that leaves does not wait for a leader, and else it is done later.
func (s *natsStore) do(ctx context.Context, op *storeOp) storeResult {
	patience := storeTime
	if op.bucket == bucketHosts && op.kind != storeDelete {
		patience = min(patience, s.renewal)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r := s.once(ctx, op)
		if op.kind == storeDelete || !errors.Is(r.err, jetstream.ErrNoStreamResponse) && !errors.Is(r.err, nats.ErrNoResponders) {
			return r
		}
		select {
		case <-ctx.Done():
			return r
		case <-time.After(storePause):
		}
	}
}

func (s *natsStore) once(ctx context.Context, op *storeOp) (r storeResult) {
	kv := s.buckets[op.bucket]
	switch op.kind {
	case storeGet:
		e, err := kv.Get(ctx, op.key)
		if r.err = err; err == nil {
			r.value, r.rev = e.Value(), e.Revision()
		}
	case storeCreate:
		r.rev, r.err = kv.Create(ctx, op.key, op.value)
	case storeUpdate:
		r.rev, r.err = kv.Update(ctx, op.key, op.value, op.rev)
	case storeDelete:
		r.err = kv.Purge(ctx, op.key, jetstream.LastRevision(op.rev))
	}
	switch {
	case errors.Is(r.err, jetstream.ErrKeyNotFound):
		r.err = errStoreNotFound
	case errors.Is(r.err, jetstream.ErrKeyExists), errors.Is(r.err, jetstream.ErrKeyRevisionMismatch):
		r.err = errStoreExists
	}
	return r
}
