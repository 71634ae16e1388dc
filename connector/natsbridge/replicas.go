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
	groups, err := s.listStreams(ctx)
	if err != nil {
		return err
	}
	names := []string{s.bucketStream("hosts"), s.bucketStream("ids")}
	buckets := len(names)
	for group := range groups {
		names = append(names, s.streamName(group))
	}
	for i, name := range names {
		stream, err := s.js.Stream(ctx, name)
		switch {
		case i >= buckets && errors.Is(err, jetstream.ErrStreamNotFound):
			continue // it was ended
		case err != nil:
			return err
		}
		cfg := stream.CachedInfo().Config
		if cfg.Replicas >= want {
			continue
		}
		cfg.Replicas = want
		switch _, err := s.js.UpdateStream(ctx, cfg); {
		case isAPIError(err, noCluster):
			return nil
		case err != nil:
			return fmt.Errorf("%s is on %d, not on %d: %w", name, stream.CachedInfo().Config.Replicas, want, err)
		}
	}
	return nil
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
