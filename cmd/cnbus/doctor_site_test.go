package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/natsbridge"
)

func TestDoctorJudgesTheSite(t *testing.T) {
	self := natsbridge.HostRow{Number: 7, Name: "one", State: natsbridge.StateSelf, Lease: 14 * time.Second, Server: "nats://x"}
	with := func(f func(*natsbridge.HostRow)) natsbridge.HostRow {
		r := self
		f(&r)
		return r
	}
	away := natsbridge.HostRow{Number: 8, Name: "two", State: "unreachable", IDs: 3, Lease: 2 * time.Second, Lost: 5}
	for _, c := range []struct {
		rows []natsbridge.HostRow
		want []finding
	}{
		{[]natsbridge.HostRow{self}, []finding{{"site", statusOK, "host one, number 7, of 1 host by nats://x, lease for 14.0s", ""}}},
		{
			[]natsbridge.HostRow{with(func(r *natsbridge.HostRow) {
				r.State, r.Why = natsbridge.StateJoining, "a host named one has joined the site already"
			})},
			[]finding{{"site", statusFail, "not joined: a host named one has joined the site already", "another by --host"}},
		},
		{
			[]natsbridge.HostRow{with(func(r *natsbridge.HostRow) { r.State, r.Why = natsbridge.StateSuspended, "the lease has ended" }), away},
			[]finding{
				{"site", statusFail, "the lease has ended: site-wide ids", "majority"},
				{"site", statusWarn, "two is unreachable: its 3 ids are unknown, and gone in 2.0s", "look at its broker's log"},
				{"site", statusWarn, "5 group messages of two were lost", "confirmation"},
			},
		},
		{
			[]natsbridge.HostRow{with(func(r *natsbridge.HostRow) { r.State, r.Why = natsbridge.StateDisconnected, "no connection" })},
			[]finding{{"site", statusFail, "no connection; the lease lasts 14.0s more", "NATS server up"}},
		},
		{
			[]natsbridge.HostRow{with(func(r *natsbridge.HostRow) { r.Why = "the store does not do its work for the durable group 768" })},
			[]finding{{"site", statusOK, "host one", ""}, {"site", statusWarn, "durable group 768", "--replicas"}},
		},
		{
			[]natsbridge.HostRow{with(func(r *natsbridge.HostRow) { r.Refused, r.Dropped = 3, 4 })},
			[]finding{{"site", statusOK, "host one", ""}, {"site", statusWarn, "3 payloads on the site's subjects were refused", "stranger"}, {"site", statusWarn, "4 payloads were dropped", "too slow"}},
		},
	} {
		r := &report{}
		judgeSite(r, c.rows)
		require.Len(t, r.findings, len(c.want), "%+v", r.findings)
		for i, want := range c.want {
			got := r.findings[i]
			assert.Equal(t, want.Status, got.Status)
			assert.Contains(t, got.Text, want.Text)
			assert.Contains(t, got.Advice, want.Advice)
		}
	}
	for why, want := range map[string]string{
		"bucket cnbus_main_hosts of JetStream: nats: no responders": "jetstream {}",
		"NATS at nats://x: nats: no servers available":              "NATS server up",
		"NATS at nats://x: nats: Authorization Violation":           "--nats-creds",
		"NATS at tls://x: x509: certificate has expired":            "clocks",
		"bucket x: its keys end after 15s: the same lease":          "--lease",
		"who knows": "its log",
	} {
		assert.Contains(t, joinAdvice(why), want, why)
	}
}
