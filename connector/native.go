package connector

import (
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
)

// The functions of this file are the hot path of the carriers of one host: the
// byte order is the host's, so that the compiler sees through it.
var native = binary.NativeEndian

// AppendNative is AppendNetlink in the host's byte order.
func (m *Message) AppendNative(b []byte, port uint32) ([]byte, error) {
	if len(m.Data) > MaxData {
		return b, m.tooBig()
	}
	n := len(b)
	b = append(b, make([]byte, HeaderLen)...)
	h := b[n : n+HeaderLen]
	native.PutUint32(h[0:], uint32(HeaderLen+len(m.Data)))
	native.PutUint16(h[4:], NlmsgDone)
	native.PutUint16(h[6:], 0)
	native.PutUint32(h[8:], m.Seq)
	native.PutUint32(h[12:], port)
	native.PutUint32(h[16:], m.ID.Idx)
	native.PutUint32(h[20:], m.ID.Val)
	native.PutUint32(h[24:], m.Seq)
	native.PutUint32(h[28:], m.Ack)
	native.PutUint16(h[32:], uint16(len(m.Data)))
	native.PutUint16(h[34:], m.Flags)
	return append(b, m.Data...), nil
}

// ParseExact reads b, which must be exactly one message in the host's byte
// order, as the carriers exchange it (docs/protocol.md): type NLMSG_DONE, flags 0,
// nlmsg_len == 36 + len == len(b). nlmsg_seq and nlmsg_pid are not looked at. The
// data are a part of b. An error wraps ErrProtocol or ErrTooBig. It does not
// allocate for a well-formed message.
func ParseExact(b []byte) (m Message, err error) {
	if len(b) < HeaderLen || len(b) > NlmsgHdrLen+MaxPayload ||
		native.Uint32(b) != uint32(len(b)) ||
		native.Uint16(b[4:]) != NlmsgDone || native.Uint16(b[6:]) != 0 ||
		int(native.Uint16(b[32:])) != len(b)-HeaderLen {
		return Message{}, notExact(b)
	}
	return Message{
		ID:    cbid.ID{Idx: native.Uint32(b[16:]), Val: native.Uint32(b[20:])},
		Seq:   native.Uint32(b[24:]),
		Ack:   native.Uint32(b[28:]),
		Flags: native.Uint16(b[34:]),
		Data:  b[HeaderLen:len(b):len(b)],
	}, nil
}

// notExact says why ParseExact refuses b.
func notExact(b []byte) error {
	_, m, _, err := ParseNetlink(b, native)
	switch {
	case err != nil:
		return err
	case native.Uint32(b) != uint32(m.Size()):
		return malformed(m.ID, "nlmsg_len %d, but the message has %d bytes", native.Uint32(b), m.Size())
	}
	return malformed(m.ID, "%d bytes behind the message", len(b)-m.Size())
}

func malformed(id cbid.ID, format string, args ...any) error {
	return &OpError{Op: "parse", ID: id, HasID: true, Err: fmt.Errorf(format+": %w", append(args, ErrProtocol)...)}
}

// AppendBinary appends the netlink bytes of m in the host's byte order, with
// nlmsg_pid 0. It fails with ErrTooBig.
func (m Message) AppendBinary(b []byte) ([]byte, error) { return m.AppendNative(b, 0) }

// MarshalBinary returns what AppendBinary appends.
func (m Message) MarshalBinary() ([]byte, error) {
	if len(m.Data) > MaxData {
		return nil, m.tooBig()
	}
	return m.AppendNative(make([]byte, 0, m.Size()), 0)
}

// UnmarshalBinary is ParseExact with a copy of the data.
func (m *Message) UnmarshalBinary(b []byte) error {
	v, err := ParseExact(b)
	if err == nil {
		*m = v.Clone()
	}
	return err
}
