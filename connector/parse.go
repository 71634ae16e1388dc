package connector

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/cnbus/cnbus/cbid"
)

// NlmsgHdr is a struct nlmsghdr of linux/netlink.h. PID is what the sender
// wrote, which need not be its port id.
type NlmsgHdr struct {
	Len   uint32 // with the header
	Type  uint16
	Flags uint16
	Seq   uint32
	PID   uint32
}

// nlmsgAlign is NLMSG_ALIGNTO: the next nlmsghdr begins at a multiple of it.
const nlmsgAlign = 4

func frameError(format string, args ...any) error {
	return &OpError{Op: "parse", Err: fmt.Errorf(format, args...)}
}

// ParseFrame reads the nlmsghdr at the start of b, of any type, and what belongs to it.
// The payload is a part of b, without padding. n is where the next frame begins:
// nlmsg_len rounded up to 4, or len(b) when b ends inside the padding. An error
// wraps ErrProtocol and means that nothing behind it can be made sense of: fewer than 16 bytes,
// nlmsg_len less than 16, or beyond the end of b.
func ParseFrame(b []byte, order binary.ByteOrder) (h NlmsgHdr, payload []byte, n int, err error) {
	if len(b) < NlmsgHdrLen {
		return h, nil, 0, frameError("%d bytes, an nlmsghdr has %d: %w", len(b), NlmsgHdrLen, ErrProtocol)
	}
	h = NlmsgHdr{
		Len: order.Uint32(b), Type: order.Uint16(b[4:]), Flags: order.Uint16(b[6:]),
		Seq: order.Uint32(b[8:]), PID: order.Uint32(b[12:]),
	}
	if h.Len < NlmsgHdrLen {
		return h, nil, 0, frameError("nlmsg_len %d, less than an nlmsghdr: %w", h.Len, ErrProtocol)
	}
	if uint64(h.Len) > uint64(len(b)) {
		return h, nil, 0, frameError("nlmsg_len %d, but only %d bytes: %w", h.Len, len(b), ErrProtocol)
	}
	end := int(h.Len)
	return h, b[NlmsgHdrLen:end:end], min((end+nlmsgAlign-1)&^(nlmsgAlign-1), len(b)), nil
}

// check says whether the connector may have sent a frame with header h.
func (h *NlmsgHdr) check() error {
	switch {
	case h.Type != NlmsgDone:
		return frameError("nlmsg_type %s instead of NLMSG_DONE: %w", typeName(h.Type), ErrProtocol)
	case h.Flags != 0:
		return frameError("nlmsg_flags %s instead of 0: %w", flagNames(h.Flags), ErrProtocol)
	case h.Len > NlmsgHdrLen+MaxPayload:
		return frameError("%d bytes of payload, at most %d: %w", h.Len-NlmsgHdrLen, MaxPayload, ErrTooBig)
	}
	return nil
}

func typeName(t uint16) string {
	switch t {
	case 1:
		return "1 (NLMSG_NOOP)"
	case 2:
		return "2 (NLMSG_ERROR)"
	case 4:
		return "4 (NLMSG_OVERRUN)"
	}
	return fmt.Sprint(t)
}

func flagNames(f uint16) string {
	const multi = 2 // NLM_F_MULTI: generic readers take such a DONE for the end of a dump
	if f&multi != 0 {
		return fmt.Sprintf("%#x (with NLM_F_MULTI)", f)
	}
	return fmt.Sprintf("%#x", f)
}

// ParseCnMsg reads the cn_msg at the start of a payload. The data are a part of
// it; n is where the next one of a packed payload begins. An error wraps ErrProtocol.
func ParseCnMsg(payload []byte, order binary.ByteOrder) (m Message, n int, err error) {
	if len(payload) < CnMsgLen {
		return m, 0, frameError("%d bytes, a cn_msg has %d: %w", len(payload), CnMsgLen, ErrProtocol)
	}
	m = Message{
		ID:    cbid.ID{Idx: order.Uint32(payload), Val: order.Uint32(payload[4:])},
		Seq:   order.Uint32(payload[8:]),
		Ack:   order.Uint32(payload[12:]),
		Flags: order.Uint16(payload[18:]),
	}
	n = CnMsgLen + int(order.Uint16(payload[16:]))
	if n > len(payload) {
		return Message{}, 0, malformed(m.ID, "len %d, but only %d bytes of data", n-CnMsgLen, len(payload)-CnMsgLen)
	}
	m.Data = payload[CnMsgLen:n:n]
	return m, n, nil
}

// ParseNetlink reads the frame at the start of b, which must be one message:
// type NLMSG_DONE, flags 0, at most MaxPayload bytes behind the nlmsghdr, and one cn_msg in them. It
// trusts cn_msg.len, as the connector of 2005 did, whose nlmsg_len had the padding in it: up to 3 bytes
// behind the data are padding and ignored. More are an error, because they are
// most likely another message, which Messages would find.
//
// The message's data are a part of b. n is where the next frame begins, also
// when this one is refused; it is 0 when its length is impossible and nothing
// behind it can be found. An error wraps ErrProtocol or ErrTooBig. It does
// not allocate for a well-formed message.
func ParseNetlink(b []byte, order binary.ByteOrder) (h NlmsgHdr, m Message, n int, err error) {
	h, payload, n, err := ParseFrame(b, order)
	if err == nil {
		err = h.check()
	}
	if err != nil {
		return h, Message{}, n, err
	}
	m, used, err := ParseCnMsg(payload, order)
	if err != nil {
		return h, Message{}, n, err
	}
	if rest := len(payload) - used; rest >= nlmsgAlign {
		return h, Message{}, n, malformed(m.ID, "%d bytes behind the data", rest)
	}
	return h, m, n, nil
}

// Packed yields the messages of one payload: cn_netlink_send_mult may put several
// one after the other, without padding between them. Up to 3 bytes at the end are
// padding. Anything else that is no whole message is yielded as an error, as
// the last element. Data are parts of payload.
func Packed(payload []byte, order binary.ByteOrder) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) { packed(payload, order, yield) }
}

// packed reports whether the consumer wants more.
func packed(payload []byte, order binary.ByteOrder, yield func(Message, error) bool) bool {
	for first := true; first || len(payload) >= nlmsgAlign; first = false {
		m, n, err := ParseCnMsg(payload, order)
		if !yield(m, err) {
			return false
		}
		if err != nil {
			return true
		}
		payload = payload[n:]
	}
	return true
}

// Messages yields every message of a buffer as a datagram socket fills it: several
// frames, each with one or more messages. A frame that no connector can have
// sent (wrong type or flags, too long, malformed inside) is yielded as an error and the next one is
// looked at; an impossible nlmsg_len ends it. Fewer than 4 bytes at the end are
// padding. Data are parts of b.
func Messages(b []byte, order binary.ByteOrder) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) { messages(b, order, yield) }
}

func messages(b []byte, order binary.ByteOrder, yield func(Message, error) bool) {
	for first := true; len(b) >= nlmsgAlign || first && len(b) > 0; first = false {
		h, payload, n, err := ParseFrame(b, order)
		if err == nil {
			err = h.check()
		}
		switch {
		case err != nil:
			if !yield(Message{}, err) || n == 0 {
				return
			}
		case !packed(payload, order, yield):
			return
		}
		b = b[n:]
	}
}
