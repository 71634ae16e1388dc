package wire

import "encoding/binary"

// HeaderSize is the length of a packet's header.
const HeaderSize = 28

var errShortHeader = truncated("packet shorter than a header")

// Header is what every packet begins with.
//
//	0      4      8            12     16      20    21     22          23             24      26
//	| epoch | cid | callNumber | seq | serial | type | flags | userStatus | securityIndex | cksum | serviceId
//
// Old header files list serviceId before cksum; the wire has it last.
type Header struct {
	Epoch      Epoch
	CID        CID
	Call       CallNumber // 0: the packet is about the connection
	Seq        Seq        // of DATA; else 0
	Serial     Serial
	Type       PacketType
	Flags      Flags
	UserStatus UserStatus
	Security   SecurityIndex
	Checksum   Checksum
	Service    ServiceID
}

// ParseHeader returns the header of a datagram and what follows it. Flags
// without a meaning are in the result, as they came.
func ParseHeader(b []byte) (h Header, body []byte, err error) {
	if len(b) < HeaderSize {
		return Header{}, nil, errShortHeader
	}
	be := binary.BigEndian
	_ = b[HeaderSize-1]
	return Header{
		Epoch:      Epoch(be.Uint32(b)),
		CID:        CID(be.Uint32(b[4:])),
		Call:       CallNumber(be.Uint32(b[8:])),
		Seq:        Seq(be.Uint32(b[12:])),
		Serial:     Serial(be.Uint32(b[16:])),
		Type:       PacketType(b[20]),
		Flags:      Flags(b[21]),
		UserStatus: UserStatus(b[22]),
		Security:   SecurityIndex(b[23]),
		Checksum:   Checksum(be.Uint16(b[24:])),
		Service:    ServiceID(be.Uint16(b[26:])),
	}, b[HeaderSize:], nil
}

// Append appends the header. Flags without a meaning are not sent.
func (h *Header) Append(b []byte) []byte {
	n := len(b)
	b = append(b, zeros[:HeaderSize]...)
	h.Put(b[n:])
	return b
}

// Put writes the header over the first HeaderSize bytes of p, which must be that
// long: a retransmission has a new serial and other flags before the same body.
func (h *Header) Put(p []byte) {
	be := binary.BigEndian
	_ = p[HeaderSize-1]
	be.PutUint32(p, uint32(h.Epoch))
	be.PutUint32(p[4:], uint32(h.CID))
	be.PutUint32(p[8:], uint32(h.Call))
	be.PutUint32(p[12:], uint32(h.Seq))
	be.PutUint32(p[16:], uint32(h.Serial))
	p[20] = byte(h.Type)
	p[21] = byte(h.Flags & sendableFlags)
	p[22] = byte(h.UserStatus)
	p[23] = byte(h.Security)
	be.PutUint16(p[24:], uint16(h.Checksum))
	be.PutUint16(p[26:], uint16(h.Service))
}

// FromClient reports whether the connection's client sent the packet.
func (h *Header) FromClient() bool { return h.Flags&ClientInitiated != 0 }

// Reply returns the header of a packet of type t that answers h outside of any
// connection's state: the same epoch, cid, call number and service, the other
// direction, and nothing else (serial and security index 0).
func (h *Header) Reply(t PacketType) Header {
	r := Header{Epoch: h.Epoch, CID: h.CID, Call: h.Call, Type: t, Service: h.Service}
	r.Flags = ^h.Flags & ClientInitiated
	if t == TypeVersion || t == TypeDebug {
		r.Flags |= LastPacket
	}
	return r
}

// zeros is what padding is made of.
var zeros [2048]byte

// appendZeros appends n zeros.
func appendZeros(b []byte, n int) []byte {
	for n > len(zeros) {
		b = append(b, zeros[:]...)
		n -= len(zeros)
	}
	return append(b, zeros[:max(n, 0)]...)
}
