package wire

import "encoding/binary"

// Sizes of jumbo datagrams.
const (
	// JumboData is the length of every packet of a jumbo datagram but its last,
	// with what the security class puts around the data.
	JumboData = 1412
	// JumboHeaderSize is the length of the header between two packets.
	JumboHeaderSize = 4
	// MaxJumbo is how many packets the largest UDP datagram holds.
	MaxJumbo = 46

	jumboStep = JumboData + JumboHeaderSize
)

// JumboSize returns the length of a datagram of n full packets without the
// header of 28 bytes: 1412, 2828, ...
func JumboSize(n int) int { return n*jumboStep - JumboHeaderSize }

// JumboFit returns how many packets a datagram with n bytes after the header has
// room for, at least 1.
func JumboFit(n int) int { return min(max((n+JumboHeaderSize)/jumboStep, 1), MaxJumbo) }

var (
	errJumboShort = malformed("jumbo DATA ends within a packet")
	errJumboLast  = malformed("jumbo DATA goes on after the last packet")
	errJumboLong  = malformed("jumbo DATA with a last packet of more than 1412 bytes")
)

// Subpackets walks through the packets of a DATA datagram.
type Subpackets struct {
	next Header
	rest []byte
	n    int // how many remain
}

// SplitData returns the packets of a DATA datagram; of one that is no jumbo,
// itself. All of it is checked before anything is returned: every packet but the
// last has 1412 bytes, only the last may have LastPacket, and it has at most 1412
// bytes if others stand before it. (It may be empty: OpenAFS ends a call that
// fills its packets so.) What violates this is ErrMalformed.
func SplitData(h Header, body []byte) (Subpackets, error) {
	s := Subpackets{next: h, rest: body, n: 1}
	flags, left := h.Flags, body
	for ; flags&JumboPacket != 0; s.n++ {
		if len(left) < jumboStep {
			return Subpackets{}, errJumboShort
		}
		if flags&LastPacket != 0 {
			return Subpackets{}, errJumboLast
		}
		flags, left = Flags(left[JumboData]), left[jumboStep:]
	}
	if s.n > 1 && len(left) > JumboData {
		return Subpackets{}, errJumboLong
	}
	return s, nil
}

// Len returns how many packets remain.
func (s *Subpackets) Len() int { return s.n }

// Next returns the next packet, a view of the datagram, or false after the last.
// Each packet after the first has the next seq and serial, and the flags and
// checksum of its jumbo header. What else is in its header is the first's, but
// the user status, which only the first has. All packets of a datagram go the
// same way, whatever a jumbo header says. JumboPacket is set if another follows.
func (s *Subpackets) Next() (h Header, body []byte, ok bool) {
	if s.n == 0 {
		return Header{}, nil, false
	}
	h, body = s.next, s.rest
	s.n--
	if s.n > 0 {
		j := body[JumboData:jumboStep]
		s.rest = body[jumboStep:]
		body = body[:JumboData:JumboData]
		s.next.Seq++
		s.next.Serial++
		s.next.UserStatus = 0
		s.next.Flags = Flags(j[0])&^ClientInitiated | h.Flags&ClientInitiated
		s.next.Checksum = Checksum(binary.BigEndian.Uint16(j[2:]))
	}
	return h, body, true
}

var (
	errJoinBody   = malformed("only a packet of 1412 bytes can have another behind it in a datagram")
	errJoinHeader = malformed("packets of different calls or out of order in a datagram")
	errJoinLast   = malformed("nothing follows the last packet of a call")
	errJoinFull   = malformed("more packets than a datagram holds")
)

// A Joiner puts DATA packets into a datagram. The zero value is ready after
// Reset.
type Joiner struct {
	buf   []byte
	head  Header // of the packet added last
	start int    // of the datagram in buf
	flags int    // where the flags of the packet added last are
	last  int    // length of its body
	n     int
}

// Reset begins a datagram at the end of b.
func (j *Joiner) Reset(b []byte) { *j = Joiner{buf: b, start: len(b)} }

// Add appends a packet: the first as it is, every other behind a jumbo header.
// JumboPacket is set by the Joiner, not by h. A packet can follow another if that
// has 1412 bytes and is not the call's last one, and if its seq and serial are
// the next, with the same epoch, cid, call, service and class. If not, Add changes
// nothing and returns an error that says why, and the caller begins another
// datagram.
func (j *Joiner) Add(h Header, body []byte) error {
	h.Flags &^= JumboPacket
	if j.n == 0 {
		j.buf = h.Append(j.buf)
		j.flags = len(j.buf) - HeaderSize + 21
	} else {
		if err := j.follows(&h, body); err != nil {
			return err
		}
		j.buf[j.flags] |= byte(JumboPacket)
		j.flags = len(j.buf)
		j.buf = AppendJumboHeader(j.buf, h.Flags, h.Checksum)
	}
	j.buf = append(j.buf, body...)
	j.head, j.last = h, len(body)
	j.n++
	return nil
}

func (j *Joiner) follows(h *Header, body []byte) error {
	want := j.head
	want.Seq++
	want.Serial++
	want.Flags, want.Checksum, want.UserStatus = h.Flags, h.Checksum, h.UserStatus
	switch {
	case j.head.Flags&LastPacket != 0:
		return errJoinLast
	case j.last != JumboData || len(body) > JumboData:
		return errJoinBody
	case *h != want || (h.Flags^j.head.Flags)&ClientInitiated != 0 || h.UserStatus != 0:
		return errJoinHeader
	case j.n == MaxJumbo:
		return errJoinFull
	}
	return nil
}

// Len returns how many packets the datagram has.
func (j *Joiner) Len() int { return j.n }

// Size returns the length of the datagram.
func (j *Joiner) Size() int { return len(j.buf) - j.start }

// Bytes returns what was given to Reset with the datagram behind it.
func (j *Joiner) Bytes() []byte { return j.buf }

// AppendJumboHeader appends the header that stands between two packets of a
// datagram and describes the second.
func AppendJumboHeader(b []byte, f Flags, c Checksum) []byte {
	return append(b, byte(f&sendableFlags), 0, byte(c>>8), byte(c))
}
