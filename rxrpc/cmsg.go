package rxrpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"syscall"
	"time"
)

// ControlType is the type of a control message of level SOL_RXRPC.
type ControlType int32

// Control messages of both eras (Linux: include/uapi/linux/rxrpc.h). Which of them a socket
// sends and receives is in the documentation of Socket.
const (
	CtlUserCallID     ControlType = 1
	CtlAbort          ControlType = 2
	CtlAck            ControlType = 3
	CtlNetError       ControlType = 5
	CtlBusy           ControlType = 6
	CtlLocalError     ControlType = 7
	CtlNewCall        ControlType = 8
	CtlAccept         ControlType = 9
	CtlExclusiveCall  ControlType = 10
	CtlUpgradeService ControlType = 11
	CtlTxLength       ControlType = 12
	CtlSetCallTimeout ControlType = 13
	CtlChargeAccept   ControlType = 14

	// ctlMax is what the option RXRPC_SUPPORTED_CMSG says.
	ctlMax = CtlChargeAccept
)

var ctlNames = map[ControlType]string{
	CtlUserCallID: "USER_CALL_ID", CtlAbort: "ABORT", CtlAck: "ACK", CtlNetError: "NET_ERROR", CtlBusy: "BUSY",
	CtlLocalError: "LOCAL_ERROR", CtlNewCall: "NEW_CALL", CtlAccept: "ACCEPT", CtlExclusiveCall: "EXCLUSIVE_CALL",
	CtlUpgradeService: "UPGRADE_SERVICE", CtlTxLength: "TX_LENGTH", CtlSetCallTimeout: "SET_CALL_TIMEOUT",
	CtlChargeAccept: "CHARGE_ACCEPT",
}

// String returns the name that linux/rxrpc.h has: "RXRPC_USER_CALL_ID"; "RXRPC_99" where it has none.
func (t ControlType) String() string {
	if n, ok := ctlNames[t]; ok {
		return "RXRPC_" + n
	}
	return "RXRPC_" + strconv.Itoa(int(t))
}

// A Control is the control data of a message as a value. The zero Control has none.
type Control struct {
	// CallID is the tag of the call; it counts if HasCallID.
	CallID    uint64
	HasCallID bool

	// Command is what a message sent does besides, or instead of, carrying data: 0, CtlAbort, CtlAccept or
	// CtlChargeAccept. For a message received it is what happened: CtlAbort, CtlAck, CtlNetError, CtlBusy,
	// CtlLocalError or CtlNewCall.
	Command ControlType
	// Code is the abort code of CtlAbort, or the errno of CtlNetError and CtlLocalError.
	Code int32

	Exclusive bool // CtlExclusiveCall
	Upgrade   bool // CtlUpgradeService

	// TxLength is how many bytes the call will send, if HasTxLength.
	TxLength    int64
	HasTxLength bool

	// Timeouts of the call, if HasTimeouts; zeros leave what was.
	Timeouts    Timeouts
	HasTimeouts bool
}

// cmsg headers are a size_t length, an int level and an int type, in host order, aligned to
// the size of a word (cmsg(3)). A user's call id is an unsigned long.
const (
	wordSize   = strconv.IntSize / 8
	cmsgHeader = wordSize + 8
)

func cmsgAlign(n int) int { return (n + wordSize - 1) &^ (wordSize - 1) }

// AppendRaw appends c as control messages of level SOL_RXRPC, as struct cmsghdr has them on
// this machine.
func (c *Control) AppendRaw(b []byte) []byte {
	order := binary.NativeEndian
	if c.HasCallID {
		var id [8]byte
		if wordSize == 8 {
			order.PutUint64(id[:], c.CallID)
		} else {
			order.PutUint32(id[:], uint32(c.CallID))
		}
		b = appendCmsg(b, CtlUserCallID, id[:wordSize])
	}
	switch c.Command {
	case 0:
	case CtlAbort, CtlNetError, CtlLocalError:
		b = appendCmsg(b, c.Command, order.AppendUint32(nil, uint32(c.Code)))
	default:
		b = appendCmsg(b, c.Command, nil)
	}
	if c.Exclusive {
		b = appendCmsg(b, CtlExclusiveCall, nil)
	}
	if c.Upgrade {
		b = appendCmsg(b, CtlUpgradeService, nil)
	}
	if c.HasTxLength {
		b = appendCmsg(b, CtlTxLength, order.AppendUint64(nil, uint64(c.TxLength)))
	}
	if c.HasTimeouts {
		var t []byte
		t = order.AppendUint32(t, uint32(c.Timeouts.Hard/time.Second))
		t = order.AppendUint32(t, uint32(c.Timeouts.Idle/time.Millisecond))
		t = order.AppendUint32(t, uint32(c.Timeouts.Normal/time.Millisecond))
		b = appendCmsg(b, CtlSetCallTimeout, t)
	}
	return b
}

func appendCmsg(b []byte, t ControlType, data []byte) []byte {
	order := binary.NativeEndian
	n := cmsgHeader + len(data)
	if wordSize == 8 {
		b = order.AppendUint64(b, uint64(n))
	} else {
		b = order.AppendUint32(b, uint32(n))
	}
	b = order.AppendUint32(b, SOLRxRPC)
	b = order.AppendUint32(b, uint32(t))
	b = append(b, data...)
	return append(b, make([]byte, cmsgAlign(n)-n)...)
}

// Limits of SET_CALL_TIMEOUT (Linux: net/rxrpc/sendmsg.c).
const (
	maxHardTimeout = math.MaxInt32 / 1000 // seconds; Linux: INT_MAX / HZ
	maxSoftTimeout = 60 * 60 * 1000       // milliseconds
)

