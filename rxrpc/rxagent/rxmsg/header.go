package rxmsg

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/connector"
)

// Sizes.
const (
	HeaderSize = 16
	// MaxBody is the most that follows a header.
	MaxBody = connector.MaxData - HeaderSize
)

// Flags of a request, in Header.Flags.
const (
	// FlagNoReply wants no completion: what goes wrong is told by an EventError. Such a request is sent by Post.
	FlagNoReply = 1
	// FlagDeadline puts a u64 before the body: nanoseconds after which the request completes with ETIMEDOUT.
	FlagDeadline = 2
)

// FlagFurther, of OpSendmsg, says that the call has begun: if there is no such call the message is refused, by
// EBADSLT, and begins none. Who posts several messages of a call sets it in all but the first, or the rest of a call that could not
// be begun would begin another.
const FlagFurther = 4

// FlagTag, of an event, says that Arg is the tag of a call.
const FlagTag = 1

// FlagMore in Reply.Flags says that there is more of the answer, to be asked for.
const FlagMore = 1

// A Header begins a request, and an event.
//
//	0    2      4      8
//	| op | flags| sock | arg (u64) |
type Header struct {
	Op    Op
	Flags uint16
	Sock  uint32 // the agent's number of the socket; 0: of none
	Arg   uint64 // as the operation has it; of an event of a call the call's tag
}

// Append appends the 16 bytes.
func (h Header) Append(b []byte) []byte {
	o := binary.NativeEndian
	b = o.AppendUint16(b, uint16(h.Op))
	b = o.AppendUint16(b, h.Flags)
	b = o.AppendUint32(b, h.Sock)
	return o.AppendUint64(b, h.Arg)
}

// ParseHeader reads a Header and returns what follows.
func ParseHeader(b []byte) (h Header, body []byte, err error) {
	if len(b) < HeaderSize {
		return h, nil, short("header", len(b), HeaderSize)
	}
	o := binary.NativeEndian
	h = Header{Op: Op(o.Uint16(b)), Flags: o.Uint16(b[2:]), Sock: o.Uint32(b[4:]), Arg: o.Uint64(b[8:])}
	return h, b[HeaderSize:], nil
}

// A Reply begins a completion.
//
//	0             2      4      8       12
//	| op | 0x8000 | flags| sock | errno | value |
//
// Behind it is the body; of one with an errno a text.
type Reply struct {
	Op    Op // of the request
	Flags uint16
	Sock  uint32
	Errno syscall.Errno // 0: done
	Value uint32        // bytes taken, ...
}

// Append appends the 16 bytes.
func (r Reply) Append(b []byte) []byte {
	o := binary.NativeEndian
	b = o.AppendUint16(b, uint16(r.Op)|replyBit)
	b = o.AppendUint16(b, r.Flags)
	b = o.AppendUint32(b, r.Sock)
	b = o.AppendUint32(b, uint32(r.Errno))
	return o.AppendUint32(b, r.Value)
}

// ParseReply reads a Reply and returns what follows.
func ParseReply(b []byte) (r Reply, body []byte, err error) {
	if len(b) < HeaderSize {
		return r, nil, short("reply", len(b), HeaderSize)
	}
	o := binary.NativeEndian
	op := o.Uint16(b)
	if op&replyBit == 0 {
		return r, nil, invalid("a reply to %v without the bit of replies", Op(op))
	}
	r = Reply{Op: Op(op &^ replyBit), Flags: o.Uint16(b[2:]), Sock: o.Uint32(b[4:]), Errno: syscall.Errno(o.Uint32(b[8:])), Value: o.Uint32(b[12:])}
	return r, b[HeaderSize:], nil
}

// Err returns the error that the reply tells; nil if it tells none.
func (r Reply) Err(body []byte) error {
	if r.Errno == 0 {
		return nil
	}
	return &Error{Op: r.Op, Sock: r.Sock, Errno: r.Errno, Text: string(body)}
}

// TakeDeadline reads what FlagDeadline has put before the body, in nanoseconds.
func TakeDeadline(body []byte) (ns uint64, rest []byte, err error) {
	if len(body) < 8 {
		return 0, nil, short("deadline", len(body), 8)
	}
	return binary.NativeEndian.Uint64(body), body[8:], nil
}

// AppendDeadline appends it.
func AppendDeadline(b []byte, ns uint64) []byte { return binary.NativeEndian.AppendUint64(b, ns) }

func short(what string, n, want int) error {
	return invalid("%s of %d bytes, must be %d", what, n, want)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("rxrpc agent: "+format+": %w", append(args, syscall.EINVAL)...)
}
