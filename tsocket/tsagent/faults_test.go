package tsagent_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// To anybody but its owner a socket does not exist.
func TestSocketsOfOthersAreEBADF(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		mine, other := s.raw(t), s.raw(t)
		x, y := mine.connected(local4(0))
		for op := tsagent.OpBind; op <= tsagent.OpCancel; op++ {
			if op != tsagent.OpStat {
				other.refuse(syscall.EBADF, tsagent.Header{Op: op, Sock: x, Arg: 1}, []byte("body"))
			}
		}
		other.post(tsagent.Header{Op: tsagent.OpClose, Sock: x})
		h, _ := other.event()
		require.Equal(t, tsagent.EvError, h.Op)
		require.Equal(t, x, h.Sock)
		mine.must(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, []byte("hello"))
		_, b := mine.must(tsagent.Header{Op: tsagent.OpReadv, Sock: y, Arg: 5})
		require.Equal(t, "hello", string(b))
	})
}

// A forged event is not heard: a client listens to the agent only.
func TestEventsOfOthersAreIgnored(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		if s.sink { // who could forge is the process itself
			return
		}
		l, err := tsocket.ListenTCP(local4(0), nil)
		require.NoError(t, err)
		defer l.Close()
		c := s.client(t)
		a, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		b, err := l.Accept(soon(t))
		require.NoError(t, err)
		defer b.Close()
		all, err := c.Stat(soon(t))
		require.NoError(t, err)
		require.Len(t, all.Sockets, 1)
		forger := s.raw(t)
		m := message(tsagent.Header{Op: tsagent.EvData, Sock: all.Sockets[0].Num}, []byte("forged"))
		m.Seq = 1
		require.NoError(t, forger.ep.Send(soon(t), m, dest(all.Sockets[0].Port)))
		_, err = b.Writev(soon(t), []byte("genuine"))
		require.NoError(t, err)
		got := make([]byte, 7)
		_, err = a.Readv(soon(t), got)
		require.NoError(t, err)
		require.Equal(t, "genuine", string(got))
	})
}

// A process that dies in the middle of operations leaves nothing behind, and disturbs nobody.
func TestOwnerDies(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		other := s.client(t)
		keep, err := other.UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		bus := s.bus(t)
		ep, err := bus.Endpoint(soon(t))
		require.NoError(t, err)
		r := &raw{t, ep}
		idle, free := r.listener(local4(0))
		l, addr := r.listener(local4(0))
		x, y := r.connected(local4(0))
		u := r.open(unix.AF_INET, unix.SOCK_DGRAM)
		r.must(tsagent.Header{Op: tsagent.OpBind, Sock: u}, tsagent.AppendAddr(nil, local4(0)))
		_, names := r.must(tsagent.Header{Op: tsagent.OpGetName, Sock: u})
		udp, _, err := tsagent.ParseAddr(names)
		require.NoError(t, err)
		p, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, addr)
		require.NoError(t, err)
		defer p.Close()
		r.must(tsagent.Header{Op: tsagent.OpAccept, Sock: l})
		for _, h := range []tsagent.Header{
			{Op: tsagent.OpAccept, Sock: l},
			{Op: tsagent.OpAccept, Sock: idle},
			{Op: tsagent.OpReadv, Sock: x, Arg: 1},
			{Op: tsagent.OpMonitor, Sock: y},
			{Op: tsagent.OpWindow, Sock: y, Arg: 1000},
			{Op: tsagent.OpRecvFrom, Sock: u},
		} {
			require.NoError(t, ep.Post(soon(t), message(h), dest(0)))
		}
		r.must(tsagent.Header{Op: tsagent.OpGetName, Sock: u}) // they are under way
		require.Equal(t, 7, s.agent.Stats().Sockets)
		require.NoError(t, ep.Close())
		_, err = p.Readv(soon(t), make([]byte, 1))
		require.Error(t, err, "its connections end")
		require.Eventually(t, func() bool { return s.agent.Stats().Sockets == 1 }, patience, time.Millisecond)
		// Its ports are free, as soon as who used the sockets has looked up.
		require.Eventually(t, func() bool {
			again, err := other.ListenTCP(soon(t), free, nil)
			return err == nil && again.Close() == nil
		}, patience, time.Millisecond)
		var d *tsocket.Dgram
		require.Eventually(t, func() bool {
			d, err = other.UDP(soon(t), udp, tsocket.Addr{})
			return err == nil
		}, patience, time.Millisecond)
		_, err = d.SendTo(soon(t), []byte("x"), keep.LocalAddr())
		require.NoError(t, err)
		_, src, err := keep.RecvFrom(soon(t), make([]byte, 9))
		require.NoError(t, err)
		require.Equal(t, udp, src)
	})
}

