package wire

import "encoding/binary"

// DebugStatsSize is the length of a DebugStats record.
const DebugStatsSize = 56

const debugStatsMin = 16 // up to the version

var errDebugStats = truncated("debug statistics shorter than 16 bytes")

// DebugStats is the answer to DebugGetStats: what every server knows, and which
// version of the debug protocol it speaks.
type DebugStats struct {
	FreePackets       int32
	PacketReclaims    int32
	CallsExecuted     int32
	WaitingForPackets uint8 // 0: no
	UsedFDs           uint8
	Version           byte  // a letter, DebugVersion...
	Waiting           int32 // calls that wait for a thread
	IdleThreads       int32
	Waited            int32 // calls that have waited for a thread
	Packets           int32
}

// words are the fields from byte 16 on.
func (s *DebugStats) words() [4]*int32 {
	return [...]*int32{&s.Waiting, &s.IdleThreads, &s.Waited, &s.Packets}
}

// ParseDebugStats returns the record; fields that did not arrive are 0.
func ParseDebugStats(body []byte) (DebugStats, error) {
	if len(body) < debugStatsMin {
		return DebugStats{}, errDebugStats
	}
	be := binary.BigEndian
	s := DebugStats{
		FreePackets: int32(be.Uint32(body)), PacketReclaims: int32(be.Uint32(body[4:])), CallsExecuted: int32(be.Uint32(body[8:])),
		WaitingForPackets: body[12], UsedFDs: body[13], Version: body[14],
	}
	r := reader(body[debugStatsMin:])
	for _, w := range s.words() {
		*w = int32(r.u32())
	}
	return s, nil
}

// Append appends the record.
func (s *DebugStats) Append(b []byte) []byte {
	n, be := len(b), binary.BigEndian
	b = be.AppendUint32(b, uint32(s.FreePackets))
	b = be.AppendUint32(b, uint32(s.PacketReclaims))
	b = be.AppendUint32(b, uint32(s.CallsExecuted))
	b = append(b, s.WaitingForPackets, s.UsedFDs, s.Version, 0)
	for _, w := range s.words() {
		b = be.AppendUint32(b, uint32(*w))
	}
	return appendZeros(b, n+DebugStatsSize-len(b))
}

// A reader takes big-endian fields off the front; there are zeros behind the
// end.
type reader []byte

func (r *reader) u8() (v uint8) {
	if len(*r) >= 1 {
		v = (*r)[0]
	}
	r.skip(1)
	return v
}

func (r *reader) u16() (v uint16) {
	if len(*r) >= 2 {
		v = binary.BigEndian.Uint16(*r)
	}
	r.skip(2)
	return v
}

func (r *reader) u32() (v uint32) {
	if len(*r) >= 4 {
		v = binary.BigEndian.Uint32(*r)
	}
	r.skip(4)
	return v
}

func (r *reader) skip(n int) { *r = (*r)[min(n, len(*r)):] }
