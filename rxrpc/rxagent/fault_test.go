package rxagent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// TestOwnerDies: in the middle of 64 calls, and with a server's socket. Its calls are aborted on the wire by RX_CALL_DEAD, its service and
// its sockets are free, and others do not notice.
func TestOwnerDies(t *testing.T) {
	const calls = 64
	keys := &gateKeys{asked: make(chan struct{}, 64), goOn: make(chan struct{})}
	close(keys.goOn)
	w := newWorld(t, &rxagent.Config{Keys: keys})
	var mu sync.Mutex
	codes := make(map[int32]int)
	begun, ended := make(chan struct{}, calls), make(chan struct{}, calls)
	s := rxrpc.NewServer(engine(t), nil)
	require.NoError(t, s.Handle(52, rxrpc.HandlerFunc(func(ctx context.Context, call *rxrpc.ServerCall) error {
		begun <- struct{}{}
		_, err := call.Read(make([]byte, 1<<16)) // of a request that has not ended
		for err == nil {
			_, err = call.Read(make([]byte, 1<<16))
		}
		var a *rxrpc.AbortError
		if errors.As(err, &a) && a.Remote {
			mu.Lock()
			codes[a.Code]++
			mu.Unlock()
		}
		ended <- struct{}{}
		return err
	})))
	t.Cleanup(func() { _ = s.Close() })
	victim, other := w.client(t), w.client(t)
	sock := victim.connected(rxrpc.Addr{Service: 52, Addr: s.Endpoint().LocalAddr()})
	for tag := range uint64(calls) {
		victim.post(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: sock}, 0, message(t, rxrpc.Msg{Control: control(tag), Flags: rxrpc.MsgMore, Data: pattern(5000)}))
	}
	_, at52 := victim.server(52)
	for range calls {
		await(t, begun)
	}
	bystander := other.connected(echo(t, 9))
	victim.die()
	for range calls {
		await(t, ended)
	}
	assert.Equal(t, map[int32]int{rxrpc.CallDead: calls}, codes)
	other.send(bystander, 1, []byte("still here"))
	got, _ := other.phase(bystander, 1)
	assert.Equal(t, "still here", string(got))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, 1, w.agent.Stats().Sockets)
		assert.Equal(c, 1, w.agent.Stats().Owners)
		keys.mu.Lock()
		defer keys.mu.Unlock()
		assert.Contains(c, keys.events, "gone", "its keys are free")
	}, time.Minute, 10*time.Millisecond)
	again := other.socket(rxmsg.Socket{})
	other.must(rxmsg.Header{Op: rxmsg.OpBind, Sock: again}, at52.AppendRaw(nil))
}

func await(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-soon(t).Done():
		require.Fail(t, "it never happens")
	}
}

// TestStalledCall: a call whose window is used up and not opened stalls alone: not the other calls of its socket, not its peer's other
// callers; nothing of it is lost.
func TestStalledCall(t *testing.T) {
	server := echo(t, 52)
	c := newWorld(t, nil).client(t)
	s := c.socket(rxmsg.Socket{Window: 4096})
	c.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: s}, server.AppendRaw(nil))
	big := pattern(500000)
	c.send(s, 1, big)
	var got []byte
	for len(got) < 4096 {
		m := c.msg()
		require.Equal(t, control(1), m.Control)
		got = append(got, m.Data...)
	}
	assert.Len(t, got, 4096)
	for tag := uint64(2); tag < 20; tag++ {
		c.send(s, tag, pattern(3000))
		data, flags := c.phase(s, tag)
		assert.Equal(t, pattern(3000), data)
		assert.Equal(t, rxrpc.MsgEOR, flags)
	}
	for len(got) < len(big) {
		c.post(rxmsg.Header{Op: rxmsg.OpWindow, Sock: s, Arg: 1}, 0, rxmsg.AppendU32(nil, 50000))
		for n := 0; n < 50000 && len(got) < len(big); {
			m := c.msg()
			n += len(m.Data)
			got = append(got, m.Data...)
		}
	}
	assert.Equal(t, string(big), string(got))
}

