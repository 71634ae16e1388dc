package wire

import (
	"encoding/binary"
	"strconv"
)

// AbortCode is why a call or a connection ended. What applications and security
// classes use are com_err codes; RxRPC's own are negative.
type AbortCode int32

// RxRPC's own codes.
const (
	CallDead         AbortCode = -1 // RX_CALL_DEAD
	InvalidOperation AbortCode = -2 // RX_INVALID_OPERATION: no such service or class
	CallTimeout      AbortCode = -3 // RX_CALL_TIMEOUT
	EOF              AbortCode = -4 // RX_EOF
	ProtocolError    AbortCode = -5 // RX_PROTOCOL_ERROR
	UserAbort        AbortCode = -6 // RX_USER_ABORT
	AddrInUse        AbortCode = -7 // RX_ADDRINUSE
	BadDebugType     AbortCode = -8 // RX_DEBUGI_BADTYPE; RX_MSGSIZE within OpenAFS
	Restarting       AbortCode = -100

	// SecurityInconsistency is RXKADINCONSISTENCY, which is also the answer to a
	// packet of another security class than its connection's.
	SecurityInconsistency AbortCode = 19270400
)

// Name returns the name of one of RxRPC's own codes, or "".
func (c AbortCode) Name() string {
	switch c {
	case CallDead:
		return "RX_CALL_DEAD"
	case InvalidOperation:
		return "RX_INVALID_OPERATION"
	case CallTimeout:
		return "RX_CALL_TIMEOUT"
	case EOF:
		return "RX_EOF"
	case ProtocolError:
		return "RX_PROTOCOL_ERROR"
	case UserAbort:
		return "RX_USER_ABORT"
	case AddrInUse:
		return "RX_ADDRINUSE"
	case BadDebugType:
		return "RX_DEBUGI_BADTYPE"
	case Restarting:
		return "RX_RESTARTING"
	case SecurityInconsistency:
		return "RXKADINCONSISTENCY"
	}
	return ""
}

// String returns the name, or the number in decimal.
func (c AbortCode) String() string {
	if name := c.Name(); name != "" {
		return name
	}
	return strconv.Itoa(int(c))
}

// AbortSize is the length of an ABORT's body.
const AbortSize = 4

var errShortAbort = truncated("ABORT without a code")

// ParseAbort returns the code. What follows it does not count.
func ParseAbort(body []byte) (AbortCode, error) {
	if len(body) < AbortSize {
		return 0, errShortAbort
	}
	return AbortCode(binary.BigEndian.Uint32(body)), nil
}

// AppendAbort appends the body of an ABORT.
func AppendAbort(b []byte, c AbortCode) []byte { return binary.BigEndian.AppendUint32(b, uint32(c)) }
