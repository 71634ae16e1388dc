package rxmsg_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// TestReasonTravelsWithControlMessages that do not know of it.
func TestReasonTravelsWithControlMessages(t *testing.T) {
	for _, c := range []struct {
		err  error
		want rxmsg.Reason
	}{
		{&rxrpc.AbortError{Code: -3, Errno: syscall.ETIME, Cause: errors.New("too long")}, rxmsg.Reason{How: rxmsg.LocalAbort, Code: -3, Errno: syscall.ETIME, Text: "too long"}},
		{&rxrpc.CallError{Err: &rxrpc.AbortError{Code: 363524, Remote: true, Conn: true, Errno: syscall.ECONNABORTED}}, rxmsg.Reason{How: rxmsg.RemoteAbort, Conn: true, Code: 363524, Errno: syscall.ECONNABORTED}},
		{&rxrpc.NetError{Errno: syscall.ENETUNREACH}, rxmsg.Reason{How: rxmsg.NetError, Errno: syscall.ENETUNREACH}},
		{&rxrpc.NetError{Errno: syscall.EPERM, Local: true}, rxmsg.Reason{How: rxmsg.LocalError, Errno: syscall.EPERM}},
		{&rxrpc.AbortError{Code: 1, Cause: errors.New(strings.Repeat("x", 500))}, rxmsg.Reason{How: rxmsg.LocalAbort, Code: 1, Text: strings.Repeat("x", rxmsg.MaxReason)}},
	} {
		r, ok := rxmsg.ReasonOf(c.err)
		require.True(t, ok)
		ctl := rxrpc.Control{CallID: 7, HasCallID: true, Command: rxrpc.CtlAbort, Code: 5}
		raw := r.Append(ctl.AppendRaw(nil))
		assert.Zero(t, len(raw)%8)
		got, err := rxrpc.ParseReceivedControl(raw)
		require.NoError(t, err)
		assert.Equal(t, ctl, got)
		r, ok = rxmsg.FindReason(raw)
		require.True(t, ok)
		assert.Equal(t, c.want, r)
		for n := range len(raw) - 8 {
			_, ok := rxmsg.FindReason(raw[:n])
			assert.False(t, ok, "cut to %d bytes", n)
		}
	}
	for _, err := range []error{nil, io.EOF, context.Canceled, rxrpc.ErrClosed} {
		_, ok := rxmsg.ReasonOf(err)
		assert.False(t, ok, err)
	}
}

// FuzzFindReason: nothing makes it panic, and what it has found is the same when it is written again.
func FuzzFindReason(f *testing.F) {
	r := rxmsg.Reason{How: rxmsg.LocalAbort, Code: -3, Errno: syscall.ETIME, Text: "too long"}
	ctl := rxrpc.Control{CallID: 7, HasCallID: true}
	f.Add(r.Append(ctl.AppendRaw(nil)))
	f.Add(r.Append(nil)[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := rxmsg.FindReason(b)
		if !ok || len(r.Text) > rxmsg.MaxReason {
			return
		}
		again, ok := rxmsg.FindReason(r.Append(nil))
		require.True(t, ok)
		require.Equal(t, r, again)
	})
}
