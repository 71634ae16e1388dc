// Package agents starts the agents of sockets and of RxRPC on a bus, as they live in the process of
// cnbus serve:
//
//	the bus ── tsocket agent ── the kernel's sockets
//	   └────── RxRPC agent ── loopback bus ── tsocket agent ── a UDP socket
//
// The RxRPC agent has its UDP sockets from a tsocket agent of its own, to which nobody else can speak.
package agents

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// Allow says whether an agent may do something for a client; see broker.Broker.Allow.
type Allow func(from connector.From, a broker.Access) error

// Quota says how much an agent may hold for each user; see broker.Broker.Limits.
type Quota interface {
	Limits(uid uint32) broker.Limits
	Exceeded(cred connector.Cred, what string, limit int64)
}

// Config says which agents there are.
type Config struct {
	// Open gives a place on the bus; one for each agent.
	Open func(ctx context.Context) (connector.Bus, error)
	// OpenRx is Open for the agent of RxRPC, which gains from one that runs callbacks where messages arrive; nil: Open.
	OpenRx func(ctx context.Context) (connector.Bus, error)

	NoSock, NoRx bool   // there is no such agent
	RxPort       uint16 // from which calls leave that want no port of their own; 0: any
	Allow        Allow  // nil: everybody may everything
	Quota        Quota  // nil: the agents' own limits
	Log          *slog.Logger
}

// Agents are the agents that run.
type Agents struct {
	Sock *SockAgent
	Rx   *RxAgent
}

// ErrOff is why an agent is not there that nobody wants.
var ErrOff = errors.New("switched off")

// Start starts the agents. What cannot be started is not there, and says why.
func Start(ctx context.Context, cfg Config) *Agents {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Allow == nil {
		cfg.Allow = func(connector.From, broker.Access) error { return nil }
	}
	var udp atomic.Pointer[inside] // there a little later
	a := &Agents{Sock: startSock(ctx, &cfg, func() []tsagent.SocketInfo { return udp.Load().sockets() })}
	a.Rx = startRx(ctx, &cfg)
	udp.Store(a.Rx.udp)
	return a
}

// Stop ends the agents: calls first, then the sockets that they use. It may be called twice.
func (a *Agents) Stop() {
	a.Rx.stop()
	a.Sock.stop()
}

// SockAgent is the agent of sockets.
type SockAgent struct {
	Err   error // why there is none
	agent *tsagent.Agent
	bus   connector.Bus
	log   *slog.Logger
}

// startSock starts the agent of sockets, which tells of others besides its own.
func startSock(ctx context.Context, cfg *Config, others func() []tsagent.SocketInfo) *SockAgent {
	if cfg.NoSock {
		return &SockAgent{Err: ErrOff}
	}
	bus, err := cfg.Open(ctx)
	if err != nil {
		return &SockAgent{Err: err}
	}
	c := tsagent.Config{Policy: sockPolicy{cfg.Allow}, Others: others, Logger: cfg.Log}
	if cfg.Quota != nil {
		c.Quota, c.SocketsPerOwner = sockQuota{cfg.Quota}, math.MaxInt32
	}
	a, err := tsagent.New(ctx, bus, &c)
	if err != nil {
		bus.Close()
		return &SockAgent{Err: err}
	}
	return &SockAgent{agent: a, bus: bus, log: cfg.Log}
}

// Stats returns its counts; false without an agent.
func (s *SockAgent) Stats() (tsagent.Stats, bool) {
	if s.agent == nil {
		return tsagent.Stats{}, false
	}
	return s.agent.Stats(), true
}

// Site offers it to the other hosts of a site that the broker has joined as number host, under that name.
func (s *SockAgent) Site(ctx context.Context, host uint32, name string) error {
	return s.agent.Site(ctx, host, name)
}

func (s *SockAgent) stop() {
	if s == nil || s.agent == nil {
		return
	}
	if err := s.agent.Close(); err != nil && !errors.Is(err, connector.ErrClosed) {
		s.log.Debug("end of the tsocket agent", "err", err)
	}
	s.bus.Close()
}
