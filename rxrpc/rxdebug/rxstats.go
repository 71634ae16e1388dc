package rxdebug

import (
	"context"
	"encoding/binary"
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// PacketTypes are the names of the packet types in the order of their counters.
var PacketTypes = [wire.PacketTypes]string{
	"data", "ack", "busy", "abort", "ackall", "challenge", "response", "debug", "params", "unused", "unused", "unused", "version",
}

// RxStats are the counters of an endpoint since its start; they wrap.
type RxStats struct {
	PacketRequests       uint32                   `json:"packet_requests"`
	ReceiveAllocFailures uint32                   `json:"receive_alloc_failures"`
	ReceiveCbufFailures  uint32                   `json:"receive_cbuf_alloc_failures"`
	SendAllocFailures    uint32                   `json:"send_alloc_failures"`
	SendCbufFailures     uint32                   `json:"send_cbuf_alloc_failures"`
	SpecialAllocFailures uint32                   `json:"special_alloc_failures"`
	SocketGreedy         uint32                   `json:"socket_greedy"`
	BogusPackets         uint32                   `json:"bogus_packets"`
	BogusHost            netip.Addr               `json:"bogus_host"` // where the last of them came from
	NoPacketOnRead       uint32                   `json:"no_packet_on_read"`
	NoBuffersOnRead      uint32                   `json:"no_buffers_on_read"`
	Selects              uint32                   `json:"selects"`
	SendSelects          uint32                   `json:"send_selects"`
	PacketsRead          [wire.PacketTypes]uint32 `json:"packets_read"` // by PacketTypes
	DataRead             uint32                   `json:"data_read"`    // without duplicates
	AcksRead             uint32                   `json:"acks_read"`
	DuplicatesRead       uint32                   `json:"duplicates_read"`
	SpuriousRead         uint32                   `json:"spurious_read"`
	DallyIgnored         uint32                   `json:"dally_ignored"`
	PacketsSent          [wire.PacketTypes]uint32 `json:"packets_sent"` // by PacketTypes
	AcksSent             uint32                   `json:"acks_sent"`
	PingsSent            uint32                   `json:"pings_sent"`
	AbortsSent           uint32                   `json:"aborts_sent"`
	BusiesSent           uint32                   `json:"busies_sent"`
	DataSent             uint32                   `json:"data_sent"` // without what was sent again
	DataResent           uint32                   `json:"data_resent"`
	DataPushed           uint32                   `json:"data_pushed"` // sent again early
	AckedIgnored         uint32                   `json:"acked_ignored"`
	RTT                  RTT                      `json:"rtt"`
	ServerConns          uint32                   `json:"server_conns"`
	ClientConns          uint32                   `json:"client_conns"`
	Peers                uint32                   `json:"peers"`
	Calls                uint32                   `json:"calls"`
	FreeCalls            uint32                   `json:"free_calls"`
	SendFailures         uint32                   `json:"send_failures"`
	FatalErrors          uint32                   `json:"fatal_errors"`
	Busies               uint32                   `json:"busies"`
}

// RxStats asks for them: ErrNotSupported from versions before 'M'.
func (c *Client) RxStats(ctx context.Context) (RxStats, error) {
	const op = "rx statistics"
	body, err := c.debug(ctx, op, wire.DebugGetRxStats, 0)
	if err != nil {
		return RxStats{}, err
	}
	w, err := wire.ParseRxStats(body)
	if err != nil {
		return RxStats{}, c.failed(op, ErrBadAnswer)
	}
	var host [4]byte
	binary.BigEndian.PutUint32(host[:], w.BogusHost)
	return RxStats{
		PacketRequests: w.PacketRequests, ReceiveAllocFailures: w.ReceivePacketAllocFailures, ReceiveCbufFailures: w.ReceiveCbufPktAllocFailures,
		SendAllocFailures: w.SendPacketAllocFailures, SendCbufFailures: w.SendCbufPktAllocFailures, SpecialAllocFailures: w.SpecialPacketAllocFailures,
		SocketGreedy: w.SocketGreedy, BogusPackets: w.BogusPacketOnRead, BogusHost: netip.AddrFrom4(host),
		NoPacketOnRead: w.NoPacketOnRead, NoBuffersOnRead: w.NoPacketBuffersOnRead, Selects: w.Selects, SendSelects: w.SendSelects,
		PacketsRead: w.PacketsRead, DataRead: w.DataPacketsRead, AcksRead: w.AckPacketsRead, DuplicatesRead: w.DupPacketsRead,
		SpuriousRead: w.SpuriousPacketsRead, DallyIgnored: w.IgnorePacketDally,
		PacketsSent: w.PacketsSent, AcksSent: w.AckPacketsSent, PingsSent: w.PingPacketsSent, AbortsSent: w.AbortPacketsSent,
		BusiesSent: w.BusyPacketsSent, DataSent: w.DataPacketsSent, DataResent: w.DataPacketsResent, DataPushed: w.DataPacketsPushed,
		AckedIgnored: w.IgnoreAckedPacket,
		RTT:          RTT{Samples: w.RTTSamples, Total: duration(w.TotalRTT), Min: duration(w.MinRTT), Max: duration(w.MaxRTT)},
		ServerConns:  w.ServerConns, ClientConns: w.ClientConns, Peers: w.PeerStructs, Calls: w.CallStructs, FreeCalls: w.FreeCallStructs,
		SendFailures: w.NetSendFailures, FatalErrors: w.FatalErrors, Busies: w.Busies,
	}, nil
}
