package rxmsg

import "encoding/binary"

// Version is the version of the format, which OpHello asks for.
const Version = 1

// A Hello is the answer to OpHello.
//
//	0         4         8      16         20              24             28              32
//	| version | sockets | run  | calls    | receive window| send window  | data           | calls of user |
type Hello struct {
	Version uint32
	Sockets uint32 // most of them per port
	Run     uint64 // of this agent: another number after it has been started again
	Calls   uint32 // most of them per socket
	// ReceiveWindow is how many bytes of a call are sent before OpWindow allows more, unless OpSocket has said otherwise.
	ReceiveWindow uint32
	// SendWindow is how many bytes of a call may be posted (FlagNoReply) that EventSent has not told of.
	SendWindow uint32
	Data       uint32 // most data of a message
	UserCalls  uint32 // most calls of a user; 0: of an agent that does not say
}

const helloSize = 36

// Append appends it.
func (h *Hello) Append(b []byte) []byte {
	o := binary.NativeEndian
	b = o.AppendUint32(b, h.Version)
	b = o.AppendUint32(b, h.Sockets)
	b = o.AppendUint64(b, h.Run)
	b = o.AppendUint32(b, h.Calls)
	b = o.AppendUint32(b, h.ReceiveWindow)
	b = o.AppendUint32(b, h.SendWindow)
	b = o.AppendUint32(b, h.Data)
	return o.AppendUint32(b, h.UserCalls)
}

// ParseHello reads one. A later version's may be longer.
func ParseHello(b []byte) (Hello, error) {
	if len(b) < helloSize {
		return Hello{}, short("hello", len(b), helloSize)
	}
	o := binary.NativeEndian
	return Hello{
		Version: o.Uint32(b), Sockets: o.Uint32(b[4:]), Run: o.Uint64(b[8:]), Calls: o.Uint32(b[16:]),
		ReceiveWindow: o.Uint32(b[20:]), SendWindow: o.Uint32(b[24:]), Data: o.Uint32(b[28:]), UserCalls: o.Uint32(b[32:]),
	}, nil
}

// A Socket is the body of OpSocket, which may be empty; and of its reply.
//
//	0        4
//	| window | flags |
type Socket struct {
	Window   uint32 // as Hello.ReceiveWindow; 0: that
	BusyEnds bool   // flag 1: a busy server ends a call, with RXRPC_BUSY
	// OwnPort, flag 2, gives a client that binds port 0 a port of its own, as a server gets; otherwise clients share one.
	OwnPort bool
	// AutoAccept, flag 4, accepts calls as they come; their tags have rxrpc.AutoTag set.
	AutoAccept bool
	// Secured, flag 8, refuses calls without security that come to a server.
	Secured bool
}

// Append appends it.
func (s *Socket) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, s.Window)
	return binary.NativeEndian.AppendUint32(b, uint32(flag(s.BusyEnds)|flag(s.OwnPort)<<1|flag(s.AutoAccept)<<2|flag(s.Secured)<<3))
}

// ParseSocket reads one.
func ParseSocket(b []byte) (Socket, error) {
	switch {
	case len(b) == 0:
		return Socket{}, nil
	case len(b) < 8:
		return Socket{}, short("socket", len(b), 8)
	}
	o := binary.NativeEndian
	flags := o.Uint32(b[4:])
	return Socket{Window: o.Uint32(b), BusyEnds: flags&1 != 0, OwnPort: flags&2 != 0, AutoAccept: flags&4 != 0, Secured: flags&8 != 0}, nil
}

// AppendU32 appends a number: the body of OpHello (the version), OpWindow and EventSent (bytes).
func AppendU32(b []byte, n uint32) []byte { return binary.NativeEndian.AppendUint32(b, n) }

// ParseU32 reads one.
func ParseU32(b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, short("number", len(b), 4)
	}
	return binary.NativeEndian.Uint32(b), nil
}

// OptArg is the Arg of OpSetOpt and OpGetOpt.
func OptArg(level, option int) uint64 { return uint64(uint32(level))<<32 | uint64(uint32(option)) }

// SplitOpt is the reverse.
func SplitOpt(arg uint64) (level, option int) { return int(int32(arg >> 32)), int(int32(arg)) }
