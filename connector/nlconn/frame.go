package nlconn

import (
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

var native = binary.NativeEndian

// flagRequest is NLM_F_REQUEST: set in nlmsg_flags by the Call of an Endpoint, so that a
// callback can tell that its sender waits. The kernel's connector does not look at it.
const flagRequest = 1

// appendFrame appends the datagram of m.
func appendFrame(b []byte, m *connector.Message, port uint32, call bool) ([]byte, error) {
	n := len(b)
	b, err := m.AppendNative(b, port)
	if err == nil && call {
		native.PutUint16(b[n+6:], flagRequest)
	}
	return b, err
}

// parseFrame reads the one message of a datagram. What is behind it is not looked at, as in the
// kernel. An error wraps connector.ErrProtocol or connector.ErrTooBig.
func parseFrame(b []byte) (m connector.Message, call bool, err error) {
	h, payload, _, err := connector.ParseFrame(b, native)
	switch {
	case err != nil:
		return m, false, err
	case h.Type != connector.NlmsgDone || h.Flags&^flagRequest != 0:
		return m, false, fmt.Errorf("nlmsg_type %d, flags %#x instead of NLMSG_DONE: %w", h.Type, h.Flags, connector.ErrProtocol)
	case len(payload) > connector.MaxPayload:
		return m, false, fmt.Errorf("%d bytes of payload: %w", len(payload), connector.ErrTooBig)
	}
	m, _, err = connector.ParseCnMsg(payload, native)
	return m, h.Flags&flagRequest != 0, err
}