// What was written before the end of the process arrives, as with a kernel's socket.
func TestWrittenBeforeTheEndArrives(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		if s.sink { // a client of the same process ends with it
			return
		}
		l, err := tsocket.ListenTCP(local4(0), nil)
		require.NoError(t, err)
		defer l.Close()
		c := s.client(t)
		a, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		b, err := l.Accept(soon(t))
		require.NoError(t, err)
		defer b.Close()
		// The kernel takes a few MiB, the window a quarter more: the rest waits in the agent.
		w := a.WritevSend(background, make([]byte, 64<<20))
		require.Eventually(t, func() bool { return s.agent.Sockets()[0].Queued > 0 }, patience, time.Millisecond)
		w.Cancel()
		_, _ = w.Wait(soon(t))
		n, _ := w.Result()
		require.Positive(t, n)
		_, err = c.Stat(soon(t)) // behind what was posted
		require.NoError(t, err)
		require.NoError(t, c.Close())
		got := int64(0)
		buf := make([]byte, 1<<20)
		for {
			k, err := b.ReadSome(soon(t), buf)
			got += int64(k)
			if err != nil {
				require.ErrorIs(t, err, tsocket.ErrEOF)
				break
			}
		}
		require.Equal(t, n, got)
		require.Eventually(t, func() bool { return len(s.agent.Sockets()) == 0 }, patience, time.Millisecond)
	})
}

// A process that reads none of its messages stops its own sockets only.
func TestOwnerThatDoesNotRead(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		l, err := tsocket.ListenTCP(local4(0), nil)
		require.NoError(t, err)
		defer l.Close()
		deaf := s.raw(t)
		var peers []*tsocket.Stream
		for range 16 {
			x := deaf.open(unix.AF_INET, unix.SOCK_STREAM)
			deaf.must(tsagent.Header{Op: tsagent.OpConnect, Sock: x, Arg: 1 << 30}, tsagent.AppendAddr(nil, l.Addr()))
			p, err := l.Accept(soon(t))
			require.NoError(t, err)
			peers = append(peers, p)
			defer p.Close()
		}
		var writes []*tsocket.Request[int64]
		for _, p := range peers {
			writes = append(writes, p.WritevSend(background, make([]byte, 16<<20)))
		}
		c := s.client(t)
		a, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		b, err := l.Accept(soon(t))
		require.NoError(t, err)
		defer b.Close()
		const size = 8 << 20
		w := b.WritevSend(background, make([]byte, size))
		got := make([]byte, size)
		_, err = a.Readv(soon(t), got)
		require.NoError(t, err)
		_, err = w.Wait(soon(t))
		require.NoError(t, err)
		stuck := 0
		for _, w := range writes {
			if w.InProgress() {
				stuck++
			}
			w.Cancel()
			_, _ = w.Wait(soon(t))
		}
		assert.Positive(t, stuck, "nobody reads what they write")
	})
}

// A stream that its reader does not read stops alone; the others of the same client go on.
func TestReaderThatStallsStopsItsStreamOnly(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		l, err := tsocket.ListenTCP(local4(0), nil)
		require.NoError(t, err)
		defer l.Close()
		c := s.client(t)
		pair := func() (a, b *tsocket.Stream) {
			a, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
			require.NoError(t, err)
			b, err = l.Accept(soon(t))
			require.NoError(t, err)
			t.Cleanup(func() { _ = b.Close() })
			return a, b
		}
		a1, b1 := pair()
		const size = 32 << 20
		w1 := b1.WritevSend(background, make([]byte, size))
		a2, b2 := pair()
		w2 := b2.WritevSend(background, make([]byte, size))
		_, err = a2.Readv(soon(t), make([]byte, size))
		require.NoError(t, err)
		_, err = w2.Wait(soon(t))
		require.NoError(t, err)
		require.True(t, w1.InProgress())
		n, err := a1.PendingBytes()
		require.NoError(t, err)
		require.LessOrEqual(t, n, 256<<10, "the window")
		_, err = a1.Readv(soon(t), make([]byte, size))
		require.NoError(t, err, "nothing is lost")
		_, err = w1.Wait(soon(t))
		require.NoError(t, err)
	})
}

