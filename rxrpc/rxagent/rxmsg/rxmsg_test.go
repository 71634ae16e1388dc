package rxmsg_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

var (
	name    = rxrpc.Addr{Service: 52, Addr: netip.MustParseAddrPort("192.0.2.1:7003")}.AppendRaw(nil)
	control = rxmsg.AppendTag(nil, 7)

	header  = rxmsg.Header{Op: rxmsg.OpSendmsg, Flags: rxmsg.FlagNoReply, Sock: 3, Arg: 1 << 40}
	reply   = rxmsg.Reply{Op: rxmsg.OpBind, Flags: rxmsg.FlagMore, Sock: 3, Errno: syscall.EADDRINUSE, Value: 5}
	msg     = rxmsg.Msg{Flags: rxrpc.MsgMore, Name: name, Control: control, Data: []byte("data")}
	rx      = rxmsg.Rx{Mark: rxrpc.MarkData, Last: true, Handle: 9, Code: -3, Errno: syscall.EIO, Name: name, Data: []byte("data")}
	failure = rxmsg.Failure{Errno: syscall.EACCES, Op: rxmsg.OpSendmsg, HasTag: true, NoCall: true, Seq: 99, Text: "no"}
	begin   = rxmsg.BeginCall{
		Name: name, Key: 7, KeyDescription: []byte("afs@example.org"), TxLength: 1 << 33, HasTxLength: true, Upgrade: true,
		Timeouts: rxrpc.Timeouts{Hard: time.Minute, Idle: time.Second, Normal: 20 * time.Millisecond},
	}
	hello = rxmsg.Hello{Version: 1, Sockets: 2, Run: 3 << 40, Calls: 4, ReceiveWindow: 5, SendWindow: 6, Data: 7}
)

// TestEachMessageAndEachTruncation: what is appended is parsed as it was, and nothing shorter than its
// fixed part is taken for one.
func TestEachMessageAndEachTruncation(t *testing.T) {
	must := func(b []byte, err error) []byte {
		require.NoError(t, err)
		return b
	}
	for _, c := range []struct {
		what  string
		bytes []byte
		fixed int // below it is an error
		want  any
		parse func([]byte) (any, error)
	}{
		{"header", header.Append(nil), 16, header, func(b []byte) (any, error) { h, _, err := rxmsg.ParseHeader(b); return h, err }},
		{"reply", reply.Append(nil), 16, reply, func(b []byte) (any, error) { r, _, err := rxmsg.ParseReply(b); return r, err }},
		{"message", must(msg.Append(nil)), 8 + len(name) + len(control), msg, func(b []byte) (any, error) { return rxmsg.ParseMsg(b) }},
		{"intercepted", rx.Append(nil), 16 + len(name), rx, func(b []byte) (any, error) { return rxmsg.ParseRx(b) }},
		{"failure", failure.Append(nil), 12, failure, func(b []byte) (any, error) { return rxmsg.ParseFailure(b) }},
		{"begin", must(begin.Append(nil)), 32 + len(name) + 15, begin, func(b []byte) (any, error) { return rxmsg.ParseBeginCall(b) }},
		{"hello", hello.Append(nil), 36, hello, func(b []byte) (any, error) { return rxmsg.ParseHello(b) }},
		{"socket", (&rxmsg.Socket{Window: 9, BusyEnds: true}).Append(nil), 8, rxmsg.Socket{Window: 9, BusyEnds: true}, func(b []byte) (any, error) { return rxmsg.ParseSocket(b) }},
		{"number", rxmsg.AppendU32(nil, 77), 4, uint32(77), func(b []byte) (any, error) { return rxmsg.ParseU32(b) }},
		{"deadline", rxmsg.AppendDeadline(nil, 1<<40), 8, uint64(1 << 40), func(b []byte) (any, error) { ns, _, err := rxmsg.TakeDeadline(b); return ns, err }},
	} {
		got, err := c.parse(c.bytes)
		require.NoError(t, err, c.what)
		assert.Equal(t, c.want, got, c.what)
		for n := range c.fixed {
			if n == 0 && c.what == "socket" {
				continue // may be empty
			}
			_, err := c.parse(c.bytes[:n:n])
			require.ErrorIs(t, err, syscall.EINVAL, "%s cut to %d bytes", c.what, n)
		}
	}
}

