package bussock

import (
	"encoding/binary"
	"syscall"

	"github.com/cnbus/cnbus/connector"
)

// The messages, byte by byte: docs/agents-protocol.md, "Virtual sockets". Numbers are little-endian on every
// machine, because the ends of a socket may be on two hosts and the carriers do not look into data.
const (
	// Version is that of the protocol.
	Version = 1

	headerLen  = 16
	maxData    = connector.MaxData - headerLen // of a stream in one message
	entryLen   = 2                             // before each datagram of a batch
	maxDgram   = maxData - entryLen
	maxRefusal = 512 // bytes of text in a refusal or a reset

	firstStream = 1 << 16 // numbers of streams; those below are of datagram sockets
)

// An op is what a message is about.
type op uint16

const (
	// To an id.
	opConnect op = 1 // a Call
	opCancel  op = 2
	opLookup  op = 3 // a Call

	// From endpoint to endpoint, with the id cbid.BusSock.
	opData   op = 0x10
	opWindow op = 0x11
	opReset  op = 0x12
	opDgrams op = 0x20
	opFence  op = 0x30

	opReply op = 0x8000
)

func (o op) String() string {
	switch o &^ opReply {
	case opConnect:
		return "connect"
	case opCancel:
		return "cancel"
	case opLookup:
		return "lookup"
	case opData:
		return "data"
	case opWindow:
		return "window"
	case opReset:
		return "reset"
	case opDgrams:
		return "datagrams"
	case opFence:
		return "fence"
	}
	return "unknown"
}

// Flags of data.
const (
	flagEnd  = 1 // nothing comes after it
	flagGone = 2 // and its sender takes nothing more
)

// header begins the data of every message.
type header struct {
	op    op
	flags uint16
	sock  uint32 // the receiver's number of the socket
	arg   uint64
}

func (h header) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint16(b, uint16(h.op))
	le.PutUint16(b[2:], h.flags)
	le.PutUint32(b[4:], h.sock)
	le.PutUint64(b[8:], h.arg)
}

func (h header) append(b []byte, body ...byte) []byte {
	var a [headerLen]byte
	h.put(a[:])
	return append(append(b, a[:]...), body...)
}

// parse takes the header off a message's data; false if there is none.
func parse(data []byte) (h header, body []byte, ok bool) {
	if len(data) < headerLen {
		return header{}, nil, false
	}
	le := binary.LittleEndian
	return header{
		op: op(le.Uint16(data)), flags: le.Uint16(data[2:]), sock: le.Uint32(data[4:]), arg: le.Uint64(data[8:]),
	}, data[headerLen:], true
}

// An answer is the reply to connect and lookup: an errno and a text, or where the socket is.
type answer struct {
	errno syscall.Errno
	text  string

	port   uint32 // of the endpoint
	number uint32 // of the socket there
	window uint32 // of a stream: how many bytes it takes
}

func (a answer) append(b []byte, to op) []byte {
	h := header{op: to | opReply, arg: uint64(a.errno)}
	if a.errno != 0 {
		return h.append(b, []byte(cut(a.text))...)
	}
	h.sock = a.number
	b = binary.LittleEndian.AppendUint32(h.append(b), a.port)
	return binary.LittleEndian.AppendUint32(b, a.window)
}

// parseAnswer reads the reply to an op.
func parseAnswer(data []byte, to op) (a answer, ok bool) {
	h, body, ok := parse(data)
	if !ok || h.op != to|opReply || h.arg > maxErrno {
		return answer{}, false
	}
	a.errno = syscall.Errno(h.arg)
	if a.errno != 0 {
		a.text = plain(body)
		return a, true
	}
	if len(body) != 8 {
		return answer{}, false
	}
	le := binary.LittleEndian
	a.port, a.window, a.number = le.Uint32(body), le.Uint32(body[4:]), h.sock
	return a, a.port != 0 && a.number != 0 && a.window <= mostWindow
}

// maxErrno is Linux's MAX_ERRNO.
const maxErrno = 4095

// cut shortens a text to what a message of it holds.
func cut(text string) string { return text[:min(len(text), maxRefusal)] }

// plain is a text of a peer as it can be shown: printable, and not too long.
func plain(b []byte) string {
	b = b[:min(len(b), maxRefusal)]
	text := make([]rune, 0, len(b))
	for _, r := range string(b) {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd {
			r = '?'
		}
		text = append(text, r)
	}
	return string(text)
}

// nextDgram takes the first datagram off a batch; false where its length is not that of anything.
func nextDgram(body []byte) (d, rest []byte, ok bool) {
	if len(body) < entryLen {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(body))
	if body = body[entryLen:]; n > len(body) {
		return nil, nil, false
	}
	return body[:n:n], body[n:], true
}

// countDgrams returns how many datagrams a batch has; false if it is none.
func countDgrams(body []byte) (n int, ok bool) {
	for len(body) > 0 {
		if _, body, ok = nextDgram(body); !ok {
			return 0, false
		}
		n++
	}
	return n, n > 0
}
