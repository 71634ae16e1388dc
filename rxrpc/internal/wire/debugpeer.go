package wire

import "encoding/binary"

// DebugPeerSize is the length of a DebugPeer record.
const DebugPeerSize = 132

const debugPeerMin = 92 // without the spares

var errDebugPeer = truncated("debug peer shorter than 92 bytes")

// DebugTime is a time or a duration.
type DebugTime struct{ Sec, Usec int32 }

// DebugPeer is the answer to DebugGetPeer.
type DebugPeer struct {
	Host            [4]byte // IPv4
	Port            uint16
	IfMTU           uint16
	IdleWhen        uint32 // seconds since 1970
	RefCount        uint16
	BurstSize       uint8
	Burst           uint8
	BurstWait       DebugTime
	RTT             uint32 // 1/8 ms
	RTTDev          uint32 // 1/4 ms
	Timeout         DebugTime
	Sent            uint32 // packets
	Resends         uint32
	InPacketSkew    int32
	OutPacketSkew   int32
	RateFlag        int32
	NatMTU          uint16
	MaxMTU          uint16
	MaxDgramPackets uint16
	IfDgramPackets  uint16
	MTU             uint16
	CWind           uint16 // congestion window, packets
	NDgramPackets   uint16
	CongestSeq      uint16
	BytesSent       uint64
	BytesReceived   uint64
}

var noHost = [4]byte{0xff, 0xff, 0xff, 0xff}

// DebugPeerEnd is the record that says that there is no peer of that index.
func DebugPeerEnd() DebugPeer { return DebugPeer{Host: noHost} }

// End reports whether the record says that there is no such peer.
func (p *DebugPeer) End() bool { return p.Host == noHost }

// ParseDebugPeer returns the record.
func ParseDebugPeer(body []byte) (DebugPeer, error) {
	if len(body) < debugPeerMin {
		return DebugPeer{}, errDebugPeer
	}
	var p DebugPeer
	copy(p.Host[:], body)
	r := reader(body[4:])
	p.Port, p.IfMTU = r.u16(), r.u16()
	p.IdleWhen = r.u32()
	p.RefCount, p.BurstSize, p.Burst = r.u16(), r.u8(), r.u8()
	p.BurstWait = DebugTime{int32(r.u32()), int32(r.u32())}
	p.RTT, p.RTTDev = r.u32(), r.u32()
	p.Timeout = DebugTime{int32(r.u32()), int32(r.u32())}
	p.Sent, p.Resends = r.u32(), r.u32()
	p.InPacketSkew, p.OutPacketSkew, p.RateFlag = int32(r.u32()), int32(r.u32()), int32(r.u32())
	for _, f := range p.sizes() {
		*f = r.u16()
	}
	p.BytesSent = uint64(r.u32())<<32 | uint64(r.u32())
	p.BytesReceived = uint64(r.u32())<<32 | uint64(r.u32())
	return p, nil
}

// Append appends the record.
func (p *DebugPeer) Append(b []byte) []byte {
	n, be := len(b), binary.BigEndian
	b = append(b, p.Host[:]...)
	b = be.AppendUint16(b, p.Port)
	b = be.AppendUint16(b, p.IfMTU)
	b = be.AppendUint32(b, p.IdleWhen)
	b = be.AppendUint16(b, p.RefCount)
	b = append(b, p.BurstSize, p.Burst)
	for _, v := range [...]uint32{
		uint32(p.BurstWait.Sec), uint32(p.BurstWait.Usec), p.RTT, p.RTTDev, uint32(p.Timeout.Sec), uint32(p.Timeout.Usec),
		p.Sent, p.Resends, uint32(p.InPacketSkew), uint32(p.OutPacketSkew), uint32(p.RateFlag),
	} {
		b = be.AppendUint32(b, v)
	}
	for _, f := range p.sizes() {
		b = be.AppendUint16(b, *f)
	}
	b = be.AppendUint64(b, p.BytesSent)
	b = be.AppendUint64(b, p.BytesReceived)
	return appendZeros(b, n+DebugPeerSize-len(b))
}

// sizes are the fields from NatMTU to CongestSeq.
func (p *DebugPeer) sizes() [8]*uint16 {
	return [...]*uint16{
		&p.NatMTU, &p.MaxMTU, &p.MaxDgramPackets, &p.IfDgramPackets, &p.MTU, &p.CWind, &p.NDgramPackets, &p.CongestSeq,
	}
}
