package rxmsg

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
)

// A Msg is a struct msghdr with all that it points to: the body of OpSendmsg, and of EventMsg.
//
//	0         2            4       8
//	| namelen | controllen | flags | name, control, data
//
// name is a struct sockaddr_rxrpc, of 36 bytes, or nothing. control is a sequence of struct cmsghdr, as Linux has them on
// machines of 64 bits. Nothing is between them. See [rxrpc.ParseAddr], [rxrpc.ParseControl] and [rxrpc.ParseReceivedControl].
type Msg struct {
	Flags   rxrpc.MsgFlags
	Name    []byte
	Control []byte
	Data    []byte
}

const msgHeader = 8

// MaxData returns how much data fits into a message with a name and control data of those lengths.
func MaxData(name, control int) int { return MaxBody - msgHeader - name - control }

// Append appends it; EMSGSIZE if it does not fit into a message of the bus.
func (m *Msg) Append(b []byte) ([]byte, error) {
	b, err := AppendMsgHeader(b, len(m.Name), len(m.Control), m.Flags)
	if err != nil {
		return b, err
	}
	if len(m.Data) > MaxData(len(m.Name), len(m.Control)) {
		return b[:len(b)-msgHeader], fmt.Errorf("rxrpc agent: %d bytes of data, at most %d: %w", len(m.Data), MaxData(len(m.Name), len(m.Control)), syscall.EMSGSIZE)
	}
	b = append(b, m.Name...)
	b = append(b, m.Control...)
	return append(b, m.Data...), nil
}

// AppendMsgHeader appends what precedes the name, for who appends the rest himself.
func AppendMsgHeader(b []byte, name, control int, flags rxrpc.MsgFlags) ([]byte, error) {
	if MaxData(name, control) < 0 {
		return b, fmt.Errorf("rxrpc agent: %d bytes of name and %d of control data: %w", name, control, syscall.EMSGSIZE)
	}
	o := binary.NativeEndian
	b = o.AppendUint16(b, uint16(name))
	b = o.AppendUint16(b, uint16(control))
	return o.AppendUint32(b, uint32(flags)), nil
}

// SetMsgLengths fills in the lengths in what AppendMsgHeader has appended, for who appends first and counts later.
func SetMsgLengths(b []byte, name, control int) {
	binary.NativeEndian.PutUint16(b, uint16(name))
	binary.NativeEndian.PutUint16(b[2:], uint16(control))
}

// ParseMsg reads one. It borrows b.
func ParseMsg(b []byte) (Msg, error) {
	if len(b) < msgHeader {
		return Msg{}, short("message", len(b), msgHeader)
	}
	o := binary.NativeEndian
	name, control := int(o.Uint16(b)), int(o.Uint16(b[2:]))
	m := Msg{Flags: rxrpc.MsgFlags(o.Uint32(b[4:]))}
	b = b[msgHeader:]
	if name+control > len(b) {
		return Msg{}, invalid("name of %d bytes and control data of %d in %d", name, control, len(b))
	}
	m.Name, m.Control, m.Data = b[:name:name], b[name:name+control:name+control], b[name+control:]
	return m, nil
}

// AppendTag appends the control message RXRPC_USER_CALL_ID.
func AppendTag(b []byte, tag uint64) []byte {
	c := rxrpc.Control{CallID: tag, HasCallID: true}
	return c.AppendRaw(b)
}
