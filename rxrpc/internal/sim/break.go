package sim

import "encoding/binary"

// A Break is a rule broken on purpose. Some are broken by the network or an application,
// others in what the Checker is shown of a datagram.
type Break uint8

// Breaks.
const (
	BreakNothing Break = iota
	BreakData          // bytes change on the way unnoticed
	BreakTwice         // a call is executed twice
	BreakStall         // after half a second no DATA arrives any more
	BreakLeak          // an application forgets to release a call
	BreakAnswer        // an ABORT is answered by an ABORT
	BreakEcho          // strangers get everything twenty times

	// What the Checker is shown.
	BreakSerial
	BreakFlags
	BreakStatus
	BreakSeq
	BreakAckSeq
	BreakFirst
	BreakAckPadding
	BreakReason
	BreakRwind
	BreakHardAck
	BreakLastAsks
	BreakJumboPad
	BreakUnproven
	BreakWindow
	BreakChanged
	BreakService
	BreakSecurity
	BreakCallNumber
	BreakType
	BreakShort
	BreakAbort
	breakEnd
)

// breakRules names the Breaks by the rule that is expected to be reported.
var breakRules = [breakEnd]string{
	BreakData: "data", BreakTwice: "exactly once", BreakStall: "success", BreakLeak: "forgotten", BreakAnswer: "abort of abort",
	BreakEcho: "amplification", BreakSerial: "serial", BreakFlags: "flags", BreakStatus: "status", BreakSeq: "seq gap",
	BreakAckSeq: "seq", BreakFirst: "ack", BreakAckPadding: "ack padding", BreakReason: "ack", BreakRwind: "rwind",
	BreakHardAck: "ack of nothing", BreakLastAsks: "last asks", BreakJumboPad: "jumbo pad", BreakUnproven: "unproven jumbo",
	BreakWindow: "window", BreakChanged: "changed", BreakService: "service change", BreakSecurity: "security",
	BreakCallNumber: "call number", BreakType: "type", BreakShort: "short", BreakAbort: "abort",
}

// broken returns what the Checker is shown of a datagram.
func (n *network) broken(b []byte) []byte {
	if n.opt.Break <= BreakEcho || len(b) < headerSize {
		return b
	}
	b = append([]byte(nil), b...)
	be := binary.BigEndian
	h := parseHead(b)
	data, ack := h.typ == 1, h.typ == 2
	set := func(is bool, at int, v byte) {
		if is && at < len(b) {
			b[at] = v
		}
	}
	tail := headerSize + ackSize
	if ack {
		tail += int(b[headerSize+17])
	}
	switch n.opt.Break {
	case BreakSerial:
		if data && h.serial > 2 {
			be.PutUint32(b[16:], h.serial-2)
		}
	case BreakFlags:
		set(true, 21, b[21]|0x40)
	case BreakStatus:
		set(data && h.seq > 1, 22, 1)
	case BreakSeq:
		if data && h.seq > 1 {
			be.PutUint32(b[12:], h.seq+1)
		}
	case BreakAckSeq:
		set(ack, 15, 1)
	case BreakFirst:
		if ack {
			be.PutUint32(b[headerSize+4:], 0)
		}
	case BreakAckPadding:
		set(ack, tail, 1)
	case BreakReason:
		set(ack, headerSize+16, 10)
	case BreakRwind:
		set(ack, tail+3+8+2, 9)
	case BreakHardAck:
		if ack {
			be.PutUint32(b[headerSize+4:], be.Uint32(b[headerSize+4:])+1000)
		}
	case BreakLastAsks:
		set(data && h.dir == 1 && h.flags&flagLast != 0, 21, h.flags|flagRequest)
	case BreakJumboPad:
		set(data && h.flags&flagJumbo != 0, headerSize+slotSize+1, 1)
	case BreakUnproven:
		if h.flags&flagJumbo != 0 && data {
			clear(n.check.proven)
		}
	case BreakWindow:
		ch := n.check.conn(h.connKey).channels[h.channel]
		if data && ch.call == h.call && int(h.seq) == len(ch.flow[h.dir].sums)+1 {
			n.check.conn(h.connKey).channels[h.channel].flow[h.dir].limit = h.seq
		}
	case BreakChanged:
		set(data && len(b) > headerSize, len(b)-1, byte(h.serial))
	case BreakService:
		set(data && h.serial > 3, 27, b[27]+1)
	case BreakSecurity:
		set(ack, 23, 99)
	case BreakCallNumber:
		if data && h.dir == 0 && h.call > 1 {
			be.PutUint32(b[8:], h.call+7)
		}
	case BreakType:
		set(ack, 20, 11)
	case BreakShort:
		if ack {
			b = b[:20]
		}
	case BreakAbort:
		if h.typ == 4 {
			b = append(b, 0)
		}
	}
	return b
}