// Who writes more than the window allows loses the writing side, and is told.
func TestWindowIsEnforced(t *testing.T) {
	s := onLoopback(t, nil)
	r := s.raw(t)
	x, _ := r.connected(socketPath(t))
	for range 64 {
		r.post(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, make([]byte, 16000))
	}
	for {
		h, _ := r.event()
		if h.Op != tsagent.EvWindow {
			require.Equal(t, tsagent.EvWriteError, h.Op)
			break
		}
	}
	r.refuse(syscall.ENOBUFS, tsagent.Header{Op: tsagent.OpWritev, Sock: x}, []byte("x"))
}

// What the policy forbids is EACCES, and the text names the rule.
func TestPolicy(t *testing.T) {
	rule := func(name string) error { return errors.New("rule \"" + name + "\"") }
	var asked []tsagent.Access
	policy := tsagent.PolicyFunc(func(a *tsagent.Access) error {
		asked = append(asked, *a)
		switch {
		case a.Op == tsagent.OpOpen && a.Family == "ipv6":
			return rule("no ipv6")
		case a.Op == tsagent.OpBind && a.Addr.Port() == 9:
			return rule("no discard")
		case a.Op == tsagent.OpConnect && a.Stream && a.Addr.Port() == 25:
			return rule("no mail")
		case a.Op == tsagent.OpListen && a.Family == "unix":
			return rule("no paths")
		case a.Op == tsagent.OpSendTo && a.Addr.Port() == 53:
			return rule("no names")
		case a.Op == tsagent.OpSetOpt:
			return rule("no broadcasts")
		}
		return nil
	})
	s := onLoopback(t, &tsagent.Config{Policy: policy})
	c := s.client(t)
	denied := func(name string, err error) {
		t.Helper()
		require.ErrorIs(t, err, syscall.EACCES)
		require.ErrorContains(t, err, name)
	}
	_, err := c.UDP(soon(t), tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0)), tsocket.Addr{})
	denied("no ipv6", err)
	_, err = c.UDP(soon(t), local4(9), tsocket.Addr{})
	denied("no discard", err)
	_, err = c.DialTCP(soon(t), local4(9), local4(1))
	denied("no discard", err)
	_, err = c.DialTCP(soon(t), tsocket.Addr{}, local4(25))
	denied("no mail", err)
	_, err = c.ListenUnix(soon(t), socketPath(t), nil)
	denied("no paths", err)
	_, err = c.UDPBroadcast(soon(t), local4(0))
	denied("no broadcasts", err)

	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	_, err = d.SendTo(soon(t), []byte("x"), local4(53))
	denied("no names", err)
	batch := []tsocket.Message{{Data: []byte("a"), Addr: d.LocalAddr()}, {Data: []byte("b"), Addr: local4(53)}, {Data: []byte("c"), Addr: d.LocalAddr()}}
	n, err := d.SendBatch(soon(t), batch)
	denied("no names", err)
	require.Equal(t, 1, n)
	// With notices on, those behind it go on.
	require.NoError(t, d.SetNotices(true))
	n, err = d.SendBatch(soon(t), batch)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	var got []string
	notices := 0
	for len(got) < 3 || notices == 0 {
		buf := make([]byte, 9)
		n, _, err := d.RecvFrom(soon(t), buf)
		if err != nil {
			var notice *tsocket.Notice
			require.ErrorAs(t, err, &notice)
			require.Equal(t, syscall.EACCES, notice.Errno)
			require.Equal(t, local4(53), notice.Dst)
			notices++
			continue
		}
		got = append(got, string(buf[:n]))
	}
	require.Equal(t, []string{"a", "a", "c"}, got)
	require.EqualValues(t, 9, s.agent.Stats().Denied)
	for _, a := range asked {
		require.NotZero(t, a.Port)
		require.EqualValues(t, unix.Getuid(), a.Cred.UID)
	}
}

func TestDefaultPolicy(t *testing.T) {
	p := tsagent.DefaultPolicy()
	mine := tsagent.Access{Op: tsagent.OpOpen, Family: "unix"}
	mine.Cred.UID = uint32(unix.Getuid())
	require.NoError(t, p.Allow(&mine))
	other := mine
	other.Cred.UID++
	require.ErrorContains(t, p.Allow(&other), "rule")
	other.Family, other.Op, other.Addr = "ipv4", tsagent.OpBind, local4(80)
	require.ErrorContains(t, p.Allow(&other), "1024")
	other.Addr = local4(8080)
	require.NoError(t, p.Allow(&other))
	other.Op, other.Addr = tsagent.OpConnect, local4(80)
	require.NoError(t, p.Allow(&other))
}

