package rxmsg_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// FuzzParse: no message makes a parser panic, and what one has accepted is the same when it is written and parsed again.
func FuzzParse(f *testing.F) {
	body, err := msg.Append(nil)
	require.NoError(f, err)
	beginBody, err := begin.Append(nil)
	require.NoError(f, err)
	for op, body := range map[rxmsg.Op][]byte{
		rxmsg.OpSendmsg: body, rxmsg.EventMsg: body, rxmsg.OpBeginCall: beginBody, rxmsg.EventRx: rx.Append(nil), rxmsg.EventError: failure.Append(nil),
		rxmsg.OpWindow: rxmsg.AppendU32(nil, 5), rxmsg.OpBind: name, rxmsg.OpSocket: (&rxmsg.Socket{Window: 1}).Append(nil),
	} {
		f.Add(append(rxmsg.Header{Op: op, Sock: 1, Arg: 2}.Append(nil), body...))
	}
	f.Add(append(reply.Append(nil), hello.Append(nil)...))
	f.Add(append(rxmsg.Header{Op: rxmsg.OpRecvData, Arg: 2}.Append(nil), (&rxmsg.RecvData{Most: 5, More: true}).Append(nil)...))
	f.Add(append(rxmsg.Reply{Op: rxmsg.OpRecvData}.Append(nil), (&rxmsg.Received{Errno: 11, Service: 52, Data: []byte("x")}).Append(nil)...))
	key, err := (&rxmsg.KeyAdd{Timeout: 1, Type: "rxrpc_s", Description: "52:2", Payload: []byte("12345678")}).Append(nil)
	require.NoError(f, err)
	f.Add(append(rxmsg.Header{Op: rxmsg.OpKeyAdd}.Append(nil), key...))
	f.Add(append(rxmsg.Header{Op: rxmsg.OpKeyList}.Append(nil), (&rxmsg.KeyInfo{ID: 1, Type: "rxrpc", Description: "afs@x", Revoked: true}).Append(nil)...))
	f.Add(append(rxmsg.Header{Op: rxmsg.OpBind, Flags: rxmsg.FlagDeadline}.Append(nil), 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = rxmsg.Describe(connector.Message{ID: cbid.RxRPC, Data: b})
		if r, body, err := rxmsg.ParseReply(b); err == nil {
			require.Equal(t, b, append(r.Append(nil), body...))
			_ = r.Err(body)
		}
		h, body, err := rxmsg.ParseHeader(b)
		if err != nil {
			return
		}
		require.Equal(t, b, append(h.Append(nil), body...))
		if m, err := rxmsg.ParseMsg(body); err == nil && len(b) <= connector.MaxData {
			again, err := m.Append(nil)
			require.NoError(t, err)
			require.Equal(t, body, again)
		}
		if x, err := rxmsg.ParseRx(body); err == nil {
			again, err := rxmsg.ParseRx(x.Append(nil))
			require.NoError(t, err)
			require.Equal(t, x, again)
		}
		if x, err := rxmsg.ParseFailure(body); err == nil {
			again, err := rxmsg.ParseFailure(x.Append(nil))
			require.NoError(t, err)
			require.Equal(t, x, again)
		}
		if k, err := rxmsg.ParseKeyAdd(body); err == nil {
			again, err := k.Append(nil)
			require.NoError(t, err)
			require.Equal(t, body, again)
		}
		if k, _, err := rxmsg.ParseKeyInfo(body); err == nil && len(b) <= 4096 {
			again, rest, err := rxmsg.ParseKeyInfo(k.Append(nil))
			require.NoError(t, err)
			require.Equal(t, k, again)
			require.Empty(t, rest)
		}
		if x, err := rxmsg.ParseBeginCall(body); err == nil && len(b) <= connector.MaxData {
			raw, err := x.Append(nil)
			require.NoError(t, err)
			again, err := rxmsg.ParseBeginCall(raw)
			require.NoError(t, err)
			x.Timeouts, again.Timeouts = rxrpc.Timeouts{}, rxrpc.Timeouts{} // they are cut to what can be
			require.Equal(t, x, again)
		}
		if x, err := rxmsg.ParseHello(body); err == nil {
			again, err := rxmsg.ParseHello(x.Append(nil))
			require.NoError(t, err)
			require.Equal(t, x, again)
		}
		if x, err := rxmsg.ParseRecvData(body); err == nil {
			again, err := rxmsg.ParseRecvData(x.Append(nil))
			require.NoError(t, err)
			require.Equal(t, x, again)
		}
		if x, err := rxmsg.ParseReceived(body); err == nil {
			require.Equal(t, body, x.Append(nil))
		}
		if x, err := rxmsg.ParseSocket(body); err == nil {
			again, err := rxmsg.ParseSocket(x.Append(nil))
			require.NoError(t, err)
			require.Equal(t, x, again)
		}
	})
}
