package rxmsg

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
)

// A Reason says more of a call's end than the control messages of AF_RXRPC can: who has aborted it, and the errno. It is a control
// message of a level of its own in the last EventMsg of a call that has failed, behind the others; who does not know it skips it.
//
//	0            8             12     16  17       18  20
//	| length u64 | level 0x636e | type 1 | how | conn | 0 | errno | text, and up to 7 bytes of 0
type Reason struct {
	How   How
	Conn  bool // the whole connection was aborted
	Code  int32
	Errno syscall.Errno
	Text  string // why this side has ended it, or nothing
}

// How is how a call has failed.
type How uint8

// Ways.
const (
	RemoteAbort How = 1 // the peer has aborted it
	LocalAbort  How = 2 // this side has
	NetError    How = 3
	LocalError  How = 4
)

const (
	ownLevel     = 0x636e
	reasonType   = 1
	securityType = 2
	cmsgHeader   = 16
	reasonHeader = cmsgHeader + 12
	// MaxReason is the longest text of a Reason; longer ones are cut.
	MaxReason = 200
)

// ReasonOf returns the reason in an error of a call (rxrpc.Msg.Err); false if there is none.
func ReasonOf(err error) (r Reason, ok bool) {
	if err == nil {
		return r, false // of nearly all messages, and costs nothing
	}
	return reasonOf(err)
}

func reasonOf(err error) (r Reason, ok bool) {
	var a *rxrpc.AbortError
	var n *rxrpc.NetError
	switch {
	case errors.As(err, &a):
		r = Reason{How: LocalAbort, Conn: a.Conn, Code: a.Code, Errno: a.Errno}
		if a.Remote {
			r.How = RemoteAbort
		}
		if a.Cause != nil {
			r.Text = a.Cause.Error()
		}
	case errors.As(err, &n):
		r = Reason{How: NetError, Errno: n.Errno}
		if n.Local {
			r.How = LocalError
		}
	default:
		return r, false
	}
	return r, true
}

// Append appends the control message. b is control data of whole words.
func (r *Reason) Append(b []byte) []byte {
	o := binary.NativeEndian
	text := r.Text[:min(len(r.Text), MaxReason)]
	n := reasonHeader + len(text)
	b = appendCmsgHeader(b, n, reasonType)
	b = append(b, byte(r.How), byte(flag(r.Conn)), 0, 0)
	b = o.AppendUint32(b, uint32(r.Code))
	b = o.AppendUint32(b, uint32(r.Errno))
	return pad(append(b, text...), n)
}

func appendCmsgHeader(b []byte, n int, typ uint32) []byte {
	o := binary.NativeEndian
	b = o.AppendUint64(b, uint64(n))
	return o.AppendUint32(o.AppendUint32(b, ownLevel), typ)
}

// pad fills the last word of a control message of n bytes.
func pad(b []byte, n int) []byte {
	for ; n%8 != 0; n++ {
		b = append(b, 0)
	}
	return b
}

// FindReason returns the reason in control data; false if there is none, or nothing that can be read.
func FindReason(control []byte) (r Reason, ok bool) {
	o := binary.NativeEndian
	m := findCmsg(control, reasonType, reasonHeader)
	if m == nil {
		return r, false
	}
	r = Reason{How: How(m[0]), Conn: m[1]&1 != 0, Code: int32(o.Uint32(m[4:])), Errno: syscall.Errno(o.Uint32(m[8:])), Text: string(m[12:])}
	return r, r.How >= RemoteAbort && r.How <= LocalError
}

// findCmsg returns what is in the first control message of our level and a type, of least bytes with its header; nil if there is none.
func findCmsg(control []byte, typ uint32, least uint64) []byte {
	o := binary.NativeEndian
	for b := control; len(b) >= cmsgHeader; {
		n := o.Uint64(b)
		if n < cmsgHeader || n > uint64(len(b)) {
			return nil
		}
		m := b[:n]
		b = b[min((n+7)&^7, uint64(len(b))):]
		if o.Uint32(m[8:]) == ownLevel && o.Uint32(m[12:]) == typ && n >= least {
			return m[cmsgHeader:]
		}
	}
	return nil
}