// A flood of opens ends at the limits, which are those of the port, of the uid, and of its memory.
func TestFloodOfOpens(t *testing.T) {
	onEach(t, &tsagent.Config{SocketsPerOwner: 10, SocketsPerUID: 15}, func(t *testing.T, s *site) {
		r := s.raw(t)
		open := tsagent.Header{Op: tsagent.OpOpen, Arg: unix.AF_INET | unix.SOCK_DGRAM<<16}
		for range 10 {
			r.must(open)
		}
		require.ErrorContains(t, r.refuse(syscall.EMFILE, open), "10 sockets")
		other := s.raw(t)
		for range 5 {
			other.must(open)
		}
		require.ErrorContains(t, other.refuse(syscall.EMFILE, open), "15 sockets")
		require.NoError(t, r.ep.Close())
		require.Eventually(t, func() bool { return s.agent.Stats().Sockets == 5 }, patience, time.Millisecond)
		for range 5 {
			other.must(open)
		}
		other.refuse(syscall.EMFILE, open)
	})
	s := onLoopback(t, &tsagent.Config{Window: 128 << 10, BytesPerUID: 300 << 10})
	r := s.raw(t)
	for range 2 {
		r.open(unix.AF_INET, unix.SOCK_STREAM)
	}
	r.refuse(syscall.ENOBUFS, tsagent.Header{Op: tsagent.OpOpen, Arg: unix.AF_INET | unix.SOCK_STREAM<<16})
}

// quota is a Quota that writes down what it is told.
type quota struct {
	limits atomic.Pointer[tsagent.Limits]
	told   chan string
}

func (q *quota) Limits(uint32) tsagent.Limits { return *q.limits.Load() }

func (q *quota) Exceeded(_ connector.Cred, what string, limit int64) {
	q.told <- fmt.Sprint(what, " ", limit)
}

// How much a user may have others say, and it counts at once.
func TestQuota(t *testing.T) {
	q := &quota{told: make(chan string, 9)}
	q.limits.Store(&tsagent.Limits{Sockets: 1, Bytes: -1})
	s := onLoopback(t, &tsagent.Config{Quota: q, SocketsPerUID: 1, BytesPerUID: 1})
	one, two := s.raw(t), s.raw(t)
	open := tsagent.Header{Op: tsagent.OpOpen, Arg: unix.AF_INET | unix.SOCK_DGRAM<<16}
	one.must(open)
	require.ErrorContains(t, two.refuse(syscall.EMFILE, open), "has 1 sockets, which is the limit")
	assert.Equal(t, "sockets 1", <-q.told)
	q.limits.Store(&tsagent.Limits{Sockets: -1, Bytes: 256 << 10})
	two.refuse(syscall.ENOBUFS, open)
	assert.Equal(t, "bytes 262144", <-q.told)
	q.limits.Store(&tsagent.Limits{Sockets: -1, Bytes: -1})
	two.must(open)
}

// An accept beyond the limit says so, and the connection goes on to wait.
func TestAcceptBeyondTheLimit(t *testing.T) {
	onEach(t, &tsagent.Config{SocketsPerOwner: 2}, func(t *testing.T, s *site) {
		c := s.client(t)
		l, err := c.ListenTCP(soon(t), local4(0), nil)
		require.NoError(t, err)
		d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		p, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		defer p.Close()
		_, err = l.Accept(soon(t))
		require.ErrorIs(t, err, syscall.EMFILE)
		require.NoError(t, d.Close())
		_, err = c.Stat(soon(t))
		require.NoError(t, err)
		a, err := l.Accept(soon(t))
		require.NoError(t, err)
		require.Equal(t, p.LocalAddr(), a.RemoteAddr())
	})
}

// The snapshot comes in as many messages as it takes.
func TestStat(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		const count = 200
		for range count - 1 {
			r.open(unix.AF_INET6, unix.SOCK_STREAM)
		}
		c := s.client(t)
		_, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		all, err := c.Stat(soon(t))
		require.NoError(t, err)
		require.Len(t, all.Sockets, count)
		require.Equal(t, count, all.Stats.Sockets)
		require.Equal(t, s.agent.Sockets(), all.Sockets)
		i := all.Sockets[count-1]
		require.Equal(t, "ipv4 dgram open", fmt.Sprint(i.Family, " ", i.Type, " ", i.State))
		require.EqualValues(t, unix.Getuid(), i.UID)
		require.Contains(t, i.Local, "ipv4:127.0.0.1:")
		i = all.Sockets[0]
		require.Equal(t, "ipv6 stream new", fmt.Sprint(i.Family, " ", i.Type, " ", i.State))
	})
}