// TestPostedAhead: who posts a long request is told how much was taken, and must not be further ahead than the window; if it is
// the call is aborted rather than sent with a gap.
func TestPostedAhead(t *testing.T) {
	w := newWorld(t, &rxagent.Config{SendWindow: 64 << 10})
	c := w.client(t)
	s := c.connected(echo(t, 52))
	request := pattern(1 << 20)
	ahead, at := 0, 0
	var got []byte
	for done := false; !done; {
		for ; ahead+8000 <= 64<<10 && at < len(request); at, ahead = at+8000, ahead+8000 {
			h := rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}
			if at > 0 {
				h.Flags = rxmsg.FlagFurther
			}
			end := min(at+8000, len(request))
			m := rxrpc.Msg{Control: control(1), Data: request[at:end]}
			if end < len(request) {
				m.Flags = rxrpc.MsgMore
			}
			c.post(h, 0, message(t, m))
		}
		switch e := c.next(); e.h.Op {
		case rxmsg.EventSent:
			n, err := rxmsg.ParseU32(e.body)
			require.NoError(t, err)
			require.EqualValues(t, 1, e.h.Arg)
			ahead -= int(n)
		case rxmsg.EventMsg:
			m, err := rxmsg.ParseMsg(e.body)
			require.NoError(t, err)
			got = append(got, m.Data...)
			c.post(rxmsg.Header{Op: rxmsg.OpWindow, Sock: s, Arg: 1}, 0, rxmsg.AppendU32(nil, uint32(len(m.Data))))
			done = m.Flags&rxrpc.MsgEOR != 0
		default:
			require.Fail(t, "event", "%v", e.h.Op)
		}
	}
	assert.Equal(t, string(request), string(got))

	// Nobody takes this call, so what is posted stays.
	server := w.client(t)
	_, quiet := server.server(53)
	s = c.connected(quiet)
	h := rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}
	for n := 0; n < 4<<20; n += 16000 {
		c.post(h, uint32(n), message(t, rxrpc.Msg{Control: control(2), Flags: rxrpc.MsgMore, Data: pattern(16000)}))
		h.Flags = rxmsg.FlagFurther
	}
	var refused, aborted bool
	for !refused || !aborted {
		switch e := c.next(); e.h.Op {
		case rxmsg.EventError:
			f, err := rxmsg.ParseFailure(e.body)
			require.NoError(t, err)
			assert.Equal(t, rxmsg.OpSendmsg, f.Op)
			refused = refused || f.Errno == syscall.ENOBUFS
		case rxmsg.EventMsg:
			m, err := rxmsg.ParseMsg(e.body)
			require.NoError(t, err)
			ctl, err := rxrpc.ParseReceivedControl(m.Control)
			require.NoError(t, err)
			assert.Equal(t, rxrpc.Control{CallID: 2, HasCallID: true, Command: rxrpc.CtlAbort, Code: rxrpc.UserAbort}, ctl)
			aborted = true
		}
	}
}

// TestCancelAndDeadline: a request that waits can be given up, or gives up by itself; CANCEL says whether it was in time.
func TestCancelAndDeadline(t *testing.T) {
	w := newWorld(t, nil)
	server, c := w.client(t), w.client(t)
	_, a := server.server(52) // and accepts nothing
	s := c.connected(a)
	var err error
	h := rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s, Flags: rxmsg.FlagDeadline}
	for err == nil { // until the call takes no more
		body := rxmsg.AppendDeadline(nil, uint64(200*time.Millisecond))
		_, _, err = c.do(h, append(body, message(t, rxrpc.Msg{Control: control(1), Flags: rxrpc.MsgMore, Data: pattern(16000)})...))
	}
	require.ErrorIs(t, err, syscall.ETIMEDOUT)

	r, _ := c.must(rxmsg.Header{Op: rxmsg.OpCancel, Arg: 12345}, nil)
	assert.Zero(t, r.Value, "there is no such request")
	// On a slow machine the deadline may have passed before the call was full: then there is room for some more.
	for err = nil; err == nil; {
		done := make(chan error, 1)
		go func() {
			_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}, message(t, rxrpc.Msg{Control: control(1), Flags: rxrpc.MsgMore, Data: pattern(16000)}))
			done <- err
		}()
		// Calls of an endpoint count their seq up, and each CANCEL is one: what was sent before has a lower one than all that
		// have been tried by then.
		for seq, over := uint64(0), false; !over; seq++ {
			r, _ = c.must(rxmsg.Header{Op: rxmsg.OpCancel, Arg: seq}, nil)
			select {
			case err = <-done:
				over = true
			default:
			}
		}
	}
	require.ErrorIs(t, err, syscall.ECANCELED)
}

