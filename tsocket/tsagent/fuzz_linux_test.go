package tsagent_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// Whatever a client sends, the agent goes on, and at the end nothing is left. The input is a row of messages, each with a length of
// two bytes before it. Sockets 1 to 3 are there, and nothing is let out.
func FuzzAgent(f *testing.F) {
	seed := func(messages ...[]byte) {
		var in []byte
		for _, m := range messages {
			in = append(binary.LittleEndian.AppendUint16(in, uint16(len(m))), m...)
		}
		f.Add(in)
	}
	for op := tsagent.OpHello; op <= tsagent.OpStat; op++ {
		for sock := range uint32(4) {
			h := tsagent.Header{Op: op, Sock: sock, Arg: 1, Flags: tsagent.FlagNoReply}
			seed(h.Append(nil), append(h.Append(nil), "a body"...), append(h.Append(nil), tsagent.AppendAddr(nil, local4(0))...))
		}
	}
	seed(tsagent.Header{Op: tsagent.OpWindow, Sock: 2, Arg: 1000}.Append(nil), tsagent.Header{Op: tsagent.OpClose, Sock: 2}.Append(nil))
	inside := tsagent.PolicyFunc(func(a *tsagent.Access) error {
		if a.Op == tsagent.OpOpen || a.Op == tsagent.OpBind && a.Family == "ipv4" && a.Addr == local4(0) {
			return nil
		}
		return errors.New("rule of the test")
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		hub := loopback.New(nil)
		ab, cb := hub.Open(), hub.Open()
		defer ab.Close()
		defer cb.Close()
		a, err := tsagent.New(background, ab, &tsagent.Config{Policy: inside})
		require.NoError(t, err)
		ep, err := cb.Endpoint(background)
		require.NoError(t, err)
		r := &raw{t, ep}
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_DGRAM} {
			r.open(unix.AF_INET, kind)
		}
		ctx, cancel := context.WithCancel(background)
		for range 64 {
			if len(in) < 2 {
				break
			}
			n := min(int(binary.LittleEndian.Uint16(in)), len(in)-2, connector.MaxData)
			_ = ep.Post(ctx, connector.Message{ID: cbid.TSocket, Seq: 5, Ack: 5, Data: in[2 : 2+n]}, connector.Dest{})
			in = in[2+n:]
		}
		cancel()
		_, _, err = r.call(background, tsagent.Header{Op: tsagent.OpHello}, []byte{1, 0, 0, 0})
		require.NoError(t, err)
		require.NoError(t, a.Close())
		require.Zero(t, a.Stats().Sockets)
	})
}
