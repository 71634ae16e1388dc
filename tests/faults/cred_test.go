//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/internal/usernet"
)

var kernelsID = cbid.Make(1, 1)

const (
	nobody      = 65534
	socketOfRun = "CNBUS_FAULTS_SOCKET" // of the broker, for the other user's process
)

// From another user's process: who it is is told by the kernel, what it may do
// by the policy, and its limits are its own.
func TestAnotherUser(t *testing.T) {
	as := func() { usernet.As(t, nobody, asNobody) }
	if usernet.Inside(t) || os.Geteuid() != 0 {
		as()
		return
	}
	limits := fmt.Sprintf("[[limit]]\nuid = [%d]\nregistrations = 3\nmemberships = 3\nwatches = 2\nconnections = 8\n", nobody)
	s := newSite(t, brokerConfig{Policy: systemPolicy + limits})
	o := s.observer()
	b := s.bus("agent")
	echoes(t, b, echoID)
	froms := make(chan connector.From, 10)
	require.NoError(t, b.AddCallback(limited(t), kernelsID, "kernel's", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		froms <- d.From
		_ = d.Reply(ctx, nil)
	})))
	first := o.settled()
	t.Setenv(socketOfRun, s.cfg.Socket)
	as()

	from := <-froms
	assert.Equal(t, []uint32{nobody, nobody}, []uint32{from.Cred.UID, from.Cred.GID})
	assert.NotEqual(t, uint32(os.Getpid()), from.Cred.PID)
	s.logged(fmt.Sprintf("uid %d has reached its limit of 3 registrations", nobody))
	eventually(t, "its process is gone", func() bool { return o.stat().Clients == first.Clients })
	for _, u := range o.stat().Users {
		if u.UID == 0 {
			assert.Empty(t, u.Exceeded, "root has reached no limit")
			continue
		}
		assert.Equal(t, broker.UserRow{UID: nobody, Exceeded: u.Exceeded, Limits: u.Limits}, u, "nothing is left of it")
		assert.Len(t, u.Exceeded, 4)
	}
}

// systemPolicy is broker.SystemPolicy in words.
const systemPolicy = `
[[rule]]
name = "administrators"
uid = ["self", 0]
admin = true
[[rule]]
name = "everyone"
uid = ["*"]
unicast = true
send = ["*"]
join = ["*"]
register = ["0x100-0xffffffff:*"]
publish = ["0x100-0xffffffff:*"]
`

// asNobody is the part of TestAnotherUser in a process of that user.
func asNobody(t *testing.T) {
	s := &site{t: t, cfg: brokerConfig{Socket: os.Getenv(socketOfRun)}}
	require.EqualValues(t, nobody, os.Geteuid())
	ctx := limited(t)
	b := s.bus("nobody's")
	o := &observer{t: t, s: s, bus: b}
	e := endpoint(t, b)
	talks(t, e, 1)
	ev, err := e.Call(ctx, connector.Message{ID: kernelsID}, toID)
	require.NoError(t, err)
	assert.Equal(t, connector.Cred{}, connector.Cred{UID: ev.From.Cred.UID, GID: ev.From.Cred.GID}, "the agent is root's")

	// The kernel's ids and groups are not for everybody.
	h := connector.HandlerFunc(silent)
	for _, id := range []cbid.ID{cbid.Make(1, 2), cbid.Make(0xff, 1)} {
		err := b.AddCallback(ctx, id, "x", h)
		require.ErrorIs(t, err, connector.ErrPermission)
		require.ErrorContains(t, err, fmt.Sprintf("uid %d may not register", nobody))
		require.ErrorIs(t, e.Send(ctx, connector.Message{ID: id}, connector.Dest{Group: id.Idx}), connector.ErrPermission)
	}
	require.ErrorIs(t, b.SetHistory(ctx, 0x100, connector.History{Messages: 5}), connector.ErrPermission, "no id of that idx is its own")
	_, err = b.Monitor(ctx)
	require.ErrorIs(t, err, connector.ErrPermission)
	for _, row := range ask[[]broker.ConnRow](o, "conns") {
		assert.EqualValues(t, nobody, row.UID, "other users' clients are not shown")
	}

	// Its limits.
	for i := range uint32(3) {
		require.NoError(t, b.AddCallback(ctx, cbid.Make(0x100, i), "x", h))
		require.NoError(t, e.Join(ctx, 0x100+i))
	}
	require.ErrorIs(t, b.AddCallback(ctx, cbid.Make(0x100, 9), "x", h), connector.ErrLimit)
	require.ErrorIs(t, e.Join(ctx, 0x109), connector.ErrLimit)
	for range 2 {
		_, err := b.Watch(ctx, nil)
		require.NoError(t, err)
	}
	_, err = b.Watch(ctx, nil)
	require.ErrorIs(t, err, connector.ErrLimit)
	for range 4 { // the agent side, an endpoint and two watches are four
		eventually(t, "the broker knows of the end of what was refused", func() bool {
			_, err := b.OpenEndpoint(ctx)
			return err == nil
		})
	}
	_, err = b.OpenEndpoint(ctx)
	require.ErrorIs(t, err, connector.ErrLimit)
	talks(t, e, 10)
}