// policy forbids what is not on it.
type policy struct{ call, listen uint16 }

func (p policy) Call(_ connector.From, to rxrpc.Addr) error {
	if to.Service != p.call {
		return errors.New("calls of this service are not for you")
	}
	return nil
}

func (p policy) Listen(_ connector.From, local rxrpc.Addr) error {
	if local.Service != p.listen {
		return syscall.EPERM
	}
	return nil
}

// TestPolicy: what it forbids is EACCES, or the errno that it says, with its text, for every way to ask.
func TestPolicy(t *testing.T) {
	server := echo(t, 52)
	c := newWorld(t, &rxagent.Config{Policy: policy{call: 52, listen: 7}}).client(t)
	bad := rxrpc.Addr{Service: 53, Addr: server.Addr}
	s := c.socket(rxmsg.Socket{})
	_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpBind, Sock: s}, at(8, local4))
	require.ErrorIs(t, err, syscall.EPERM)
	c.bind(s, 7)
	s = c.socket(rxmsg.Socket{})
	_, _, err = c.do(rxmsg.Header{Op: rxmsg.OpConnect, Sock: s}, bad.AppendRaw(nil))
	require.ErrorIs(t, err, syscall.EACCES)
	assert.ErrorContains(t, err, "not for you")
	begin := rxmsg.BeginCall{Name: bad.AppendRaw(nil)}
	body, err := begin.Append(nil)
	require.NoError(t, err)
	_, _, err = c.do(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: s, Arg: 1}, body)
	require.ErrorIs(t, err, syscall.EACCES)
	c.post(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}, 99, message(t, rxrpc.Msg{Name: bad, Control: control(3), Data: []byte("x")}))
	e := c.next()
	require.Equal(t, rxmsg.EventError, e.h.Op)
	f, err := rxmsg.ParseFailure(e.body)
	require.NoError(t, err)
	assert.Equal(t, rxmsg.Failure{Errno: syscall.EACCES, Op: rxmsg.OpSendmsg, HasTag: true, NoCall: true, Seq: 99, Text: f.Text}, f)
	assert.EqualValues(t, 3, e.h.Arg)
	assert.Contains(t, f.Text, "not for you")
	c.must(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}, message(t, rxrpc.Msg{Name: server, Control: control(3), Data: []byte("x")}))
	data, _ := c.phase(s, 3)
	assert.Equal(t, "x", string(data))
}

// TestLimits: of sockets, per port and per user.
func TestLimits(t *testing.T) {
	w := newWorld(t, &rxagent.Config{Limits: rxagent.Limits{Sockets: 2, UserSockets: 3}})
	one, two := w.client(t), w.client(t)
	open := rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet}
	first := one.socket(rxmsg.Socket{})
	one.socket(rxmsg.Socket{})
	_, _, err := one.do(open, nil)
	require.ErrorIs(t, err, syscall.EMFILE)
	two.socket(rxmsg.Socket{})
	_, _, err = two.do(open, nil)
	require.ErrorIs(t, err, syscall.EMFILE)
	one.must(rxmsg.Header{Op: rxmsg.OpClose, Sock: first}, nil)
	two.socket(rxmsg.Socket{})
}

// quota is a Quota that writes down what it is told.
type quota struct {
	mu   sync.Mutex
	l    rxagent.UserLimits
	told []string
}

func (q *quota) Limits(uint32) rxagent.UserLimits {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.l
}

func (q *quota) Exceeded(_ connector.Cred, what string, limit int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.told = append(q.told, fmt.Sprint(what, " ", limit))
}

func (q *quota) set(l rxagent.UserLimits) (told []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	told, q.told, q.l = q.told, nil, l
	return told
}

