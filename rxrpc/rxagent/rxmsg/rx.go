package rxmsg

import (
	"encoding/binary"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
)

// An Rx is what an interceptor gets (rxrpc_kernel_intercept_rx_messages): the body of EventRx. The Arg of its header is the number of the
// call that the application has given, or 0 with MarkNewCall.
//
//	0      1       2         4        8      12      16
//	| mark | flags | namelen | handle | code | errno | name, data
type Rx struct {
	Mark rxrpc.Mark
	Last bool // flag 1: the last data of the peer (rxrpc_kernel_is_data_last)
	// Handle is for OpDataDelivered and OpFree; 0: there is nothing to deliver.
	Handle uint32
	Code   int32         // rxrpc_kernel_get_abort_code
	Errno  syscall.Errno // rxrpc_kernel_get_error_number
	Name   []byte        // the peer: a struct sockaddr_rxrpc, or nothing
	Data   []byte
}

const rxHeader = 16

// MaxRxData is how much data fits into an Rx with a name.
const MaxRxData = MaxBody - rxHeader - rxrpc.SockaddrSize

// Append appends it.
func (r *Rx) Append(b []byte) []byte {
	o := binary.NativeEndian
	b = append(b, byte(r.Mark), byte(flag(r.Last)))
	b = o.AppendUint16(b, uint16(len(r.Name)))
	b = o.AppendUint32(b, r.Handle)
	b = o.AppendUint32(b, uint32(r.Code))
	b = o.AppendUint32(b, uint32(r.Errno))
	b = append(b, r.Name...)
	return append(b, r.Data...)
}

// ParseRx reads one. It borrows b.
func ParseRx(b []byte) (Rx, error) {
	if len(b) < rxHeader {
		return Rx{}, short("intercepted message", len(b), rxHeader)
	}
	o := binary.NativeEndian
	r := Rx{Mark: rxrpc.Mark(b[0]), Last: b[1]&1 != 0, Handle: o.Uint32(b[4:]), Code: int32(o.Uint32(b[8:])), Errno: syscall.Errno(o.Uint32(b[12:]))}
	name := int(o.Uint16(b[2:]))
	if b = b[rxHeader:]; name > len(b) {
		return Rx{}, invalid("name of %d bytes in %d", name, len(b))
	}
	r.Name, r.Data = b[:name:name], b[name:]
	return r, nil
}
