package rxkeys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// FuzzDo: whatever a process asks for, its user's keyring still works, another user's key stays as it is, and answers fit in a message.
func FuzzDo(f *testing.F) {
	add, err := (&rxmsg.KeyAdd{Type: "rxrpc_s", Description: "52:2", Payload: []byte(secret), Timeout: 5}).Append(nil)
	require.NoError(f, err)
	for op := rxmsg.OpKeyFirst; op <= rxmsg.OpKeyLast; op++ {
		f.Add(uint16(op), uint64(2), add)
		f.Add(uint16(op), rxmsg.KeyArg(3, 1), []byte{1, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, op uint16, arg uint64, body []byte) {
		k := rxkeys.New(nil)
		_, mine := start(k, 1000)
		id, err := mine.Add(t.Context(), keyring.TypeServer, "52:2", []byte(secret), rxkeys.OwnRing, 0)
		require.NoError(t, err)
		before, err := mine.Describe(t.Context(), id)
		require.NoError(t, err)
		p, c := start(k, 1001)
		_, err = c.Add(t.Context(), keyring.TypeKeyring, "mine", nil, rxkeys.OwnRing, 0)
		require.NoError(t, err)
		for range 2 {
			_, reply, err := k.Do(t.Context(), p.from, rxmsg.Header{Op: rxmsg.Op(op), Arg: arg}, body)
			require.LessOrEqual(t, len(reply), connector.MaxData-rxmsg.HeaderSize)
			if err != nil {
				require.NotContains(t, err.Error(), secret)
			}
		}
		_, err = c.List(t.Context(), rxkeys.OwnRing)
		require.NoError(t, err)
		after, err := mine.Describe(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, before, after)
	})
}