// TestQuota: what the clients of a user have together is bounded, others say how far, and that counts at once.
func TestQuota(t *testing.T) {
	q := &quota{l: rxagent.UserLimits{Sockets: 1, Calls: 1, Bytes: -1}}
	w := newWorld(t, &rxagent.Config{Quota: q})
	one, two := w.client(t), w.client(t)
	_, a := newWorld(t, nil).client(t).server(52) // which answers nothing
	first := one.connected(a)
	open := rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet}
	_, _, err := two.do(open, nil)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.ErrorContains(t, err, "has 1 sockets, which is the limit")
	assert.Equal(t, []string{"sockets 1"}, q.set(rxagent.UserLimits{Sockets: -1, Calls: 1, Bytes: -1}))
	second := two.connected(a)

	one.send(first, 1, []byte("x"))
	_, _, err = two.do(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: second}, message(t, rxrpc.Msg{Control: control(1), Data: []byte("x")}))
	require.ErrorIs(t, err, syscall.ENOBUFS)
	require.ErrorContains(t, err, "has 1 calls, which is the limit")
	assert.Equal(t, []string{"calls 1"}, q.set(rxagent.UserLimits{Sockets: -1, Calls: 1, Bytes: 1<<10 + 3}))
	one.must(rxmsg.Header{Op: rxmsg.OpClose, Sock: first}, nil)
	two.send(second, 2, []byte("ok"))
	_, _, err = two.do(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: second}, message(t, rxrpc.Msg{Control: control(2), Data: []byte("four"), Flags: rxrpc.MsgMore}))
	require.ErrorIs(t, err, syscall.ENOBUFS)
	require.ErrorContains(t, err, "has 1027 bytes, which is the limit")
	assert.Equal(t, []string{"bytes 1027"}, q.set(rxagent.UserLimits{Sockets: -1, Calls: -1, Bytes: -1}))
	two.send(second, 3, []byte("no limit"))
}

// TestStat: sockets, calls, connections and peers as JSON, in pieces.
func TestStat(t *testing.T) {
	w := newWorld(t, nil)
	server, c := w.client(t), w.client(t)
	sv, a := server.server(52)
	s := c.connected(a)
	c.send(s, 77, []byte("a call that is not accepted"))
	require.Equal(t, rxrpc.CtlNewCall, server.msg().Control.Command)
	stat := func(what string, v any) {
		var all []byte
		for {
			r, body := c.must(rxmsg.Header{Op: rxmsg.OpStat, Arg: uint64(len(all))}, []byte(what))
			all = append(all, body...)
			if r.Flags&rxmsg.FlagMore == 0 {
				require.Equal(t, int(r.Value), len(all))
				require.NoError(t, json.Unmarshal(all, v))
				return
			}
		}
	}
	var socks []rxagent.SocketInfo
	stat("sockets", &socks)
	require.Len(t, socks, 2)
	assert.Equal(t, rxagent.SocketInfo{Sock: sv, Port: server.ep.Port(), UID: socks[0].UID, PID: socks[0].PID, State: "listening", Local: a.String(), Calls: 1}, socks[0])
	assert.Equal(t, a.String(), socks[1].Peer)
	var calls []rxagent.CallInfo
	stat("calls", &calls)
	require.Len(t, calls, 2)
	states := map[string]uint64{}
	for _, i := range calls {
		states[i.State] = i.Tag
	}
	assert.Equal(t, map[string]uint64{"ClAwtRpl": 77, "SvAccept": 0}, states)
	var conns []rxrpc.ConnStatus
	stat("conns", &conns)
	assert.Len(t, conns, 2)
	var peers []rxrpc.PeerStatus
	stat("peers", &peers)
	assert.Len(t, peers, 2)
	for range 150 {
		c.socket(rxmsg.Socket{})
	}
	stat("sockets", &socks)
	assert.Len(t, socks, 152, "more than one message has room for")
}

// TestAgentStops: owners are told of each socket, and calls are aborted.
func TestAgentStops(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t)
	s := c.socket(rxmsg.Socket{})
	require.NoError(t, w.agent.Close())
	e := c.next()
	assert.Equal(t, rxmsg.EventClosed, e.h.Op)
	assert.Equal(t, s, e.h.Sock)
	f, err := rxmsg.ParseFailure(e.body)
	require.NoError(t, err)
	assert.Equal(t, syscall.ESHUTDOWN, f.Errno)
	assert.Zero(t, w.agent.Stats().Sockets)
}
