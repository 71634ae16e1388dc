package rxmsg

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// An Error is a refusal, or a failure, that the agent has told.
type Error struct {
	Op     Op
	Sock   uint32
	Tag    uint64 // of the call, if HasTag
	HasTag bool
	NoCall bool // there is no such call: nothing more will be heard of it
	Errno  syscall.Errno
	Text   string // for people; it says what the errno says, too
}

func (e *Error) Error() string {
	text := e.Text
	if text == "" {
		text = e.Errno.Error()
	}
	s := "rxrpc agent: "
	if e.HasTag {
		s += fmt.Sprintf("call %d: ", e.Tag)
	}
	return s + text
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// A Failure is the body of EventError and EventClosed.
//
//	0       4    6       8     12
//	| errno | op | flags | seq | text
type Failure struct {
	Errno  syscall.Errno
	Op     Op     // of the request that has failed; 0: of none
	HasTag bool   // flag 1: Header.Arg is the tag of a call
	NoCall bool   // flag 2: there is no such call: nothing more will be heard of it
	Seq    uint32 // of the request
	Text   string
}

const failureSize = 12

// Append appends it.
func (f *Failure) Append(b []byte) []byte {
	o := binary.NativeEndian
	b = o.AppendUint32(b, uint32(f.Errno))
	b = o.AppendUint16(b, uint16(f.Op))
	b = o.AppendUint16(b, flag(f.HasTag)|flag(f.NoCall)<<1)
	b = o.AppendUint32(b, f.Seq)
	return append(b, f.Text...)
}

// ParseFailure reads one.
func ParseFailure(b []byte) (Failure, error) {
	if len(b) < failureSize {
		return Failure{}, short("failure", len(b), failureSize)
	}
	o := binary.NativeEndian
	return Failure{
		Errno: syscall.Errno(o.Uint32(b)), Op: Op(o.Uint16(b[4:])), HasTag: o.Uint16(b[6:])&1 != 0, NoCall: o.Uint16(b[6:])&2 != 0, Seq: o.Uint32(b[8:]),
		Text: string(b[failureSize:]),
	}, nil
}

// Err returns it as an error; h is the header that it came with.
func (f *Failure) Err(h Header) *Error {
	e := &Error{Op: f.Op, Sock: h.Sock, Errno: f.Errno, Text: f.Text, NoCall: f.NoCall}
	if f.HasTag {
		e.Tag, e.HasTag = h.Arg, true
	}
	return e
}

func flag(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}
