package connector

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
)

// Sizes and constants of the netlink bytes, linux/netlink.h and
// linux/connector.h.
const (
	NlmsgHdrLen = 16    // struct nlmsghdr
	CnMsgLen    = 20    // struct cn_msg without data
	HeaderLen   = 36    // both
	MaxPayload  = 16384 // CONNECTOR_MAX_MSG_SIZE: all that follows the nlmsghdr
	MaxData     = 16364 // MaxPayload less one cn_msg header
	NlmsgDone   = 3     // NLMSG_DONE, the type of every connector message
)

// Message is the connector's cn_msg.
//
//	 0      4      8      12     16     18     20
//	| idx  | val  | seq  | ack  | len  |flags | data ...
//
// On every carrier it stands behind an nlmsghdr of type NLMSG_DONE whose
// nlmsg_seq is Seq (Documentation/driver-api/connector.rst).
type Message struct {
	ID    cbid.ID
	Seq   uint32
	Ack   uint32
	Flags uint16
	Data  []byte
}

// Clone returns a copy of m that owns its data.
func (m Message) Clone() Message {
	m.Data = append([]byte(nil), m.Data...)
	return m
}

// Size is the length of the message's bytes with the nlmsghdr, unpadded.
func (m Message) Size() int { return HeaderLen + len(m.Data) }

// Equal reports whether all fields are equal and the data have the same bytes.
func (m Message) Equal(other Message) bool {
	return m.ID == other.ID && m.Seq == other.Seq && m.Ack == other.Ack && m.Flags == other.Flags &&
		bytes.Equal(m.Data, other.Data)
}

func (m *Message) tooBig() error {
	return &OpError{
		Op: "append", ID: m.ID, HasID: true,
		Err: fmt.Errorf("%d bytes of data, at most %d: %w", len(m.Data), MaxData, ErrTooBig),
	}
}

// AppendNetlink appends the nlmsghdr and the cn_msg in the given byte order.
// port is put in nlmsg_pid, which receivers must not trust. It fails with
// ErrTooBig when the data do not fit, and then leaves b as it was. It does not
// allocate when b has room for Size more bytes.
func (m Message) AppendNetlink(b []byte, order binary.ByteOrder, port uint32) ([]byte, error) {
	if len(m.Data) > MaxData {
		return b, m.tooBig()
	}
	n := len(b)
	b = append(b, make([]byte, HeaderLen)...)
	h := b[n : n+HeaderLen]
	order.PutUint32(h[0:], uint32(HeaderLen+len(m.Data)))
	order.PutUint16(h[4:], NlmsgDone)
	order.PutUint16(h[6:], 0)
	order.PutUint32(h[8:], m.Seq)
	order.PutUint32(h[12:], port)
	order.PutUint32(h[16:], m.ID.Idx)
	order.PutUint32(h[20:], m.ID.Val)
	order.PutUint32(h[24:], m.Seq)
	order.PutUint32(h[28:], m.Ack)
	order.PutUint16(h[32:], uint16(len(m.Data)))
	order.PutUint16(h[34:], m.Flags)
	return append(b, m.Data...), nil
}