func TestLengthsThatLie(t *testing.T) {
	b, err := msg.Append(nil)
	require.NoError(t, err)
	b[0], b[1] = 0xff, 0xff
	_, err = rxmsg.ParseMsg(b)
	require.ErrorIs(t, err, syscall.EINVAL)
	b = rx.Append(nil)
	b[2], b[3] = 0xff, 0xff
	_, err = rxmsg.ParseRx(b)
	require.ErrorIs(t, err, syscall.EINVAL)
	b, err = begin.Append(nil)
	require.NoError(t, err)
	b[28], b[29] = 0xff, 0xff
	_, err = rxmsg.ParseBeginCall(b)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, _, err = rxmsg.ParseReply(header.Append(nil))
	require.ErrorIs(t, err, syscall.EINVAL, "a request is no reply")
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	most := rxmsg.MaxData(len(name), len(control))
	m := rxmsg.Msg{Name: name, Control: control, Data: make([]byte, most)}
	b, err := m.Append(header.Append(nil))
	require.NoError(t, err)
	assert.Len(t, b, connector.MaxData)
	m.Data = make([]byte, most+1)
	b, err = m.Append(header.Append(nil))
	require.ErrorIs(t, err, syscall.EMSGSIZE)
	assert.Len(t, b, rxmsg.HeaderSize, "b is as it was")
	r := rxmsg.Rx{Name: name, Data: make([]byte, rxmsg.MaxRxData)}
	assert.Len(t, r.Append(header.Append(nil)), connector.MaxData)
	c := rxmsg.BeginCall{KeyDescription: make([]byte, rxmsg.MaxBody)}
	_, err = c.Append(nil)
	require.ErrorIs(t, err, syscall.EMSGSIZE)
}

func TestErrorsSayWhatTheAgentSaid(t *testing.T) {
	err := reply.Err([]byte("rxrpc socket: bind: service 52: address already in use"))
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.Equal(t, "rxrpc agent: rxrpc socket: bind: service 52: address already in use", err.Error())
	ok := rxmsg.Reply{Op: rxmsg.OpBind}
	require.NoError(t, ok.Err(nil))
	err = failure.Err(rxmsg.Header{Sock: 3, Arg: 12})
	require.ErrorIs(t, err, syscall.EACCES)
	assert.Equal(t, "rxrpc agent: call 12: no", err.Error())
}

func TestOptionsAsAnArgument(t *testing.T) {
	level, option := rxmsg.SplitOpt(rxmsg.OptArg(rxrpc.SOLRxRPC, -2))
	assert.Equal(t, [2]int{rxrpc.SOLRxRPC, -2}, [2]int{level, option})
}

