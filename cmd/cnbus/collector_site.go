package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cnbus/cnbus/connector/natsbridge"
)

// siteMetric is one value of a host of the site, with its name as label.
type siteMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(*natsbridge.HostRow) float64
}

func newSiteMetric(kind prometheus.ValueType, name, help string, get func(*natsbridge.HostRow) float64) siteMetric {
	return siteMetric{prometheus.NewDesc("cnbus_site_"+name, help, []string{"host"}, nil), kind, get}
}

// peerMetrics are of each other host, selfMetrics of the own one.
var (
	peerMetrics = []siteMetric{
		newSiteMetric(prometheus.GaugeValue, "reachable", "Whether the host can be reached.", func(r *natsbridge.HostRow) float64 { return truth(r.State == "reachable") }),
		newSiteMetric(prometheus.GaugeValue, "round_trip_seconds", "Time of the last packet there and back; 0: not measured.", func(r *natsbridge.HostRow) float64 { return r.RTT.Seconds() }),
		newSiteMetric(prometheus.GaugeValue, "heard_seconds", "Time since the host was last heard of.", func(r *natsbridge.HostRow) float64 { return r.Heard.Seconds() }),
		newSiteMetric(prometheus.GaugeValue, "unacknowledged", "Packets on their way to the host.", func(r *natsbridge.HostRow) float64 { return float64(r.Unacked) }),
		newSiteMetric(prometheus.CounterValue, "resent_total", "Packets to the host that had to be sent again.", func(r *natsbridge.HostRow) float64 { return float64(r.Resent) }),
	}
	selfMetrics = []siteMetric{
		newSiteMetric(prometheus.GaugeValue, "joined", "Whether this host is in its site, with a lease and a connection to NATS.", func(r *natsbridge.HostRow) float64 { return truth(r.State == natsbridge.StateSelf) }),
		newSiteMetric(prometheus.CounterValue, "refused_total", "Payloads and records of others that were refused.", func(r *natsbridge.HostRow) float64 { return float64(r.Refused) }),
		newSiteMetric(prometheus.CounterValue, "failed_total", "Messages told as failed because their host was given up.", func(r *natsbridge.HostRow) float64 { return float64(r.Failed) }),
		newSiteMetric(prometheus.CounterValue, "dropped_total", "Payloads that NATS did not take or that were not read in time.", func(r *natsbridge.HostRow) float64 { return float64(r.Dropped) }),
	}
	hostMetrics = []siteMetric{ // of both
		newSiteMetric(prometheus.GaugeValue, "lease_seconds", "What is left of the host's lease.", func(r *natsbridge.HostRow) float64 { return r.Lease.Seconds() }),
		newSiteMetric(prometheus.GaugeValue, "ids", "Ids of the host that are registered for the site.", func(r *natsbridge.HostRow) float64 { return float64(r.IDs) }),
		newSiteMetric(prometheus.GaugeValue, "groups", "Groups with members on the host.", func(r *natsbridge.HostRow) float64 { return float64(r.Groups) }),
		newSiteMetric(prometheus.CounterValue, "messages_received_total", "Messages from the host; of the own one: from all others.", func(r *natsbridge.HostRow) float64 { return float64(r.In) }),
		newSiteMetric(prometheus.CounterValue, "messages_sent_total", "Messages to the host; of the own one: to all others.", func(r *natsbridge.HostRow) float64 { return float64(r.Out) }),
		newSiteMetric(prometheus.CounterValue, "received_bytes_total", "Bytes from the host; of the own one: from all others.", func(r *natsbridge.HostRow) float64 { return float64(r.BytesIn) }),
		newSiteMetric(prometheus.CounterValue, "sent_bytes_total", "Bytes to the host; of the own one: to all others.", func(r *natsbridge.HostRow) float64 { return float64(r.BytesOut) }),
		newSiteMetric(prometheus.CounterValue, "group_lost_total", "Group messages of the host that did not arrive, told to members; of the own one: of all others.", func(r *natsbridge.HostRow) float64 { return float64(r.Lost) }),
	}
)

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (c *collector) collectSite(ctx context.Context, ch chan<- prometheus.Metric) {
	rows, err := c.site.hosts(ctx)
	if err != nil {
		return // it is leaving
	}
	for i := range rows {
		lists := [][]siteMetric{hostMetrics, peerMetrics}
		if i == 0 {
			lists[1] = selfMetrics
		}
		for _, list := range lists {
			for _, m := range list {
				ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.get(&rows[i]), rows[i].Name)
			}
		}
	}
}
