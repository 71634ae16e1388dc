package rxdebug

import (
	"context"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Peer is a host and port that the endpoint talks to.
type Peer struct {
	Addr            netip.AddrPort `json:"addr"`
	IfMTU           uint16         `json:"if_mtu"`
	NatMTU          uint16         `json:"nat_mtu"`
	MaxMTU          uint16         `json:"max_mtu"`
	MTU             uint16         `json:"mtu"`
	CongestionWnd   uint16         `json:"congestion_window"` // packets
	DgramPackets    uint16         `json:"dgram_packets"`     // in a jumbo datagram: now,
	IfDgramPackets  uint16         `json:"if_dgram_packets"`  // by the interface,
	MaxDgramPackets uint16         `json:"max_dgram_packets"` // and at most
	PacketsSent     uint32         `json:"packets_sent"`
	PacketsResent   uint32         `json:"packets_resent"`
	BytesSent       uint64         `json:"bytes_sent"`
	BytesReceived   uint64         `json:"bytes_received"`
	RTT             time.Duration  `json:"rtt_ns"`
	RTTDeviation    time.Duration  `json:"rtt_deviation_ns"`
	Timeout         time.Duration  `json:"timeout_ns"`
	InSkew          int32          `json:"in_packet_skew"`
	OutSkew         int32          `json:"out_packet_skew"`
	References      uint16         `json:"references"`
	IdleSince       time.Time      `json:"idle_since,omitzero"`
}

// Peers asks for the peers, one after the other: ErrNotSupported from versions
// before 'Q'. An error is the last value.
func (c *Client) Peers(ctx context.Context) iter.Seq2[Peer, error] {
	return func(yield func(Peer, error) bool) {
		for i := range math.MaxInt32 {
			op := fmt.Sprintf("peer %d", i)
			body, err := c.debug(ctx, op, wire.DebugGetPeer, i)
			if err != nil {
				yield(Peer{}, err)
				return
			}
			w, err := wire.ParseDebugPeer(body)
			if err != nil {
				yield(Peer{}, c.failed(op, ErrBadAnswer))
				return
			}
			if w.End() || !yield(newPeer(&w), nil) {
				return
			}
		}
	}
}

func newPeer(w *wire.DebugPeer) Peer {
	p := Peer{
		Addr:  netip.AddrPortFrom(netip.AddrFrom4(w.Host), w.Port),
		IfMTU: w.IfMTU, NatMTU: w.NatMTU, MaxMTU: w.MaxMTU, MTU: w.MTU, CongestionWnd: w.CWind,
		DgramPackets: w.NDgramPackets, IfDgramPackets: w.IfDgramPackets, MaxDgramPackets: w.MaxDgramPackets,
		PacketsSent: w.Sent, PacketsResent: w.Resends, BytesSent: w.BytesSent, BytesReceived: w.BytesReceived,
		RTT: time.Duration(w.RTT) * time.Millisecond / 8, RTTDeviation: time.Duration(w.RTTDev) * time.Millisecond / 4,
		Timeout: duration(w.Timeout), InSkew: w.InPacketSkew, OutSkew: w.OutPacketSkew, References: w.RefCount,
	}
	if w.IdleWhen != 0 {
		p.IdleSince = time.Unix(int64(w.IdleWhen), 0).UTC()
	}
	return p
}