func TestDescribe(t *testing.T) {
	m := connector.Message{ID: cbid.RxRPC}
	body, err := msg.Append(nil)
	require.NoError(t, err)
	beginBody, err := begin.Append(nil)
	require.NoError(t, err)
	received := rxrpc.Control{CallID: 7, HasCallID: true, Command: rxrpc.CtlAbort, Code: 363524}
	eor := rxmsg.Msg{Flags: rxrpc.MsgEOR, Name: name, Control: received.AppendRaw(nil)}
	eorBody, err := eor.Append(nil)
	require.NoError(t, err)
	ofJoe := rxrpc.Control{CallID: 7, HasCallID: true}
	joe := rxmsg.Msg{Name: name, Control: rxmsg.AppendSecurity(ofJoe.AppendRaw(nil), &secured), Data: []byte("data")}
	joeBody, err := joe.Append(nil)
	require.NoError(t, err)
	setopt := func(option int, value ...byte) []byte {
		return append(rxmsg.Header{Op: rxmsg.OpSetOpt, Sock: 3, Arg: rxmsg.OptArg(rxrpc.SOLRxRPC, option)}.Append(nil), value...)
	}
	late := rxmsg.Header{Op: rxmsg.OpBind, Flags: rxmsg.FlagDeadline, Sock: 3}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{append(header.Append(nil), body...), "rxrpc SENDMSG sock 3 call 7 to 192.0.2.1:7003/52, 4 bytes, MORE"},
		{append(rxmsg.Header{Op: rxmsg.EventMsg, Sock: 3}.Append(nil), eorBody...), "rxrpc event MSG sock 3 call 7 RXRPC_ABORT 363524 from 192.0.2.1:7003/52, 0 bytes, EOR"},
		{append(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: 3, Arg: 9}.Append(nil), beginBody...), "rxrpc BEGIN_CALL sock 3 call 9 to 192.0.2.1:7003/52"},
		{append(rxmsg.Header{Op: rxmsg.EventRx, Sock: 3, Arg: 9}.Append(nil), rx.Append(nil)...), "rxrpc event RX sock 3 call 9 DATA from 192.0.2.1:7003/52 code -3 errno 5, 4 bytes, the last"},
		{append(late.Append(nil), rxmsg.AppendDeadline(nil, 1e9)...), "rxrpc BIND sock 3 within 1s"},
		{append(rxmsg.Header{Op: rxmsg.OpWindow, Sock: 3, Arg: 9}.Append(nil), rxmsg.AppendU32(nil, 4096)...), "rxrpc WINDOW sock 3 call 9, 4096 bytes"},
		{append(rxmsg.Header{Op: rxmsg.EventError, Sock: 3, Arg: 9}.Append(nil), failure.Append(nil)...), `rxrpc event ERROR sock 3 call 9: SENDMSG: errno 13 (permission denied) "no"`},
		{setopt(rxrpc.OptMinSecurityLevel, rxmsg.AppendU32(nil, 2)...), "rxrpc SETOPT sock 3 RXRPC_MIN_SECURITY_LEVEL encrypt"},
		{setopt(rxrpc.OptSecurityKey, 'a', 'f', 's'), `rxrpc SETOPT sock 3 RXRPC_SECURITY_KEY "afs"`},
		{setopt(rxrpc.OptSecurityKeyring, 'k'), `rxrpc SETOPT sock 3 RXRPC_SECURITY_KEYRING "k"`},
		{setopt(rxrpc.OptExclusiveConnection), "rxrpc SETOPT sock 3 RXRPC_EXCLUSIVE_CONNECTION"},
		{setopt(rxrpc.OptUpgradeableService, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 52), 53)...), "rxrpc SETOPT sock 3 RXRPC_UPGRADEABLE_SERVICE 52 to 53"},
		{setopt(rxrpc.OptUpgradeableService, 52), "rxrpc SETOPT sock 3 RXRPC_UPGRADEABLE_SERVICE, 1 bytes"},
		{setopt(99, 1), "rxrpc SETOPT sock 3 level 272 option 99, 1 bytes"},
		{rxmsg.Header{Op: rxmsg.OpGetOpt, Sock: 3, Arg: rxmsg.OptArg(rxrpc.SOLRxRPC, rxrpc.OptSupportedCmsg)}.Append(nil), "rxrpc GETOPT sock 3 RXRPC_SUPPORTED_CMSG"},
		{append(rxmsg.Reply{Op: rxmsg.OpGetOpt, Sock: 3, Value: rxrpc.OptSupportedCmsg}.Append(nil), rxmsg.AppendU32(nil, 14)...), "rxrpc reply GETOPT sock 3: done RXRPC_SUPPORTED_CMSG 14"},
		{append(rxmsg.Header{Op: rxmsg.EventMsg, Sock: 3}.Append(nil), joeBody...), `rxrpc event MSG sock 3 call 7 from 192.0.2.1:7003/52 by "joe.admin@example.org" at encrypt, 4 bytes`},
		{append(reply.Append(nil), "taken"...), `rxrpc reply BIND sock 3: errno 98 (address already in use) "taken"`},
		{append(rxmsg.Reply{Op: rxmsg.OpGetName, Sock: 3}.Append(nil), name...), "rxrpc reply GETNAME sock 3: done, 0 at 192.0.2.1:7003/52"},
		{append(header.Append(nil), 1, 2), "rxrpc SENDMSG sock 3: malformed"},
		{rxmsg.Header{Op: 0x41}.Append(nil), "rxrpc KEY_LIST"},
		{[]byte("short"), "rxrpc: 5 bytes, no header"},
	} {
		m.Data = c.data
		got, ok := rxmsg.Describe(m)
		assert.True(t, ok)
		if syscall.EADDRINUSE == 98 || !strings.Contains(c.want, "errno 98") { // numbers of Linux
			assert.Equal(t, c.want, got)
		}
	}
	m.ID = cbid.Proc
	_, ok := rxmsg.Describe(m)
	assert.False(t, ok)
}

// TestAppendingAllocatesNothing: with room for it.
func TestAppendingAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, connector.MaxData)
	n := testing.AllocsPerRun(100, func() {
		b, _ = msg.Append(header.Append(b[:0]))
		if _, err := rxmsg.ParseMsg(b[rxmsg.HeaderSize:]); err != nil {
			panic(err)
		}
	})
	assert.Zero(t, n)
}
