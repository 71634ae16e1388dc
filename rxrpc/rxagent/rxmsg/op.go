package rxmsg

import "strconv"

// An Op says what a message wants, or what it tells.
type Op uint16

// Requests. What their Arg and body are docs/agents-protocol.md has in a table.
const (
	OpHello  Op = 0x01 // the version, and the limits
	OpCancel Op = 0x02 // gives up a request
	OpStat   Op = 0x03 // sockets, calls, connections, peers as JSON

	OpSocket   Op = 0x10
	OpClose    Op = 0x11
	OpBind     Op = 0x12
	OpConnect  Op = 0x13
	OpListen   Op = 0x14
	OpShutdown Op = 0x15
	OpSetOpt   Op = 0x16
	OpGetOpt   Op = 0x17
	OpGetName  Op = 0x18
	OpSendmsg  Op = 0x19
	OpWindow   Op = 0x1a // more data of a call may come
	OpReject   Op = 0x1b

	// The interface that AF_RXRPC has for file systems in the kernel.
	OpIntercept     Op = 0x20
	OpBeginCall     Op = 0x21
	OpEndCall       Op = 0x22
	OpSendData      Op = 0x23
	OpAbortCall     Op = 0x24
	OpAcceptCall    Op = 0x25
	OpRejectCall    Op = 0x26
	OpChargeAccept  Op = 0x27
	OpDataDelivered Op = 0x28
	OpFree          Op = 0x29
	OpNullKey       Op = 0x2a
	OpSetTxLength   Op = 0x2b
	OpCheckLife     Op = 0x2c
	OpSRTT          Op = 0x2d
	OpRecvData      Op = 0x2e

	// OpKeyFirst to OpKeyLast are about keys and keyrings. Nothing gives a key's payload back.
	OpKeyFirst    Op = 0x40
	OpKeyAdd      Op = 0x40
	OpKeyList     Op = 0x41
	OpKeyDescribe Op = 0x42
	OpKeyRevoke   Op = 0x43
	OpKeyUnlink   Op = 0x44
	OpKeyKeyring  Op = 0x45 // the number of a user's keyring
	OpKeySearch   Op = 0x46
	OpKeyLink     Op = 0x47
	OpKeyTimeout  Op = 0x48
	OpKeySetPerm  Op = 0x49
	OpKeyClear    Op = 0x4a
	OpKeySeal     Op = 0x4b // the agent's public key, for FlagSealed
	OpKeyLast     Op = 0x4f
)

// Events.
const (
	EventGreeting Op = 0x4000 // may the agent send to this port? To clients on other hosts, before HELLO completes; there is nothing to do

	EventMsg    Op = 0x4001 // what recvmsg would have returned: a Msg
	EventError  Op = 0x4002 // a request with FlagNoReply has failed: a Failure
	EventSent   Op = 0x4003 // that many bytes more of what was posted of a call were taken: a u32
	EventRx     Op = 0x4004 // what an interceptor would have got: an Rx
	EventClosed Op = 0x4005 // the socket is no more: a Failure
	EventNotify Op = 0x4006 // there is news of a call, for OpRecvData: nothing more before that was asked
)

// replyBit is set in the Op of a reply.
const replyBit = 0x8000

// Key reports whether op is about keys.
func (op Op) Key() bool { return op >= OpKeyFirst && op <= OpKeyLast }

// Event reports whether op is one of an event.
func (op Op) Event() bool { return op&0xf000 == 0x4000 }

var opNames = map[Op]string{
	OpHello: "HELLO", OpCancel: "CANCEL", OpStat: "STAT",
	OpSocket: "SOCKET", OpClose: "CLOSE", OpBind: "BIND", OpConnect: "CONNECT", OpListen: "LISTEN", OpShutdown: "SHUTDOWN",
	OpSetOpt: "SETOPT", OpGetOpt: "GETOPT", OpGetName: "GETNAME", OpSendmsg: "SENDMSG", OpWindow: "WINDOW", OpReject: "REJECT",
	OpIntercept: "INTERCEPT", OpBeginCall: "BEGIN_CALL", OpEndCall: "END_CALL", OpSendData: "SEND_DATA", OpAbortCall: "ABORT_CALL",
	OpAcceptCall: "ACCEPT_CALL", OpRejectCall: "REJECT_CALL", OpChargeAccept: "CHARGE_ACCEPT", OpDataDelivered: "DATA_DELIVERED",
	OpFree: "FREE", OpNullKey: "NULL_KEY", OpSetTxLength: "SET_TX_LENGTH", OpCheckLife: "CHECK_LIFE", OpSRTT: "SRTT", OpRecvData: "RECV_DATA",
	OpKeyAdd: "KEY_ADD", OpKeyList: "KEY_LIST", OpKeyDescribe: "KEY_DESCRIBE", OpKeyRevoke: "KEY_REVOKE", OpKeyUnlink: "KEY_UNLINK",
	OpKeyKeyring: "KEY_KEYRING", OpKeySearch: "KEY_SEARCH", OpKeyLink: "KEY_LINK", OpKeyTimeout: "KEY_TIMEOUT", OpKeySetPerm: "KEY_SETPERM",
	OpKeyClear: "KEY_CLEAR", OpKeySeal: "KEY_SEAL",
	EventGreeting: "GREETING", EventMsg: "MSG", EventError: "ERROR", EventSent: "SENT", EventRx: "RX", EventClosed: "CLOSED", EventNotify: "NOTIFY",
}

// String returns the name that the documentation has: "SENDMSG".
func (op Op) String() string {
	switch n, ok := opNames[op]; {
	case ok:
		return n
	case op.Key():
		return "KEY_" + strconv.Itoa(int(op-OpKeyFirst))
	}
	return "0x" + strconv.FormatUint(uint64(op), 16)
}