// ParseControl reads the control data of a message to send, with the checks of Linux
// (net/rxrpc/sendmsg.c): EINVAL for no control data, for what is malformed, of a type that nobody sends, or of
// a wrong length, for two commands, abort code 0, a TX_LENGTH that is negative, comes twice or goes with a
// command, and for no call id; ERANGE for time-outs that are too long. Messages of other levels are skipped.
func ParseControl(b []byte) (Control, error) {
	if len(b) == 0 {
		return Control{}, controlError(0, "no control data", syscall.EINVAL)
	}
	c, err := parseControl(b, false)
	if err != nil {
		return c, err
	}
	return c, c.check()
}

// ParseReceivedControl reads the control data of a message that was received, which RecvmsgRaw has
// written. Errors: EINVAL for what is malformed or of a type that nobody receives.
func ParseReceivedControl(b []byte) (Control, error) { return parseControl(b, true) }

func parseControl(b []byte, received bool) (Control, error) {
	var c Control
	for len(b) >= cmsgHeader {
		n := cmsgLen(b)
		if n < cmsgHeader || n > len(b) {
			return c, controlError(0, "malformed", syscall.EINVAL)
		}
		order := binary.NativeEndian
		level, t := int32(order.Uint32(b[wordSize:])), ControlType(order.Uint32(b[wordSize+4:]))
		if level == SOLRxRPC {
			if err := c.add(t, b[cmsgHeader:n], received); err != nil {
				return c, err
			}
		}
		b = b[min(cmsgAlign(n), len(b)):]
	}
	return c, nil
}

// cmsgLen returns the length that a cmsg header has, -1 for one that cannot be.
func cmsgLen(b []byte) int {
	n := uint64(binary.NativeEndian.Uint32(b))
	if wordSize == 8 {
		n = binary.NativeEndian.Uint64(b)
	}
	if n > math.MaxInt32 {
		return -1
	}
	return int(n)
}

// check looks at what must not, and what must, come together.
func (c *Control) check() error {
	switch {
	case !c.HasCallID:
		return controlError(CtlUserCallID, "missing", syscall.EINVAL)
	case c.Command == CtlAbort && c.Code == 0:
		return controlError(CtlAbort, "code 0", syscall.EINVAL)
	case c.HasTxLength && c.Command != 0:
		return controlError(CtlTxLength, "with "+c.Command.String(), syscall.EINVAL)
	case c.HasTxLength && c.TxLength < 0:
		return controlError(CtlTxLength, "negative", syscall.EINVAL)
	}
	switch c.Command {
	case 0, CtlAbort, CtlAccept, CtlChargeAccept:
	default:
		return controlError(c.Command, "is not sent", syscall.EINVAL)
	}
	t := c.Timeouts
	if t.Hard > maxHardTimeout*time.Second || t.Idle > maxSoftTimeout*time.Millisecond || t.Normal > maxSoftTimeout*time.Millisecond {
		return controlError(CtlSetCallTimeout, "too long", syscall.ERANGE)
	}
	return nil
}

// add takes in one control message.
func (c *Control) add(t ControlType, data []byte, received bool) error {
	order := binary.NativeEndian
	want := 0
	switch t {
	case CtlNetError, CtlLocalError:
		if want = 4; !received {
			return controlError(t, "is not sent", syscall.EINVAL)
		}
	case CtlAck, CtlBusy, CtlNewCall:
		if !received {
			return controlError(t, "is not sent", syscall.EINVAL)
		}
	case CtlUserCallID:
		if want = wordSize; len(data) == 4 {
			want = 4 // of a 32-bit program
		}
	case CtlAbort:
		want = 4
	case CtlTxLength:
		want = 8
	case CtlSetCallTimeout:
		if want = len(data); want != 4 && want != 8 && want != 12 {
			want = 12
		}
	case CtlAccept, CtlExclusiveCall, CtlUpgradeService, CtlChargeAccept:
	default:
		return controlError(t, "is not sent", syscall.EINVAL)
	}
	if len(data) != want {
		return controlError(t, fmt.Sprintf("%d bytes of data", len(data)), syscall.EINVAL)
	}
	switch t {
	case CtlUserCallID:
		c.HasCallID = true
		if want == 8 {
			c.CallID = order.Uint64(data)
		} else {
			c.CallID = uint64(order.Uint32(data))
		}
	case CtlAbort, CtlAccept, CtlChargeAccept, CtlNetError, CtlLocalError, CtlAck, CtlBusy, CtlNewCall:
		if c.Command != 0 {
			return controlError(t, "after "+c.Command.String(), syscall.EINVAL)
		}
		if c.Command = t; want == 4 {
			c.Code = int32(order.Uint32(data))
		}
	case CtlExclusiveCall:
		c.Exclusive = true
	case CtlUpgradeService:
		c.Upgrade = true
	case CtlTxLength:
		if c.HasTxLength {
			return controlError(t, "twice", syscall.EINVAL)
		}
		c.HasTxLength, c.TxLength = true, int64(order.Uint64(data))
	case CtlSetCallTimeout:
		c.HasTimeouts = true
		c.Timeouts.Hard = time.Duration(order.Uint32(data)) * time.Second
		if want > 4 {
			c.Timeouts.Idle = time.Duration(order.Uint32(data[4:])) * time.Millisecond
		}
		if want > 8 {
			c.Timeouts.Normal = time.Duration(order.Uint32(data[8:])) * time.Millisecond
		}
	}
	return nil
}

func controlError(t ControlType, what string, errno syscall.Errno) error {
	if t == 0 {
		return fmt.Errorf("rxrpc control data: %s: %w", what, errno)
	}
	return fmt.Errorf("rxrpc control message %v: %s: %w", t, what, errno)
}
