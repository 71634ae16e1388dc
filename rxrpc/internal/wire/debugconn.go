package wire

import "encoding/binary"

// DebugConnSize is the length of a DebugConn record.
const DebugConnSize = 176

const (
	debugConnMin = 56 // up to the security statistics, which the oldest servers did not send
	debugNoConn  = 0xffffffff
)

var errDebugConn = truncated("debug connection shorter than 56 bytes")

// DebugConn is the answer to DebugGetConn and DebugGetAllConn.
type DebugConn struct {
	Host      [4]byte // of the peer, IPv4; there is no room for more
	Port      uint16
	CID       CID // End if there is no such connection
	Epoch     Epoch
	Serial    Serial // transmitted last
	Call      [Channels]CallNumber
	Error     int32
	Flags     uint8 // DebugConnMakeCallWaiting...
	Type      uint8 // DebugClient or DebugServer
	Security  SecurityIndex
	State     [Channels]uint8 // DebugStateActive...
	Mode      [Channels]uint8 // DebugModeSending...
	CallFlags [Channels]uint8 // DebugReaderWait...
	Other     [Channels]uint8 // DebugPacketsIn, DebugPacketsOut
	Sec       DebugSecurity
	NatMTU    uint32
}

// DebugSecurity is what a security class says of a connection.
type DebugSecurity struct {
	Type            uint8 // DebugSecNull...: not the security index
	Level           uint8 // as rxkad counts: clear, auth, crypt
	Flags           uint32
	Expires         uint32 // seconds since 1970; 0: not known
	PacketsReceived uint32
	PacketsSent     uint32
	BytesReceived   uint32
	BytesSent       uint32
}

// What the numbers in a DebugConn mean.
const (
	DebugClient = 0
	DebugServer = 1

	DebugConnMakeCallWaiting = 1 << 0
	DebugConnDestroyMe       = 1 << 1
	DebugConnChecksum        = 1 << 2
	DebugConnKnowWindow      = 1 << 3
	DebugConnReset           = 1 << 4
	DebugConnBusy            = 1 << 5
	DebugConnAttachWait      = 1 << 6

	DebugStateNotInit = 0
	DebugStatePrecall = 1
	DebugStateActive  = 2
	DebugStateDally   = 3
	DebugStateHold    = 4
	DebugStateReset   = 5

	DebugModeSending   = 1
	DebugModeReceiving = 2
	DebugModeError     = 3
	DebugModeEOF       = 4

	DebugReaderWait      = 1 << 0
	DebugWaitWindowAlloc = 1 << 1
	DebugWaitWindowSend  = 1 << 2
	DebugWaitPackets     = 1 << 3
	DebugWaitProc        = 1 << 4
	DebugReceiveDone     = 1 << 5
	DebugCleared         = 1 << 6

	DebugPacketsIn  = 1 << 0
	DebugPacketsOut = 1 << 1

	DebugSecUnknown = 0
	DebugSecNull    = 1
	DebugSecVAB     = 2
	DebugSecRxKAD   = 3
	DebugSecRxGK    = 4

	DebugSecNoData        = 1 << 0
	DebugSecAuthenticated = 1 << 1
	DebugSecExpired       = 1 << 2
	DebugSecChecksum      = 1 << 3
)

// DebugConnEnd is the record that says that there is no connection of that
// index.
func DebugConnEnd() DebugConn { return DebugConn{CID: debugNoConn} }

// End reports whether the record says that there is no such connection.
func (c *DebugConn) End() bool { return c.CID == debugNoConn }

// Interesting reports whether DebugGetConn counts the connection: one that
// somebody waits for, or that has a call in progress.
func (c *DebugConn) Interesting() bool {
	if c.Flags&(DebugConnMakeCallWaiting|DebugConnDestroyMe) != 0 {
		return true
	}
	for i := range Channels {
		if s := c.State[i]; s == DebugStatePrecall || s == DebugStateActive {
			return true
		}
		if m := c.Mode[i]; m == DebugModeSending || m == DebugModeReceiving {
			return true
		}
	}
	return false
}

// ParseDebugConn returns the record that a server of the given version sent;
// fields that did not arrive are 0.
func ParseDebugConn(body []byte, version byte) (DebugConn, error) {
	if len(body) < debugConnMin {
		return DebugConn{}, errDebugConn
	}
	r := reader(body)
	var c DebugConn
	copy(c.Host[:], r)
	r.skip(4)
	c.CID, c.Serial = CID(r.u32()), Serial(r.u32())
	for i := range c.Call {
		c.Call[i] = CallNumber(r.u32())
	}
	c.Error = int32(r.u32())
	c.Port = r.u16()
	c.Flags, c.Type, c.Security = r.u8(), r.u8(), SecurityIndex(r.u8())
	if version > DebugVersionSecStats {
		r.skip(3)
	}
	for _, octets := range []*[Channels]uint8{&c.State, &c.Mode, &c.CallFlags, &c.Other} {
		copy(octets[:], r)
		r.skip(Channels)
	}
	r = reader(body[debugConnMin:])
	if version >= DebugVersionSecStats {
		c.Sec.parse(&r)
	}
	if version > DebugVersionSecStats {
		c.Epoch, c.NatMTU = Epoch(r.u32()), r.u32()
	}
	return c, nil
}

// Append appends the record as today's version has it.
func (c *DebugConn) Append(b []byte) []byte {
	n, be := len(b), binary.BigEndian
	b = append(b, c.Host[:]...)
	b = be.AppendUint32(b, uint32(c.CID))
	b = be.AppendUint32(b, uint32(c.Serial))
	for _, v := range c.Call {
		b = be.AppendUint32(b, uint32(v))
	}
	b = be.AppendUint32(b, uint32(c.Error))
	b = be.AppendUint16(b, c.Port)
	b = append(b, c.Flags, c.Type, uint8(c.Security), 0, 0, 0)
	b = append(b, c.State[:]...)
	b = append(b, c.Mode[:]...)
	b = append(b, c.CallFlags[:]...)
	b = append(b, c.Other[:]...)
	b = c.Sec.append(b)
	b = be.AppendUint32(b, uint32(c.Epoch))
	b = be.AppendUint32(b, c.NatMTU)
	return appendZeros(b, n+DebugConnSize-len(b))
}

const (
	debugSecSpare1 = 10     // behind the level
	debugSecSpare2 = 8 + 32 // at the end
)

func (s *DebugSecurity) words() [6]*uint32 {
	return [...]*uint32{&s.Flags, &s.Expires, &s.PacketsReceived, &s.PacketsSent, &s.BytesReceived, &s.BytesSent}
}

func (s *DebugSecurity) parse(r *reader) {
	s.Type, s.Level = r.u8(), r.u8()
	r.skip(debugSecSpare1)
	for _, w := range s.words() {
		*w = r.u32()
	}
	r.skip(debugSecSpare2)
}

func (s *DebugSecurity) append(b []byte) []byte {
	b = append(b, s.Type, s.Level)
	b = appendZeros(b, debugSecSpare1)
	for _, w := range s.words() {
		b = binary.BigEndian.AppendUint32(b, *w)
	}
	return appendZeros(b, debugSecSpare2)
}
