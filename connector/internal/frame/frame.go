// Package frame is the codec of the broker's stream protocol, which
// docs/protocol.md specifies. Broker and client share it.
//
// A frame is a header of 40 bytes and a body, in host byte order:
//
//	0      4    5     6      8      12      16    20    24    28    32
//	| len  |type|flags| code | port | group | tag | uid | gid | pid | pos (u64) | body ...
//
// len counts the header. Functions here borrow the bytes they are given.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
)

// Order is the byte order on a host's sockets.
var order = binary.NativeEndian

const (
	// HeaderLen is the length of a frame's header.
	HeaderLen = 40
	// MaxBody is the longest body: an nlmsghdr and MAX_PAYLOAD after it.
	MaxBody = 16 + 16384
	// MaxLen is the longest frame.
	MaxLen = HeaderLen + MaxBody
	// Version is the protocol's version.
	Version = 1
	// Mark in a HELLO tells the byte order.
	Mark = 0x01020304
	// MaxName is the longest name of a client or a callback (CN_CBQ_NAMELEN - 1).
	MaxName = 31
)

// Type is the kind of a frame.
type Type uint8

// Frames from a client to the broker.
const (
	Hello    Type = 1  // body: HelloBody. Answer: Welcome
	Send     Type = 2  // body: netlink bytes. Answer: Ack if FlagAck; Fail if it fails without FlagAck
	Add      Type = 3  // body: id, name. Answer: Ack
	Del      Type = 4  // body: id. Answer: Ack
	Join     Type = 5  // group; with FlagAt pos and body: epoch u64. Answer: Ack with pos, body: epoch u64
	Leave    Type = 6  // group. Answer: Ack
	Watch    Type = 7  // tag names the watch; body: rects. Answer: Ack, then Change...
	Unwatch  Type = 8  // pos: the tag of the watch. Answer: Ack
	Hold     Type = 9  // body: id, or empty for the port itself: send no more for it. No answer
	Resume   Type = 10 // ends Hold. No answer
	History  Type = 11 // group; body: messages u64, bytes u64, age ns u64. Answer: Ack
	Query    Type = 12 // body: what. Answer: Data..., or Ack with a code
	Monitor  Type = 13 // Answer: Ack, then Mon...
	Ping     Type = 14 // Answer: Ack
	Follow   Type = 15 // port; pos: the client's number of it. Answer: Ack, then PortGone once
	Unfollow Type = 16 // pos: the number. No answer
)

// Frames from the broker to a client.
const (
	Welcome  Type = 65 // port: the client's; pos: the broker's instance; body: WelcomeBody
	Msg      Type = 66 // port, group, uid, gid, pid of the sender, pos; body: netlink bytes
	Ack      Type = 67 // tag, code; body: a text if code is not 0
	Fail     Type = 68 // code; port, group: where it was to go; body: HeaderLen netlink bytes without data
	Lost     Type = 69 // group; pos: how many; FlagUnknown
	Stop     Type = 70 // port, group or body id: that receiver is full, send no more to it
	Go       Type = 71 // ends Stop
	Change   Type = 72 // tag: the watch; code: connector.ChangeKind; port, group, uid, gid, pid; body: id, name
	Interest Type = 73 // group; code: 1 somebody listens, 0 nobody
	Gone     Type = 74 // port: an agent; body: id. Calls to it will not be answered
	Data     Type = 75 // tag; body: a piece of the JSON answer; FlagMore on all but the last
	Mon      Type = 76 // like Send, of somebody: port sender, tag receiver, pos: Unix ns, code: result
	PortGone Type = 78 // port: nobody has it any more; pos: the number given with Follow
	Site     Type = 79 // code: connector.SiteState; body: id, text. what becomes of a registration for all hosts
	Bye      Type = 77 // code; body: a text. The broker closes the connection after it
)

