package wire

import "fmt"

// PacketType says what the body is.
type PacketType uint8

// Packet types; 10 to 12 were never used.
const (
	TypeData      PacketType = 1
	TypeAck       PacketType = 2
	TypeBusy      PacketType = 3
	TypeAbort     PacketType = 4
	TypeAckAll    PacketType = 5
	TypeChallenge PacketType = 6
	TypeResponse  PacketType = 7
	TypeDebug     PacketType = 8
	TypeParams    PacketType = 9 // never specified
	TypeVersion   PacketType = 13
)

// PacketTypes is how many types statistics have a place for: 1 to 13.
const PacketTypes = 13

var typeNames = [PacketTypes + 1]string{
	TypeData: "DATA", TypeAck: "ACK", TypeBusy: "BUSY", TypeAbort: "ABORT", TypeAckAll: "ACKALL", TypeChallenge: "CHALLENGE",
	TypeResponse: "RESPONSE", TypeDebug: "DEBUG", TypeParams: "PARAMS", TypeVersion: "VERSION",
}

func (t PacketType) name() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return ""
}

// String returns the name in capitals, or "TYPE(99)".
func (t PacketType) String() string {
	if name := t.name(); name != "" {
		return name
	}
	return fmt.Sprintf("TYPE(%d)", uint8(t))
}

// Flags are those of the header and of a jumbo header.
type Flags uint8

// Flags. Bit 0x20 has a meaning for each of DATA and ACK.
const (
	ClientInitiated Flags = 0x01 // from the client of the connection
	RequestAck      Flags = 0x02 // to be acknowledged at once
	LastPacket      Flags = 0x04 // of this direction of the call
	MorePackets     Flags = 0x08 // a hint: more are right behind
	JumboPacket     Flags = 0x20 // DATA: another follows in this datagram
	SlowStartOK     Flags = 0x20 // ACK: acknowledges often enough for slow start

	// sendableFlags are those with a meaning; 0x10 was a mark of old
	// implementations for themselves.
	sendableFlags = ClientInitiated | RequestAck | LastPacket | MorePackets | JumboPacket
)

var flagNames = [8]string{"CLIENT", "REQACK", "LAST", "MORE", "0x10", "JUMBO", "0x40", "0x80"}

// Has reports whether all of g are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// String has the names of the flags set, joined by "|"; "0" if none. Bit 0x20
// has its name on DATA packets.
func (f Flags) String() string { return string(f.appendText(nil, TypeData)) }

func (f Flags) appendText(b []byte, t PacketType) []byte {
	if f == 0 {
		return append(b, '0')
	}
	sep := ""
	for i, name := range flagNames {
		if f&(1<<i) == 0 {
			continue
		}
		if 1<<i == SlowStartOK && t != TypeData {
			name = "0x20"
			if t == TypeAck {
				name = "SLOWSTART"
			}
		}
		b = append(append(b, sep...), name...)
		sep = "|"
	}
	return b
}
