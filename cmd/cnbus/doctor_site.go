package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// checkSite looks at the site that the broker has joined, or should have.
func checkSite(ctx context.Context, r *report, bus *client.Bus) {
	const check = "site"
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		r.warn(check, err.Error(), "")
		return
	}
	defer ep.Close()
	rows, err := natsbridge.QueryHosts(ctx, ep)
	switch {
	case errors.Is(err, connector.ErrNoID):
		return // of one host: nothing is wrong with that
	case err != nil:
		r.warn(check, err.Error(), "see cnbus policy show: 'cnbus hosts' needs send for "+natsbridge.HostsID.String())
		return
	case len(rows) == 0:
		return
	}
	judgeSite(r, rows)
}

// judgeSite says what the rows of 'cnbus hosts' mean.
func judgeSite(r *report, rows []natsbridge.HostRow) {
	const check = "site"
	self := &rows[0]
	switch self.State {
	case natsbridge.StateJoining:
		r.fail(check, "not joined: "+self.Why, joinAdvice(self.Why))
		return
	case natsbridge.StateSuspended:
		r.fail(check, self.Why+": site-wide ids of this host count for itself only", "is the NATS server well? its store needs a majority of its servers; the broker's log says what failed")
	case natsbridge.StateDisconnected:
		r.fail(check, fmt.Sprintf("%s; the lease lasts %s more", self.Why, seconds(self.Lease)), "is the NATS server up, and the way to it open?")
	default:
		r.ok(check, "host %s, number %d, of %s by %s, lease for %s", self.Name, self.Number, plural(len(rows), "host"), self.Server, seconds(self.Lease))
		if self.Why != "" {
			r.warn(check, self.Why, "has the NATS server's account room, and JetStream as many servers as --replicas says? what waits for the store is in the brokers meanwhile")
		}
	}
	for _, w := range siteWords(rows)[min(1, len(self.Why)):] {
		r.warn(check, w, "if the host is up, it does not reach NATS, or is stopped: look at its broker's log")
	}
	for i := range rows[1:] {
		if h := &rows[1+i]; h.Lost > 0 {
			r.warn(check, fmt.Sprintf("%s group messages of %s were lost on the way, and told", cli.Count(h.Lost), h.Name), "send what must arrive with a confirmation; look for slow consumers at the NATS server")
		}
	}
	if self.Refused > 0 {
		r.warn(check, fmt.Sprintf("%s payloads on the site's subjects were refused", cli.Count(self.Refused)),
			"the broker's log says whose and why: another version, another broker with this host's name, or a stranger; NATS permissions for cnbus.> keep strangers out")
	}
	if self.Dropped > 0 {
		r.warn(check, fmt.Sprintf("%s payloads were dropped between this broker and NATS; what was lost by it was told, or sent again", cli.Count(self.Dropped)), "NATS, or this host, is too slow for what passes")
	}
}

// joinAdvice is what to do about a failure to join.
func joinAdvice(why string) string {
	for _, a := range []struct{ word, advice string }{
		{"has joined the site already", "two brokers have this name: give one of them another by --host; after a crash it passes within two leases"},
		{"JetStream", "the NATS server needs JetStream: \"jetstream {}\" in its configuration; three servers must see each other"},
		{"jetstream", "the NATS server needs JetStream: \"jetstream {}\" in its configuration; three servers must see each other"},
		{"no responders", "the NATS server needs JetStream: \"jetstream {}\" in its configuration"},
		{"the same lease", "give all brokers of the site the same --lease"},
		{"max_payload", "raise max_payload in the NATS server's configuration"},
		{"Authorization", "NATS refuses this broker: --nats-creds, --nats-cert, and the account's permissions"},
		{"authorization", "NATS refuses this broker: --nats-creds, --nats-cert, and the account's permissions"},
		{"certificate", "the certificates of NATS and of this broker: --nats-ca, --nats-cert; also the clocks of the hosts, if one is said to be not valid yet, or no longer"},
		{"NATS at", "is the NATS server up, is the URL of --join right, and the way to it open?"},
	} {
		if strings.Contains(why, a.word) {
			return a.advice
		}
	}
	return "the broker tries again all the time; its log says what happens"
}
