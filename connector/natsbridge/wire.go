package natsbridge

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// le is the byte order between hosts (docs/hosts.md).
var le = binary.LittleEndian

const (
	wireMagic   = 0x31424e43 // "CNB1"
	wireVersion = 1

	packetHeaderLen = 48
	recordHeaderLen = 8

	// maxPacket is the longest payload that is looked at: NATS's default limit.
	maxPacket = 1 << 20
	// fillPacket is where a packet is full: the next record begins another.
	fillPacket = 64 << 10

	// MaxHostName is the longest name of a host.
	MaxHostName = 63
)

type packetType uint8

const (
	packetBeacon packetType = 1
	packetLink   packetType = 2
	packetGroup  packetType = 3
	// packetDurable is a message in the stream of a durable group.
	packetDurable packetType = 4
)

// packetHeader is what every payload begins with:
//
//	0       4      5     6     8    16       24    32   40   48
//	| magic |version|type|host |run | session| peer| seq| ack| records ...
type packetHeader struct {
	kind    packetType
	host    uint16
	run     uint64
	session uint64
	peer    uint64
	seq     uint64
	ack     uint64
}

// Refusals of a payload. They are counted by reason, so they are few.
var (
	errShortPacket = errors.New("packet is too short or too long")
	errMagic       = errors.New("not a packet of a bridge, or of the other byte order")
	errVersion     = errors.New("packet of another version")
	errType        = errors.New("packet of an unknown type, or on a subject of another")
	errHost        = errors.New("impossible host number")
	errRecord      = errors.New("malformed record")
	errPort        = errors.New("port of another host")
	errFrame       = errors.New("malformed frame")
	errName        = errors.New("another host's name")
	errLocal       = errors.New("group that stays on its host")
	errAgents      = errors.New("id of another host's agents")
)

func (h *packetHeader) put(b []byte) {
	_ = b[packetHeaderLen-1]
	le.PutUint32(b, wireMagic)
	b[4], b[5] = wireVersion, byte(h.kind)
	le.PutUint16(b[6:], h.host)
	le.PutUint64(b[8:], h.run)
	le.PutUint64(b[16:], h.session)
	le.PutUint64(b[24:], h.peer)
	le.PutUint64(b[32:], h.seq)
	le.PutUint64(b[40:], h.ack)
}

// parsePacket reads the header; the records stay part of b.
func parsePacket(b []byte) (h packetHeader, records []byte, err error) {
	if len(b) < packetHeaderLen || len(b) > maxPacket {
		return h, nil, fmt.Errorf("%w: %d bytes", errShortPacket, len(b))
	}
	if m := le.Uint32(b); m != wireMagic {
		return h, nil, errMagic
	}
	if b[4] != wireVersion {
		return h, nil, fmt.Errorf("%w: %d, this bridge speaks %d", errVersion, b[4], wireVersion)
	}
	h = packetHeader{
		kind: packetType(b[5]), host: le.Uint16(b[6:]), run: le.Uint64(b[8:]), session: le.Uint64(b[16:]),
		peer: le.Uint64(b[24:]), seq: le.Uint64(b[32:]), ack: le.Uint64(b[40:]),
	}
	if h.kind < packetBeacon || h.kind > packetDurable {
		return h, nil, fmt.Errorf("%w: %d", errType, h.kind)
	}
	if h.host == 0 || h.host > connector.MaxHost {
		return h, nil, fmt.Errorf("%w: %d", errHost, h.host)
	}
	return h, b[packetHeaderLen:], nil
}

type recordKind uint8

const (
	recordHello    recordKind = 1
	recordSend     recordKind = 2
	recordAnswer   recordKind = 3
	recordConsumed recordKind = 4
	recordLeft     recordKind = 5
	recordMembers  recordKind = 6
	recordTail     recordKind = 7
	recordID       recordKind = 8
	recordNoID     recordKind = 9
	recordLease    recordKind = 10
	recordPing     recordKind = 11
	recordPong     recordKind = 12
	recordDurable  recordKind = 13
)

// urgent records are acknowledged at once: somebody waits for all hosts to know.
func (k recordKind) urgent() bool {
	switch k {
	case recordHello, recordMembers, recordID, recordNoID, recordLease, recordDurable:
		return true
	}
	return false
}

// nextRecord takes the first record off b.
func nextRecord(b []byte) (kind recordKind, body, rest []byte, err error) {
	if len(b) < recordHeaderLen {
		return 0, nil, nil, fmt.Errorf("%w: %d bytes are left", errRecord, len(b))
	}
	n := le.Uint32(b)
	if n < recordHeaderLen || uint64(n) > uint64(len(b)) {
		return 0, nil, nil, fmt.Errorf("%w: length %d of %d", errRecord, n, len(b))
	}
	if b[5]|b[6]|b[7] != 0 {
		return 0, nil, nil, fmt.Errorf("%w: kind %d with bits of another version", errRecord, b[4])
	}
	return recordKind(b[4]), b[recordHeaderLen:n], b[n:], nil
}

// beginRecord appends the header of a record; endRecord puts its length in.
func beginRecord(b []byte, kind recordKind) []byte {
	return append(b, 0, 0, 0, 0, byte(kind), 0, 0, 0)
}

func endRecord(b []byte, at int) []byte {
	le.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

func appendU32s(b []byte, v ...uint32) []byte {
	for _, x := range v {
		b = le.AppendUint32(b, x)
	}
	return b
}

// fields reads numbers off a body of a fixed length; a body of another is malformed.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) u32() uint32 {
	if len(f.b) < 4 {
		f.bad = true
		return 0
	}
	v := le.Uint32(f.b)
	f.b = f.b[4:]
	return v
}

func (f *fields) u64() uint64 {
	if len(f.b) < 8 {
		f.bad = true
		return 0
	}
	v := le.Uint64(f.b)
	f.b = f.b[8:]
	return v
}

func (f *fields) id() cbid.ID { return cbid.Make(f.u32(), f.u32()) }

func (f *fields) cred() connector.Cred {
	return connector.Cred{UID: f.u32(), GID: f.u32(), PID: f.u32()}
}

// name reads the rest as a name for people.
func (f *fields) name(least, most int) string {
	if len(f.b) < least || len(f.b) > most || !printable(f.b) {
		f.bad = true
		return ""
	}
	s := string(f.b)
	f.b = nil
	return s
}

// end reports what is wrong, if anything is, or left.
func (f *fields) end(kind recordKind) error {
	if f.bad || len(f.b) > 0 {
		return fmt.Errorf("%w: kind %d", errRecord, kind)
	}
	return nil
}

// printable reports whether b is fit for a terminal: no control characters.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}