// Flags.
const (
	FlagAck      = 0x01 // Send: tag is to be acknowledged
	FlagCall     = 0x02 // Send, Msg: the sender waits for a reply
	FlagReply    = 0x04 // Send, Msg: this is a reply
	FlagWait     = 0x08 // Send: wait for each member of the group (connector.FullWait)
	FlagDrop     = 0x10 // Send: never wait (connector.FullDrop)
	FlagAgent    = 0x20 // Send: neither port nor group means the group of the registered id
	FlagAt       = 0x40 // Join: at pos of epoch
	FlagToID     = 0x80 // Msg: for the callback of the message's id
	FlagMore     = 0x01 // Data: another follows
	FlagUnknown  = 0x01 // Lost: the number is not known; Change: the host of the id cannot be reached
	FlagSite     = 0x01 // Add: for all hosts; History: kept by the site's store
	FlagTakeover = 0x02 // Add: from the host that has it
	FlagAgain    = 0x04 // Add: it was registered before the connection broke, and is suspended where the site cannot be asked
)

// Header is the fixed part of a frame.
type Header struct {
	Len   uint32
	Type  Type
	Flags uint8
	Code  uint16
	Port  uint32
	Group uint32
	Tag   uint32
	UID   uint32
	GID   uint32
	PID   uint32
	Pos   uint64
}

// Errors of Parse. ErrShort is not a fault: more bytes are needed.
var (
	ErrShort  = errors.New("frame: incomplete")
	ErrLength = errors.New("frame: impossible length")
	ErrBody   = errors.New("frame: malformed body")
)

// Parse reads the frame at the start of b: its header and its body, which is a
// part of b. h.Len bytes are used. It returns ErrShort when b ends before the
// frame does, and an error that wraps ErrLength when the length can be of no frame.
func Parse(b []byte) (h Header, body []byte, err error) {
	if len(b) < 4 {
		return h, nil, ErrShort
	}
	n := order.Uint32(b)
	if n < HeaderLen || n > MaxLen {
		return h, nil, fmt.Errorf("%w %d, must be in [%d, %d]", ErrLength, n, HeaderLen, MaxLen)
	}
	if uint32(len(b)) < n {
		return h, nil, ErrShort
	}
	return ParseHeader(b), b[HeaderLen:n], nil
}

// ParseHeader reads the header in b[:HeaderLen], whatever it says.
func ParseHeader(b []byte) Header {
	_ = b[HeaderLen-1]
	return Header{
		Len: order.Uint32(b), Type: Type(b[4]), Flags: b[5], Code: order.Uint16(b[6:]),
		Port: order.Uint32(b[8:]), Group: order.Uint32(b[12:]), Tag: order.Uint32(b[16:]),
		UID: order.Uint32(b[20:]), GID: order.Uint32(b[24:]), PID: order.Uint32(b[28:]),
		Pos: order.Uint64(b[32:]),
	}
}

// Put writes the header into b[:HeaderLen].
func (h *Header) Put(b []byte) {
	_ = b[HeaderLen-1]
	order.PutUint32(b, h.Len)
	b[4], b[5] = byte(h.Type), h.Flags
	order.PutUint16(b[6:], h.Code)
	order.PutUint32(b[8:], h.Port)
	order.PutUint32(b[12:], h.Group)
	order.PutUint32(b[16:], h.Tag)
	order.PutUint32(b[20:], h.UID)
	order.PutUint32(b[24:], h.GID)
	order.PutUint32(b[28:], h.PID)
	order.PutUint64(b[32:], h.Pos)
}

// Append appends the frame of h and body; Len is computed.
func (h Header) Append(b []byte, body ...byte) []byte {
	h.Len = uint32(HeaderLen + len(body))
	n := len(b)
	b = append(b, make([]byte, HeaderLen)...)
	h.Put(b[n:])
	return append(b, body...)
}

// AppendID appends an identifier, 8 bytes.
func AppendID(b []byte, id cbid.ID) []byte {
	b = order.AppendUint32(b, id.Idx)
	return order.AppendUint32(b, id.Val)
}

