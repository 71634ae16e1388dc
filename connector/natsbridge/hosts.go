package natsbridge

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// HostRow is one host of the site, as this one sees it.
type HostRow struct {
	Number uint32 `json:"number"`
	Name   string `json:"name"`
	State  string `json:"state"`            // of others "reachable" or "unreachable", of the own one see below
	Why    string `json:"why,omitempty"`    // self: what is wrong
	Server string `json:"server,omitempty"` // self: the NATS server that it is connected to

	Heard    time.Duration `json:"heard_ns"`  // since it was last heard of
	RTT      time.Duration `json:"rtt_ns"`    // of the last packet there and back; 0: not measured
	Since    time.Duration `json:"since_ns"`  // that it is known
	Lease    time.Duration `json:"lease_ns"`  // left of it: by what was last heard, or of one's own
	IDs      int           `json:"ids"`       // registered for the site
	Groups   int           `json:"groups"`    // with members there
	BytesIn  uint64        `json:"bytes_in"`  // from there, with all that is not messages; self: of all
	BytesOut uint64        `json:"bytes_out"` // to there, without groups by publish; self: to all

	In      uint64 `json:"in"`         // messages from there
	Out     uint64 `json:"out"`        // messages for there, without those to groups by publish
	Unacked int    `json:"unacked"`    // packets on their way
	Resent  uint64 `json:"resent"`     // packets that had to be sent again
	Refused uint64 `json:"refused"`    // self: payloads of others that were refused
	Lost    uint64 `json:"group_lost"` // group messages of theirs that did not arrive; self: of all
	Failed  uint64 `json:"failed"`     // self: messages told as failed because their host was given up
	Dropped uint64 `json:"dropped"`    // self: payloads that NATS did not take or was not read in time; told as lost, or sent again
}

// States of the own host.
const (
	StateSelf         = "self"
	StateSuspended    = "suspended"    // without a lease: its site-wide ids count for itself only
	StateDisconnected = "disconnected" // no connection to NATS, and a lease still
	StateJoining      = "joining"      // not in the site yet
)

// Hosts returns the hosts of the site, this one first.
func (g *Bridge) Hosts(ctx context.Context) ([]HostRow, error) {
	got := make(chan []HostRow, 1)
	server, dropped := g.nc.ConnectedUrlRedacted(), g.out.drops()+g.slow.Load()
	if server != "" && g.cfg.Server != nil {
		server = g.cfg.Server.name()
	}
	if !g.post(func() {
		rows := g.core.hosts()
		rows[0].Server, rows[0].Dropped = server, dropped
		got <- rows
	}) {
		return nil, &connector.OpError{Op: "hosts", Err: connector.ErrClosed}
	}
	select {
	case rows := <-got:
		return rows, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-g.ctx.Done():
		return nil, &connector.OpError{Op: "hosts", Err: connector.ErrClosed}
	}
}

func (c *core) hosts() []HostRow {
	c.now = c.clock()
	self := HostRow{
		Number: uint32(c.host), Name: c.name, State: StateSelf, Lease: time.Duration(max(0, c.lease.until-c.now)),
		IDs: len(c.own), Groups: len(c.subs), In: c.stats.Received, Out: c.stats.Forwarded + c.stats.Published,
		BytesIn: c.stats.BytesIn, BytesOut: c.stats.BytesOut,
		Refused: c.stats.Refused, Lost: c.stats.GroupLost, Failed: c.stats.Failed,
	}
	switch {
	case !c.lease.inForce:
		self.State, self.Why = StateSuspended, "the host's lease has ended: it could not be renewed"
	case !c.connected:
		self.State, self.Why = StateDisconnected, "there is no connection to NATS"
	default:
		self.Why = c.durableTrouble()
	}
	rows := []HostRow{self}
	for _, p := range c.peersInOrder() {
		row := HostRow{
			Number: uint32(p.host), Name: p.name, State: "unreachable", Heard: time.Duration(c.now - p.seen), RTT: time.Duration(p.rtt),
			Since: time.Duration(c.now - p.since), Lease: time.Duration(max(0, p.seen+c.leaseTime()-c.now)), IDs: len(p.ids), Groups: len(p.groups),
			In: p.in, Out: p.out, Unacked: len(p.link.unacked), Resent: p.link.resent,
			BytesIn: p.bytesIn, BytesOut: p.bytesOut, Lost: p.lost,
		}
		if p.reachable {
			row.State = "reachable"
		}
		rows = append(rows, row)
	}
	return rows
}

// HostsID is the id, of each host alone, that answers which hosts there are: see QueryHosts.
var HostsID = cbid.Make(cbid.Broker.Idx, 2)

// answerMost is how much of the rows one reply has.
const answerMost = 12 << 10

// Serve answers QueryHosts on a bus of the broker.
func (g *Bridge) Serve(ctx context.Context, bus connector.Bus) error {
	return Serve(ctx, bus, g.Hosts)
}

// Serve answers QueryHosts on a bus of a broker with what hosts returns: a broker may have something to say
// before it has joined.
func Serve(ctx context.Context, bus connector.Bus, hosts func(context.Context) ([]HostRow, error)) error {
	return bus.AddCallback(ctx, HostsID, "hosts of the site", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		if !d.Call || len(d.Msg.Data) != 4 {
			return
		}
		rows, err := hosts(ctx)
		if err != nil {
			return
		}
		first := binary.NativeEndian.Uint32(d.Msg.Data)
		rows = rows[min(uint64(first), uint64(len(rows))):]
		var b []byte
		for _, r := range rows {
			row, _ := json.Marshal(r) // never fails
			if len(b)+len(row) > answerMost {
				break
			}
			b = append(append(b, row...), '\n')
		}
		_ = d.Reply(ctx, b) // who asked may be gone
	}))
}

// QueryHosts asks the broker of ep for the hosts of its site, its own first. It fails with ErrNoID when
// the broker has not joined one.
func QueryHosts(ctx context.Context, ep connector.Endpoint) ([]HostRow, error) {
	var rows []HostRow
	for {
		data := binary.NativeEndian.AppendUint32(nil, uint32(len(rows)))
		reply, err := ep.Call(ctx, connector.Message{ID: HostsID, Data: data}, connector.Dest{})
		if err != nil {
			return nil, err
		}
		if len(reply.Msg.Data) == 0 {
			return rows, nil
		}
		for b := reply.Msg.Data; len(b) > 0; {
			end := 0
			for end < len(b) && b[end] != '\n' {
				end++
			}
			var row HostRow
			if err := json.Unmarshal(b[:end], &row); err != nil {
				return nil, fmt.Errorf("answer of %v: %w: %w", HostsID, err, connector.ErrProtocol)
			}
			rows = append(rows, row)
			b = b[min(end+1, len(b)):]
		}
		if len(rows) > connector.MaxHost {
			return nil, fmt.Errorf("answer of %v: %d hosts: %w", HostsID, len(rows), connector.ErrProtocol)
		}
	}
}
