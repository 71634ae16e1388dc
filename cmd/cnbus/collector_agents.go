package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// agentMetric is one value of an agent's Stats.
type agentMetric[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(*T) float64
}

func gauge[T any](name, help string, get func(*T) float64) agentMetric[T] {
	return agentMetric[T]{prometheus.NewDesc("cnbus_"+name, help, nil, nil), prometheus.GaugeValue, get}
}

func counter[T any](name, help string, get func(*T) uint64) agentMetric[T] {
	return agentMetric[T]{
		prometheus.NewDesc("cnbus_"+name, help, nil, nil), prometheus.CounterValue, func(s *T) float64 { return float64(get(s)) },
	}
}

var sockMetrics = []agentMetric[tsagent.Stats]{
	gauge("sock_sockets", "Sockets that are open for clients.", func(s *tsagent.Stats) float64 { return float64(s.Sockets) }),
	gauge("sock_owners", "Clients that have sockets.", func(s *tsagent.Stats) float64 { return float64(s.Owners) }),
	counter("sock_opened_total", "Sockets opened.", func(s *tsagent.Stats) uint64 { return s.Opened }),
	counter("sock_requests_total", "Requests to the agent of sockets.", func(s *tsagent.Stats) uint64 { return s.Requests }),
	counter("sock_failed_total", "Requests that failed.", func(s *tsagent.Stats) uint64 { return s.Failed }),
	counter("sock_events_total", "Messages to owners of sockets.", func(s *tsagent.Stats) uint64 { return s.Events }),
	counter("sock_received_bytes_total", "Bytes received for clients.", func(s *tsagent.Stats) uint64 { return s.BytesIn }),
	counter("sock_sent_bytes_total", "Bytes sent for clients.", func(s *tsagent.Stats) uint64 { return s.BytesOut }),
	counter("sock_received_datagrams_total", "Datagrams received for clients.", func(s *tsagent.Stats) uint64 { return s.DatagramsIn }),
	counter("sock_sent_datagrams_total", "Datagrams sent for clients.", func(s *tsagent.Stats) uint64 { return s.DatagramsOut }),
}

var rxMetrics = []agentMetric[agents.RxStats]{
	gauge("rx_sockets", "RxRPC sockets that are open for clients.", func(s *agents.RxStats) float64 { return float64(s.Sockets) }),
	gauge("rx_owners", "Clients that have RxRPC sockets.", func(s *agents.RxStats) float64 { return float64(s.Owners) }),
	gauge("rx_calls", "RxRPC calls in progress.", func(s *agents.RxStats) float64 { return float64(s.Calls) }),
	gauge("rx_connections", "RxRPC connections.", func(s *agents.RxStats) float64 { return float64(s.Conns) }),
	gauge("rx_peers", "RxRPC peers that something is known of.", func(s *agents.RxStats) float64 { return float64(s.Peers) }),
	counter("rx_requests_total", "Requests to the RxRPC agent.", func(s *agents.RxStats) uint64 { return s.Requests }),
	counter("rx_refused_total", "Requests that were refused.", func(s *agents.RxStats) uint64 { return s.Refused }),
	counter("rx_events_total", "Messages to owners of RxRPC sockets.", func(s *agents.RxStats) uint64 { return s.Events }),
	counter("rx_received_bytes_total", "Bytes of RxRPC calls given to clients.", func(s *agents.RxStats) uint64 { return s.EventBytes }),
	counter("rx_sent_bytes_total", "Bytes of RxRPC calls sent by clients.", func(s *agents.RxStats) uint64 { return s.SentBytes }),
}

func collect[T any](ch chan<- prometheus.Metric, list []agentMetric[T], s *T) {
	for _, m := range list {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.get(s))
	}
}

func (c *collector) collectAgents(ch chan<- prometheus.Metric) {
	if s, ok := c.net.Sock.Stats(); ok {
		collect(ch, sockMetrics, &s)
	}
	if s, ok := c.net.Rx.Stats(); ok {
		collect(ch, rxMetrics, &s)
	}
}
