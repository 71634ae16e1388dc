package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/connector/broker"
)

// collector turns the broker's numbers into metrics when they are asked for.
type collector struct {
	b    *broker.Broker
	proc func() (procStat, bool)
	net  *agents.Agents
	site *joined
}

func newCollector(b *broker.Broker, proc func() (procStat, bool), net *agents.Agents, site *joined) *collector {
	return &collector{b, proc, net, site}
}

// metric is one value of the broker's Stat.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(*broker.StatRow) float64
}

func newMetric(kind prometheus.ValueType, name, help string, get func(*broker.StatRow) float64) metric {
	return metric{prometheus.NewDesc("cnbus_"+name, help, nil, nil), kind, get}
}

var brokerMetrics = []metric{
	newMetric(prometheus.GaugeValue, "clients", "Clients that are connected.", func(s *broker.StatRow) float64 { return float64(s.Clients) }),
	newMetric(prometheus.GaugeValue, "ids", "Ids that are registered.", func(s *broker.StatRow) float64 { return float64(s.IDs) }),
	newMetric(prometheus.GaugeValue, "groups", "Groups that have members or a history.", func(s *broker.StatRow) float64 { return float64(s.Groups) }),
	newMetric(prometheus.CounterValue, "connections_total", "Connections accepted.", func(s *broker.StatRow) float64 { return float64(s.Accepted) }),
	newMetric(prometheus.CounterValue, "connections_refused_total", "Connections refused by policy or limit.", func(s *broker.StatRow) float64 { return float64(s.Refused) }),
	newMetric(prometheus.CounterValue, "accept_errors_total", "Failures to accept a connection.", func(s *broker.StatRow) float64 { return float64(s.AcceptErrors) }),
	newMetric(prometheus.CounterValue, "violations_total", "Connections ended because the client broke the protocol.", func(s *broker.StatRow) float64 { return float64(s.Violations) }),
	newMetric(prometheus.CounterValue, "limited_total", "Requests refused by a limit.", func(s *broker.StatRow) float64 { return float64(s.Limited) }),
	newMetric(prometheus.CounterValue, "messages_sent_total", "Messages taken from clients.", func(s *broker.StatRow) float64 { return float64(s.Sent) }),
	newMetric(prometheus.CounterValue, "messages_delivered_total", "Messages queued for receivers.", func(s *broker.StatRow) float64 { return float64(s.Delivered) }),
	newMetric(prometheus.CounterValue, "messages_lost_total", "Messages dropped because a receiver was full; the receiver is told.", func(s *broker.StatRow) float64 { return float64(s.Lost) }),
	newMetric(prometheus.CounterValue, "senders_stopped_total", "Times a sender was told to wait for a full receiver.", func(s *broker.StatRow) float64 { return float64(s.Stops) }),
}

var (
	descFailed   = prometheus.NewDesc("cnbus_messages_failed_total", "Messages refused.", []string{"reason"}, nil)
	descDenied   = prometheus.NewDesc("cnbus_denied_total", "What agents were not let do for clients, by the key of the policy.", []string{"key"}, nil)
	descExceeded = prometheus.NewDesc("cnbus_limit_exceeded_total", "Times a user reached a limit.", []string{"uid", "limit"}, nil)
	descQueued   = prometheus.NewDesc("cnbus_queued_bytes", "Bytes that wait for the clients of a user.", []string{"uid"}, nil)
	descActive   = prometheus.NewDesc("cnbus_proc_active", "Whether the kernel's process events are subscribed to.", nil, nil)
	descEvents   = prometheus.NewDesc("cnbus_proc_events_total", "Process events received from the kernel.", nil, nil)
	descMissing  = prometheus.NewDesc("cnbus_proc_lost_total", "Process events missing in the kernel; subscribers are told.", nil, nil)
	descFilters  = prometheus.NewDesc("cnbus_proc_filters", "Filters of subscribers.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// scrapeTime is how long the broker may take to tell its figures: Prometheus waits for 10 s unless told otherwise.
const scrapeTime = 8 * time.Second

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	s, err := c.b.Stat(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(brokerMetrics[0].desc, err)
		return
	}
	for _, m := range brokerMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.get(&s))
	}
	for reason, n := range s.Failed {
		ch <- prometheus.MustNewConstMetric(descFailed, prometheus.CounterValue, float64(n), reason)
	}
	for key, n := range s.Denied {
		ch <- prometheus.MustNewConstMetric(descDenied, prometheus.CounterValue, float64(n), key)
	}
	for _, u := range s.Users {
		uid := uidLabel(u.UID)
		ch <- prometheus.MustNewConstMetric(descQueued, prometheus.GaugeValue, float64(u.QueuedBytes), uid)
		for limit, n := range u.Exceeded {
			ch <- prometheus.MustNewConstMetric(descExceeded, prometheus.CounterValue, float64(n), uid, limit)
		}
	}
	c.collectProc(ch)
	c.collectAgents(ch)
	c.collectSite(ctx, ch)
}

func (c *collector) collectProc(ch chan<- prometheus.Metric) {
	s, ok := c.proc()
	if !ok {
		return
	}
	active := 0.0
	if s.Active {
		active = 1
	}
	ch <- prometheus.MustNewConstMetric(descActive, prometheus.GaugeValue, active)
	ch <- prometheus.MustNewConstMetric(descEvents, prometheus.CounterValue, float64(s.Events))
	ch <- prometheus.MustNewConstMetric(descMissing, prometheus.CounterValue, float64(s.Lost))
	ch <- prometheus.MustNewConstMetric(descFilters, prometheus.GaugeValue, float64(s.Filters))
}
