package wire

import (
	"encoding/binary"
	"fmt"
)

// DebugType says what a debug request asks for.
type DebugType int32

// Debug requests. The last two are answered by servers of version 'M' and 'Q' on.
const (
	DebugGetStats   DebugType = 1  // DebugStats
	DebugGetConn    DebugType = 2  // DebugConn: the index-th that is interesting
	DebugGetAllConn DebugType = 3  // DebugConn: the index-th of all
	DebugGetRxStats DebugType = 4  // RxStats
	DebugGetPeer    DebugType = 5  // DebugPeer: the index-th
	DebugBadType    DebugType = -8 // the reply to any other
)

func (t DebugType) name() string {
	switch t {
	case DebugGetStats:
		return "GETSTATS"
	case DebugGetConn:
		return "GETCONN"
	case DebugGetAllConn:
		return "GETALLCONN"
	case DebugGetRxStats:
		return "RXSTATS"
	case DebugGetPeer:
		return "GETPEER"
	case DebugBadType:
		return "BADTYPE"
	}
	return ""
}

// String returns the name, or "DEBUG(99)".
func (t DebugType) String() string {
	if name := t.name(); name != "" {
		return name
	}
	return fmt.Sprintf("DEBUG(%d)", int32(t))
}

// Versions of the debug protocol, as a server tells its own in DebugStats: with
// each came what its name says.
const (
	DebugVersionSecStats    byte = 'L' // and connections packed otherwise than later
	DebugVersionAllConn     byte = 'M' // DebugGetAllConn and DebugGetRxStats
	DebugVersionWaiters     byte = 'N'
	DebugVersionIdleThreads byte = 'O'
	DebugVersionPacketTypes byte = 'P' // allocation failures of continuation buffers
	DebugVersionPeers       byte = 'Q' // DebugGetPeer
	DebugVersionWaited      byte = 'R'
	DebugVersionPackets     byte = 'S'
	DebugVersion                 = DebugVersionPackets // today's
)

// DebugRequestSize is the length of a debug request's body, and of the reply to
// a request that the server does not know.
const DebugRequestSize = 8

var errShortDebug = truncated("debug request shorter than 8 bytes")

// DebugRequest is the body of a debug request.
type DebugRequest struct {
	Type  DebugType
	Index int32 // of the record, from 0
}

// ParseDebugRequest returns the request. What follows it does not count.
func ParseDebugRequest(body []byte) (DebugRequest, error) {
	if len(body) < DebugRequestSize {
		return DebugRequest{}, errShortDebug
	}
	be := binary.BigEndian
	return DebugRequest{Type: DebugType(be.Uint32(body)), Index: int32(be.Uint32(body[4:]))}, nil
}

// Append appends the body.
func (r DebugRequest) Append(b []byte) []byte {
	be := binary.BigEndian
	return be.AppendUint32(be.AppendUint32(b, uint32(r.Type)), uint32(r.Index))
}

// AppendDebugBadType appends the body that answers a request of unknown type.
func AppendDebugBadType(b []byte) []byte {
	bad := DebugBadType
	return DebugRequest{Type: bad, Index: int32(bad)}.Append(b)
}

// IsDebugBadType reports whether the body of a reply says that the server does
// not know the request.
func IsDebugBadType(body []byte) bool {
	r, err := ParseDebugRequest(body)
	return err == nil && len(body) == DebugRequestSize && r.Type == DebugBadType && r.Index == int32(DebugBadType)
}

// ToolRequest returns the header of a request of rxdebug: one that belongs to no
// connection and is told from others by its number, which the reply repeats.
func ToolRequest(t PacketType, number uint32) Header {
	return Header{Epoch: ToolEpoch, Call: CallNumber(number), Type: t, Flags: ClientInitiated | LastPacket}
}
