package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// replicasOfCluster is how many servers of a cluster keep a site's store if nobody has said another number: any one of them may go.
	replicasOfCluster = 3
	// fewServers is how long the creation of a store waits for servers of the cluster that are not there, if nobody has said that there must be
	// so many.
	fewServers = 10 * time.Second
	// spreadAgain and spreadMost are how often, and how long, a host that joins tries to have a store on more servers.
	spreadAgain = 3 * time.Second
	spreadMost  = time.Minute

	// noPeers is JetStream's error code for servers of the cluster that are not there (yet): "no suitable peers for placement".
	noPeers = 10005
	// noCluster is that for a server which is none of a cluster: "replicas > 1 not supported in non-clustered mode".
	noCluster = 10074
)

func isAPIError(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// replicasNow is how many servers are to keep a stream that is made now: with nobody's word as many as the store.
func (s *natsStore) replicasNow(ctx context.Context) (int, error) {
	if !s.auto {
		return s.replicas, nil
	}
	stream, err := s.js.Stream(ctx, s.bucketStream("ids"))
	if err != nil {
		return 0, fmt.Errorf("the site's store: %v", err) // not %w: it is not the stream that is to be made that is missing
	}
	return stream.CachedInfo().Config.Replicas, nil
}

// fewer reports whether the store is to be content with one server, after err at an attempt to have it on more that began then.
func (s *natsStore) fewer(err error, began time.Time) bool {
	if !s.auto || s.replicas == 1 {
		return false
	}
	if passes(err) && !isAPIError(err, noCluster) && (!isAPIError(err, noPeers) || time.Since(began) < fewServers) {
		return false
	}
	s.replicas = 1
	return true
}

// spread has the streams of the site on as many servers as are wanted. They may have been made by a host that wanted fewer, or
// while there were fewer.
func (s *natsStore) spread(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	want := s.replicas
	if s.auto {
		want = replicasOfCluster
	}
	for _, name := range []string{s.bucketStream("hosts"), s.bucketStream("ids")} {
		if err := s.raise(ctx, name, want); isAPIError(err, noCluster) {
			return nil
		} else if err != nil {
			return err
		}
	}
	groups, err := s.listStreams(ctx) // who makes one from now on reads the number of the store
	if err != nil {
		return err
	}
	for group := range groups {
		err := s.alone(ctx, group, func(ctx context.Context) error { return s.raise(ctx, s.streamName(group), want) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) { // it was ended
			return err
		}
	}
	return nil
}

// raise has one stream on as many servers as are wanted, or more.
func (s *natsStore) raise(ctx context.Context, name string, want int) error {
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	has := cfg.Replicas
	if has >= want {
		return nil
	}
	cfg.Replicas = want
	if _, err = s.js.UpdateStream(ctx, cfg); err != nil {
		err = fmt.Errorf("%s is on %d, not on %d: %w", name, has, want, err)
	}
	return err
}

// spread tries natsStore.spread for a while.
func (g *Bridge) spread() {
	ctx, cancel := context.WithTimeout(g.ctx, spreadMost)
	defer cancel()
	t := time.NewTicker(spreadAgain)
	defer t.Stop()
	var last error
	for {
		err := g.store.spread(ctx)
		if err == nil || g.ctx.Err() != nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-t.C:
			g.log.Debug("servers of the site's store", "err", err)
		case <-ctx.Done():
			if g.ctx.Err() == nil {
				g.log.Warn("the site's store is on fewer NATS servers than it should be", "err", last)
			}
			return
		}
	}
}
