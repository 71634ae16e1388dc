package tsagent

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/connector"
)

// What the messages consist of; docs/agents-protocol.md, "tsocket agent", has the bytes.
const (
	Version   = 1
	HeaderLen = 16
	// MaxBody is what one message takes behind its header.
	MaxBody = connector.MaxData - HeaderLen
)

// Op is what a message is about. The reply to op has ReplyBit set, events are from EventBit on.
type Op uint16

// The requests.
const (
	OpHello Op = 1 + iota
	OpOpen
	OpBind
	OpConnect
	OpListen
	OpAccept
	OpSendTo
	OpRecvFrom
	OpReadv
	OpWritev
	OpPending
	OpMonitor
	OpDisconnect
	OpCloseWrite
	OpClose
	OpGetName
	OpSetOpt
	OpGetOpt
	OpWindow
	OpCancel
	OpStat

	lastOp = OpStat
)

// The events.
const (
	EventBit Op = 0x4000
	ReplyBit Op = 0x8000

	EvGreeting Op = EventBit + iota - 2 // may the agent send to this port? There is nothing to do
	EvData
	EvEnd
	EvWindow
	EvWriteError
	EvHangup
	EvDatagrams
	EvNotice
	EvReceiveError
	EvAccepted
	EvError

	lastEvent = EvError
)

var opNames = [...]string{
	OpHello: "hello", OpOpen: "open", OpBind: "bind", OpConnect: "connect", OpListen: "listen", OpAccept: "accept",
	OpSendTo: "sendto", OpRecvFrom: "recvfrom", OpReadv: "readv", OpWritev: "writev", OpPending: "pending",
	OpMonitor: "monitor", OpDisconnect: "disconnect", OpCloseWrite: "closewrite", OpClose: "close",
	OpGetName: "getname", OpSetOpt: "setopt", OpGetOpt: "getopt", OpWindow: "window", OpCancel: "cancel", OpStat: "stat",
}

var eventNames = [...]string{
	"greeting", "data", "end", "window", "write error", "hangup", "datagrams", "notice", "receive error", "accepted", "error",
}

// String returns the name in lower case, the same for a request and its reply: "sendto"; of an op that is not known "op 0x63".
func (o Op) String() string {
	switch base := o &^ ReplyBit; {
	case base >= OpHello && base <= lastOp:
		return opNames[base]
	case o >= EvGreeting && o <= lastEvent:
		return eventNames[o-EvGreeting]
	}
	return fmt.Sprintf("op %#x", uint16(o))
}

// The flags of a message. The first two are those of all agents.
const (
	FlagNoReply   uint16 = 1 << iota // of a request: no reply is wanted; a failure comes as an event
	FlagDeadline                     // of a request: its body begins with the time it may take, ns, 8 bytes
	FlagMore                         // the body goes on in the next message of this socket and op
	FlagAll                          // READV: not before all bytes are there. CANCEL: arg is an op, not a seq
	FlagKeepPath                     // LISTEN: the file of a unix socket stays
	FlagReusePort                    // BIND of a TCP socket, or LISTEN of one without an address: SO_REUSEPORT
	FlagExclusive                    // BIND of datagrams: the port at once, and nobody else's (no SO_REUSEADDR)
)

// native is the byte order: the bus is of one host.
var native = binary.NativeEndian

// Header begins every request and event.
//
//	0     2      4      8              16
//	| op  |flags | sock |     arg      | body ...
type Header struct {
	Op    Op
	Flags uint16
	Sock  uint32
	Arg   uint64
}

// Append appends the 16 bytes of h.
func (h Header) Append(b []byte) []byte {
	n := len(b)
	b = append(b, make([]byte, HeaderLen)...)
	h.put(b[n:])
	return b
}

func (h Header) put(b []byte) {
	_ = b[15]
	native.PutUint16(b, uint16(h.Op))
	native.PutUint16(b[2:], h.Flags)
	native.PutUint32(b[4:], h.Sock)
	native.PutUint64(b[8:], h.Arg)
}

// ParseHeader reads the header of a request or event; the body is what follows. EINVAL if b is too
// short to have one.
func ParseHeader(b []byte) (h Header, body []byte, err error) {
	if len(b) < HeaderLen {
		return h, nil, errShort
	}
	return Header{
		Op: Op(native.Uint16(b)), Flags: native.Uint16(b[2:]), Sock: native.Uint32(b[4:]), Arg: native.Uint64(b[8:]),
	}, b[HeaderLen:], nil
}

// Reply is a completion.
//
//	0     2      4      8       12      16
//	| op  |flags | sock | errno | value | body ...
//
// op has ReplyBit set. With an errno the body is a text for people.
type Reply struct {
	Op    Op // of the request
	Flags uint16
	Sock  uint32
	Errno syscall.Errno
	Value uint32
}

// Append appends the 16 bytes of r.
func (r Reply) Append(b []byte) []byte {
	n := len(b)
	b = append(b, make([]byte, HeaderLen)...)
	h := b[n:]
	native.PutUint16(h, uint16(r.Op|ReplyBit))
	native.PutUint16(h[2:], r.Flags)
	native.PutUint32(h[4:], r.Sock)
	native.PutUint32(h[8:], uint32(r.Errno))
	native.PutUint32(h[12:], r.Value)
	return b
}

// ParseReply reads a completion; EINVAL if b is none.
func ParseReply(b []byte) (r Reply, body []byte, err error) {
	switch {
	case len(b) < HeaderLen:
		return r, nil, errShort
	case Op(native.Uint16(b))&ReplyBit == 0:
		return r, nil, errNoReply
	}
	return Reply{
		Op: Op(native.Uint16(b)) &^ ReplyBit, Flags: native.Uint16(b[2:]), Sock: native.Uint32(b[4:]),
		Errno: syscall.Errno(native.Uint32(b[8:]) & 0xffff), Value: native.Uint32(b[12:]),
	}, b[HeaderLen:], nil
}

// Error is a refusal or failure that came over the bus: an errno and what the agent says about it.
type Error struct {
	Errno syscall.Errno
	Text  string
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Text
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Err returns the error of a completion with this body, nil if there is none.
func (r Reply) Err(body []byte) error {
	if r.Errno == 0 {
		return nil
	}
	return &Error{r.Errno, cleanText(body)}
}

func invalid(text string) *Error { return &Error{syscall.EINVAL, text} }

// What the parsers refuse. Made once, so that a flood of it costs nothing.
var (
	errShort    = invalid("message is shorter than its header of 16 bytes")
	errNoReply  = invalid("message is no reply")
	errAddr     = invalid("the length of an address lies")
	errRecord   = invalid("a record of a batch is shorter than its header of 8 bytes")
	errData     = invalid("the length of a datagram lies")
	errSegment  = invalid("a segment size that is not smaller than its data")
	errSameAddr = invalid("the first record of a batch cannot have the address of the one before")
	errMany     = &Error{syscall.EMSGSIZE, "more than 1024 datagrams in a batch"}
	errNotice   = invalid("the length of a notice lies")
	errValues   = invalid("the values of an option are not as many as it takes")
	errDeadline = invalid("a deadline without its 8 bytes, or not after now")
	errErrno    = invalid("an event without its errno")
)

// cleanText makes a text for people of what may be anything.
func cleanText(b []byte) string {
	const most = 512
	b = b[:min(len(b), most)]
	out := make([]rune, 0, len(b))
	for _, r := range string(b) {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}

// pad is how many bytes follow n to make it a multiple of 4.
func pad(n int) int { return -n & 3 }