// ParseID reads an identifier and returns what follows it.
func ParseID(b []byte) (cbid.ID, []byte, error) {
	if len(b) < 8 {
		return cbid.ID{}, nil, fmt.Errorf("%w: id of %d bytes", ErrBody, len(b))
	}
	return cbid.Make(order.Uint32(b), order.Uint32(b[4:])), b[8:], nil
}

// AppendNamed appends the body of Add and Change: an id and a name.
func AppendNamed(b []byte, id cbid.ID, name string) []byte {
	return append(AppendID(b, id), name...)
}

// ParseNamed reads an id and a name of at most MaxName bytes without NUL.
func ParseNamed(b []byte) (cbid.ID, string, error) {
	id, rest, err := ParseID(b)
	if err != nil {
		return id, "", err
	}
	if len(rest) > MaxName {
		return id, "", fmt.Errorf("%w: name of %d bytes, at most %d", ErrBody, len(rest), MaxName)
	}
	for _, c := range rest {
		if c == 0 {
			return id, "", fmt.Errorf("%w: NUL in a name", ErrBody)
		}
	}
	return id, string(rest), nil
}

// AppendU64s appends numbers, 8 bytes each.
func AppendU64s(b []byte, v ...uint64) []byte {
	for _, x := range v {
		b = order.AppendUint64(b, x)
	}
	return b
}

// ParseU64s reads exactly len(v) numbers.
func ParseU64s(b []byte, v ...*uint64) error {
	if len(b) != 8*len(v) {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrBody, len(b), 8*len(v))
	}
	for i, p := range v {
		*p = order.Uint64(b[8*i:])
	}
	return nil
}

// AppendHello appends the body of Hello: version u32, Mark u32, name.
func AppendHello(b []byte, name string) []byte {
	b = order.AppendUint32(b, Version)
	b = order.AppendUint32(b, Mark)
	return append(b, name...)
}

// ParseHello reads the body of Hello. A foreign byte order or version is an error.
func ParseHello(b []byte) (name string, err error) {
	if len(b) < 8 || len(b) > 8+MaxName {
		return "", fmt.Errorf("%w: hello of %d bytes", ErrBody, len(b))
	}
	if m := order.Uint32(b[4:]); m != Mark {
		return "", fmt.Errorf("%w: byte order mark %#08x, this host has %#08x", ErrBody, m, uint32(Mark))
	}
	if v := order.Uint32(b); v != Version {
		return "", fmt.Errorf("%w: protocol version %d, this broker speaks %d", ErrBody, v, Version)
	}
	return string(b[8:]), nil
}

// AppendRects appends the body of Watch: for each rectangle idx first u64, idx
// count u64, val first u64, val count u64. No rectangle means every id.
func AppendRects(b []byte, rects []cbid.Rect) []byte {
	for _, r := range rects {
		b = AppendU64s(b, uint64(r.Idx.First), r.Idx.Count, uint64(r.Val.First), r.Val.Count)
	}
	return b
}

// ParseRects reads the body of Watch; sums over 1<<32 are refused.
func ParseRects(b []byte) ([]cbid.Rect, error) {
	const size = 32
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no number of ranges", ErrBody, len(b))
	}
	rects := make([]cbid.Rect, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		var f, c, g, d uint64
		if err := ParseU64s(b[:size], &f, &c, &g, &d); err != nil {
			return nil, err
		}
		const max = 1 << 32
		if f >= max || c > max || f+c > max || g >= max || d > max || g+d > max {
			return nil, fmt.Errorf("%w: a range ends beyond 2^32", ErrBody)
		}
		rects = append(rects, cbid.Rect{
			Idx: cbid.Range{First: uint32(f), Count: c},
			Val: cbid.Range{First: uint32(g), Count: d},
		})
	}
	return rects, nil
}
