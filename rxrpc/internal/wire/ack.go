package wire

import (
	"encoding/binary"
	"fmt"
)

// AckReason says what made a receiver acknowledge.
type AckReason uint8

// Reasons. Any other is treated as one that asks for nothing.
const (
	AckRequested     AckReason = 1 // by the flag
	AckDuplicate     AckReason = 2
	AckOutOfSequence AckReason = 3 // something before it is missing
	AckExceedsWindow AckReason = 4
	AckNoSpace       AckReason = 5
	AckPing          AckReason = 6 // asks for AckPingResponse
	AckPingResponse  AckReason = 7
	AckDelay         AckReason = 8 // nothing happened for some time
	AckIdle          AckReason = 9 // the application has taken all
	ackReasonEnd               = 10
)

var reasonNames = [ackReasonEnd]string{
	"", "REQUESTED", "DUPLICATE", "OUT_OF_SEQUENCE", "EXCEEDS_WINDOW", "NOSPACE", "PING", "PING_RESPONSE", "DELAY", "IDLE",
}

func (r AckReason) name() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return ""
}

// String returns the name, or "reason(99)".
func (r AckReason) String() string {
	if name := r.name(); name != "" {
		return name
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Sizes of an ACK's body.
const (
	AckFixedSize = 18  // before the soft acks
	MaxSoftAcks  = 255 // their count is an octet
	ackPadSize   = 3   // between them and the trailer
)

// SoftAcked is the bit of a soft-ack octet that counts: the packet is here. No
// other bit means anything.
const SoftAcked = 1

var (
	errShortAck = truncated("ACK shorter than 18 bytes")
	errAckCount = malformed("ACK with fewer soft acks than it counts")
)

// Ack is the body of an ACK.
//
//	0            2         4        8          12       16       17      18       18+n  21+n
//	| bufferSpace | maxSkew | first | previous | serial | reason | nAcks | acks[n] | 0 (3) | trailer | padding
//
// All before First is acknowledged for good (hard); Acks[i] speaks for First+i:
// set means here but not taken yet (soft, may be taken back), clear means
// missing; of what lies beyond nothing is said.
type Ack struct {
	BufferSpace uint16 // ignored everywhere, 0
	MaxSkew     uint16 // ignored everywhere, 0
	First       Seq    // the first that is not hard-acked, never 0
	Previous    Seq    // the highest or the last received; some sent a serial here: advice only
	Serial      Serial // of the packet that caused this; 0: none did
	Reason      AckReason
	Acks        []byte // soft acks, at most 255; parsed: a view
	Trailer     AckTrailer
	Padding     int // bytes behind the trailer, zeros when sent: a PING that probes the path's MTU
}

// ParseAck returns the body of an ACK; Acks points into it. Body lengths of all
// times are accepted, from none of the trailer up; so is a body that ends within
// the three zeros before it. A body with less than 18 bytes is ErrTruncated; one
// with fewer soft acks than it counts is ErrMalformed. First may be 0.
func ParseAck(body []byte) (Ack, error) {
	if len(body) < AckFixedSize {
		return Ack{}, errShortAck
	}
	be := binary.BigEndian
	a := Ack{
		BufferSpace: be.Uint16(body),
		MaxSkew:     be.Uint16(body[2:]),
		First:       Seq(be.Uint32(body[4:])),
		Previous:    Seq(be.Uint32(body[8:])),
		Serial:      Serial(be.Uint32(body[12:])),
		Reason:      AckReason(body[16]),
	}
	n := int(body[17])
	rest := body[AckFixedSize:]
	if n > len(rest) {
		return Ack{}, errAckCount
	}
	a.Acks, rest = rest[:n:n], rest[n:]
	if len(rest) > ackPadSize {
		a.Trailer, rest = parseTrailer(rest[ackPadSize:])
		a.Padding = len(rest)
	}
	return a, nil
}

// Size is the length of what Append appends.
func (a *Ack) Size() int {
	return AckFixedSize + min(len(a.Acks), MaxSoftAcks) + ackPadSize + 4*a.Trailer.words() + max(a.Padding, 0)
}

// Append appends the body: the soft acks with no bit but SoftAcked, and as many
// words of the trailer as Words says. Soft acks beyond 255 are left out, which
// says nothing of those packets.
func (a *Ack) Append(b []byte) []byte {
	acks := a.Acks[:min(len(a.Acks), MaxSoftAcks)]
	n := len(b)
	b = append(b, zeros[:AckFixedSize]...)
	p, be := b[n:], binary.BigEndian
	be.PutUint16(p, a.BufferSpace)
	be.PutUint16(p[2:], a.MaxSkew)
	be.PutUint32(p[4:], uint32(a.First))
	be.PutUint32(p[8:], uint32(a.Previous))
	be.PutUint32(p[12:], uint32(a.Serial))
	p[16] = byte(a.Reason)
	p[17] = byte(len(acks))
	b = append(b, acks...)
	for i := n + AckFixedSize; i < len(b); i++ {
		b[i] &= SoftAcked
	}
	b = append(b, 0, 0, 0)
	b = a.Trailer.append(b)
	return appendZeros(b, a.Padding)
}

// HardAcked returns the last packet that is acknowledged for good.
func (a *Ack) HardAcked() Seq { return a.First - 1 }

// Missing returns how many of the packets that the soft acks speak of are not
// there.
func (a *Ack) Missing() int {
	n := len(a.Acks)
	for _, v := range a.Acks {
		n -= int(v & SoftAcked)
	}
	return n
}
