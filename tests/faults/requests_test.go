//go:build linux

package faults

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

func ownCred() connector.Cred {
	return connector.Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: uint32(os.Getpid())}
}

// Each receiver that does not exist has its own error, and it comes at once.
func TestUnknownReceivers(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	b := s.bus("sender")
	e := endpoint(t, b)
	m := connector.Message{ID: cbid.Make(0xdead, 0xbeef), Data: []byte("x")}
	for _, c := range []struct {
		to   connector.Dest
		want error
	}{
		{toID, connector.ErrNoID},
		{connector.Dest{Port: 1 << 31}, connector.ErrNoPort},
		{connector.Dest{Group: 0xdead}, connector.ErrNoListener},
	} {
		require.ErrorIs(t, e.Send(limited(t), m, c.to), c.want)
		_, err := e.Call(limited(t), m, c.to)
		require.ErrorIs(t, err, c.want)
		var op *connector.OpError
		require.ErrorAs(t, err, &op)
		assert.False(t, op.MayBeDelivered)
		assert.Equal(t, m.ID, op.ID)
	}
	require.ErrorIs(t, b.Send(limited(t), m, toID), connector.ErrNoID)
	require.ErrorIs(t, b.DelCallback(limited(t), m.ID), connector.ErrNoID)
}

// A flood of messages to nobody: each is told to its sender, and nothing grows.
func TestFloodToUnknownReceivers(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	e := endpoint(t, s.bus("sender"))
	const n = 50000
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := uint32(0); i < n && err == nil; i++ {
			m := connector.Message{ID: cbid.Make(0xdead, i), Seq: i}
			err = e.Post(limited(t), m, []connector.Dest{{}, {Port: 1<<31 + i}, {Group: 0xdead + i}}[i%3])
		}
		sent <- err
	}()
	wants := []error{connector.ErrNoID, connector.ErrNoPort, connector.ErrNoListener}
	ctx := limited(t)
	for i := uint32(0); i < n; i++ {
		ev, err := e.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, connector.EventFailed, ev.Kind)
		require.Equal(t, i, ev.Msg.Seq, "in order")
		require.ErrorIs(t, ev.Err, wants[i%3])
	}
	require.NoError(t, <-sent)
	st := s.observer().stat()
	assert.EqualValues(t, n, st.Failed[connector.ErrNoID.Error()]+st.Failed[connector.ErrNoPort.Error()]+st.Failed[connector.ErrNoListener.Error()])
	assert.Less(t, s.memory("VmHWM"), mib(64))
}

// ctl is a cn_ctl_msg whose counts are what the caller says.
func ctl(idx, val, group, length uint32, ranges ...uint32) (b []byte) {
	for _, v := range append([]uint32{idx, val, group, length}, ranges...) {
		b = native.AppendUint32(b, v)
	}
	return b
}

// A request to the control id is refused when its counts or ranges make no
// sense, and costs nothing.
func TestAbsurdNotifyRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	o := s.observer()
	e := member(t, s.bus("asker"), 9)
	first := o.settled()
	call := func(data []byte) error {
		ev, err := e.Call(limited(t), connector.Message{ID: cbid.Control, Data: data}, toID)
		require.NoError(t, err)
		return connector.ParseCtlResult(ev.Msg.Data)
	}
	for name, data := range map[string][]byte{
		"nothing":                 {},
		"half a header":           ctl(1, 1, 9, 16)[:15],
		"2^32-1 ranges":           ctl(1<<32-1, 1<<32-1, 9, 16, 1, 1, 1, 1),
		"counts whose sum wraps":  ctl(1<<31, 1<<31, 9, 0),
		"counts whose bytes wrap": ctl(1<<29, 0, 9, 0),
		"one range too few":       ctl(1, 2, 9, 16, 1, 1, 1, 1),
		"one range too many":      ctl(1, 0, 9, 16, 1, 1, 1, 1),
		"len too small":           ctl(1, 1, 9, 15, 1, 1, 1, 1),
		"len 2^32-1":              ctl(1, 1, 9, 1<<32-1, 1, 1, 1, 1),
		"a range beyond 2^32":     ctl(1, 1, 9, 16, 1<<32-1, 2, 0, 1),
		"a range that wraps":      ctl(1, 1, 9, 16, 0, 1, 1<<31, 1<<32-1),
	} {
		require.ErrorIs(t, call(data), connector.ErrInvalid, name)
		require.NoError(t, e.Post(limited(t), connector.Message{ID: cbid.Control, Data: data}, toID))
		ev, err := e.Recv(limited(t))
		require.NoError(t, err)
		require.Equal(t, connector.EventFailed, ev.Kind, name)
		require.ErrorIs(t, ev.Err, connector.ErrInvalid, name)
	}
	require.ErrorIs(t, call(ctl(1, 1, 0, 16, 1, 1, 1, 1)), connector.ErrNotFound, "taken back without having been made")
	o.back(first)

	require.NoError(t, call(ctl(1, 1, 9, 16, 0, 1<<32-1, 1<<32-1, 1)), "a full range, and the last number")
	echoes(t, s.bus("agent"), cbid.Make(5, 6), cbid.Make(5, 1<<32-1))
	ev, err := e.Recv(limited(t))
	require.NoError(t, err)
	assert.Equal(t, cbid.Make(5, 1<<32-1), ev.Msg.ID)
}

// A notify request of the largest size, as often as the limit lets it, costs
// what its bytes do.
func TestFloodOfNotifyRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{})
	o := s.observer()
	b := s.bus("asker")
	first := o.settled()
	e := endpoint(t, b)
	var ranges []uint32
	const n = 1000
	for i := range uint32(2 * n) {
		ranges = append(ranges, i, 1)
	}
	data := ctl(n, n, 9, 16*n, ranges...)
	var err error
	taken := 0
	for ; err == nil; taken++ {
		require.Less(t, taken, 5000, "there is a limit")
		ev, cerr := e.Call(limited(t), connector.Message{ID: cbid.Control, Data: data}, toID)
		require.NoError(t, cerr)
		err = connector.ParseCtlResult(ev.Msg.Data)
	}
	require.ErrorIs(t, err, connector.ErrLimit)
	assert.Less(t, s.memory("VmHWM"), mib(64))
	require.NoError(t, e.Close()) // the requests go with their owner
	o.back(first)
}
