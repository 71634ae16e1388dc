package wire

import "encoding/binary"

// RxStatsSize is the length of an RxStats record: 71 words.
const RxStatsSize = 71 * 4

const rxStatsWords = 67 // without the spares

var errRxStats = truncated("Rx statistics shorter than a word")

// RxStats is the answer to DebugGetRxStats: the counters of an Rx endpoint since
// its start.
type RxStats struct {
	PacketRequests              uint32 // buffers asked for
	ReceivePacketAllocFailures  uint32
	SendPacketAllocFailures     uint32
	SpecialPacketAllocFailures  uint32
	SocketGreedy                uint32 // 1: the socket got large buffers
	BogusPacketOnRead           uint32 // too short
	BogusHost                   uint32 // where the last of them came from
	NoPacketOnRead              uint32
	NoPacketBuffersOnRead       uint32
	Selects                     uint32
	SendSelects                 uint32
	PacketsRead                 [PacketTypes]uint32 // by type, from TypeData on
	DataPacketsRead             uint32              // without duplicates
	AckPacketsRead              uint32
	DupPacketsRead              uint32
	SpuriousPacketsRead         uint32
	PacketsSent                 [PacketTypes]uint32 // by type, from TypeData on
	AckPacketsSent              uint32
	PingPacketsSent             uint32
	AbortPacketsSent            uint32
	BusyPacketsSent             uint32
	DataPacketsSent             uint32 // without retransmissions
	DataPacketsResent           uint32
	DataPacketsPushed           uint32 // retransmitted early, because of a nak
	IgnoreAckedPacket           uint32
	TotalRTT, MinRTT, MaxRTT    DebugTime
	RTTSamples                  uint32
	ServerConns                 uint32
	ClientConns                 uint32
	PeerStructs                 uint32
	CallStructs                 uint32
	FreeCallStructs             uint32
	NetSendFailures             uint32
	FatalErrors                 uint32
	IgnorePacketDally           uint32
	ReceiveCbufPktAllocFailures uint32
	SendCbufPktAllocFailures    uint32
	Busies                      uint32
}

// each calls f for every word in the order of the wire, and stores what f
// returns.
func (s *RxStats) each(f func(uint32) uint32) {
	word := func(ws ...*uint32) {
		for _, w := range ws {
			*w = f(*w)
		}
	}
	word(&s.PacketRequests, &s.ReceivePacketAllocFailures, &s.SendPacketAllocFailures, &s.SpecialPacketAllocFailures,
		&s.SocketGreedy, &s.BogusPacketOnRead, &s.BogusHost, &s.NoPacketOnRead, &s.NoPacketBuffersOnRead, &s.Selects, &s.SendSelects)
	for i := range s.PacketsRead {
		word(&s.PacketsRead[i])
	}
	word(&s.DataPacketsRead, &s.AckPacketsRead, &s.DupPacketsRead, &s.SpuriousPacketsRead)
	for i := range s.PacketsSent {
		word(&s.PacketsSent[i])
	}
	word(&s.AckPacketsSent, &s.PingPacketsSent, &s.AbortPacketsSent, &s.BusyPacketsSent,
		&s.DataPacketsSent, &s.DataPacketsResent, &s.DataPacketsPushed, &s.IgnoreAckedPacket)
	for _, t := range []*DebugTime{&s.TotalRTT, &s.MinRTT, &s.MaxRTT} {
		t.Sec, t.Usec = int32(f(uint32(t.Sec))), int32(f(uint32(t.Usec)))
	}
	word(&s.RTTSamples, &s.ServerConns, &s.ClientConns, &s.PeerStructs, &s.CallStructs, &s.FreeCallStructs,
		&s.NetSendFailures, &s.FatalErrors, &s.IgnorePacketDally, &s.ReceiveCbufPktAllocFailures, &s.SendCbufPktAllocFailures, &s.Busies)
}

// ParseRxStats returns the record; words that did not arrive, as from older
// servers, are 0, and words that it has more do not count.
func ParseRxStats(body []byte) (RxStats, error) {
	if len(body) < 4 || IsDebugBadType(body) {
		return RxStats{}, errRxStats
	}
	var s RxStats
	r := reader(body)
	s.each(func(uint32) uint32 { return r.u32() })
	return s, nil
}

// Append appends the record.
func (s *RxStats) Append(b []byte) []byte {
	n, all := len(b), *s // each stores
	all.each(func(v uint32) uint32 {
		b = binary.BigEndian.AppendUint32(b, v)
		return v
	})
	return appendZeros(b, n+RxStatsSize-len(b))
}
