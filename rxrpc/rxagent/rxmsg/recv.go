package rxmsg

import (
	"encoding/binary"
	"syscall"
)

// A RecvData is the body of OpRecvData (rxrpc_kernel_recv_data), whose Arg is the number of a call with FlagNotify.
//
//	0      4
//	| most | flags |
type RecvData struct {
	Most uint32 // that much is wanted, at most MaxReceived
	More bool   // flag 1: it is no error if there is more
}

// Append appends it.
func (r *RecvData) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, r.Most)
	return binary.NativeEndian.AppendUint32(b, uint32(flag(r.More)))
}

// ParseRecvData reads one.
func ParseRecvData(b []byte) (RecvData, error) {
	if len(b) < 8 {
		return RecvData{}, short("wish", len(b), 8)
	}
	r := RecvData{Most: binary.NativeEndian.Uint32(b), More: binary.NativeEndian.Uint32(b[4:])&1 != 0}
	if r.Most > MaxReceived {
		return RecvData{}, invalid("%d bytes wanted, at most %d", r.Most, MaxReceived)
	}
	return r, nil
}

// A Received is the body of the reply to OpRecvData. What was read comes with it also if it is less than was wanted.
//
//	0       4        5     6         8      12
//	| errno | status | how | service | code | data
type Received struct {
	Errno   syscall.Errno // 0; EAGAIN, EBADMSG, EMSGSIZE; or that of a call which has failed
	Status  uint8         // rxrpc.RecvMore, RecvEnd or RecvRequest, if Errno is 0
	How     How           // how the call has failed; 0: it has not
	Service uint16        // that the call is of: after an upgrade the better one
	Code    int32         // of an abort
	Data    []byte
}

const receivedHeader = 12

// MaxReceived is how much data fits into a Received.
const MaxReceived = MaxBody - receivedHeader

// Append appends it.
func (r *Received) Append(b []byte) []byte {
	o := binary.NativeEndian
	b = o.AppendUint32(b, uint32(r.Errno))
	b = append(b, r.Status, byte(r.How))
	b = o.AppendUint16(b, r.Service)
	b = o.AppendUint32(b, uint32(r.Code))
	return append(b, r.Data...)
}

// ParseReceived reads one. It borrows b.
func ParseReceived(b []byte) (Received, error) {
	if len(b) < receivedHeader {
		return Received{}, short("received", len(b), receivedHeader)
	}
	o := binary.NativeEndian
	return Received{
		Errno: syscall.Errno(o.Uint32(b)), Status: b[4], How: How(b[5]), Service: o.Uint16(b[6:]), Code: int32(o.Uint32(b[8:])), Data: b[receivedHeader:],
	}, nil
}
