package nlconn

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/internal/usernet"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func dial(t testing.TB, cfg SocketConfig) *Socket {
	t.Helper()
	s, err := Dial(&cfg)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Minute)))
	return s
}

// one receives exactly one datagram.
func one(t testing.TB, s *Socket) Datagram {
	t.Helper()
	var d [1]Datagram
	n, err := s.Receive(d[:])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	return d[0]
}

var protocols = []Protocol{Connector, UserSock}

// The kernel says who sent what through which group.
func TestSourceOfADatagram(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		for _, proto := range protocols {
			a := dial(t, SocketConfig{Protocol: proto})
			b := dial(t, SocketConfig{Protocol: proto, Credentials: true, Port: 4711})
			require.EqualValues(t, 4711, b.Port())
			me := connector.Cred{UID: 0, GID: 0, PID: uint32(os.Getpid())}

			require.NoError(t, a.Send([]byte("unicast"), b.Port(), 0))
			d := one(t, b)
			assert.Equal(t, "unicast", string(d.Data))
			assert.Equal(t, a.Port(), d.Port)
			assert.Zero(t, d.Group)
			assert.True(t, d.HasCred)
			assert.Equal(t, me, d.Cred)
			assert.EqualValues(t, -1, d.NSID)

			require.NoError(t, b.Join(31))
			require.NoError(t, a.Send([]byte("multicast"), 0, 31), "the leg to port 0 is refused, and no error")
			d = one(t, b)
			assert.Equal(t, "multicast", string(d.Data))
			assert.EqualValues(t, 31, d.Group)
			require.NoError(t, b.Leave(31))
			require.NoError(t, a.Send([]byte("to nobody"), 0, 31))
			require.NoError(t, a.Send([]byte("end"), b.Port(), 0))
			assert.Equal(t, "end", string(one(t, b).Data))

			// Both legs: once to the port, and to the group's other members.
			c := dial(t, SocketConfig{Protocol: proto})
			require.NoError(t, b.Join(5))
			require.NoError(t, c.Join(5))
			require.NoError(t, a.Send([]byte("both"), b.Port(), 5))
			assert.EqualValues(t, 5, one(t, b).Group)
			assert.EqualValues(t, 5, one(t, c).Group)
			require.NoError(t, a.Send([]byte("end"), b.Port(), 0))
			assert.Equal(t, "end", string(one(t, b).Data), "once")
		}
	})
}

func TestRefusals(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		s := dial(t, SocketConfig{})
		for _, g := range []uint32{0, 33, 0xffffffff} {
			assert.ErrorIs(t, s.Join(g), connector.ErrInvalid)
			assert.ErrorIs(t, s.Leave(g), connector.ErrInvalid)
		}
		assert.ErrorIs(t, s.Send([]byte("x"), 1, 33), connector.ErrInvalid)
		assert.ErrorIs(t, s.Send(nil, 1, 0), connector.ErrInvalid)
		assert.ErrorIs(t, s.Send([]byte("x"), 999, 0), connector.ErrNoPort)
		assert.ErrorIs(t, s.Send([]byte("x"), 999, 0), unix.ECONNREFUSED)
		assert.ErrorIs(t, s.Send(make([]byte, 4<<20), s.Port(), 0), connector.ErrTooBig)
		kernel, err := s.HasKernel()
		require.NoError(t, err)
		assert.False(t, kernel)
		_, err = Dial(&SocketConfig{Port: s.Port()})
		assert.ErrorIs(t, err, unix.EADDRINUSE)
		for _, cfg := range []SocketConfig{
			{Protocol: 3}, {Batch: -1}, {Batch: 2000}, {MaxDatagram: 1}, {MaxDatagram: 2 << 20}, {ReadBuffer: -1}, {NetNS: "pid:0"}, {NetNS: "pid:x"},
		} {
			_, err := Dial(&cfg)
			assert.ErrorIs(t, err, connector.ErrInvalid, "%+v", cfg)
		}
		_, err = Dial(&SocketConfig{NetNS: "/nowhere/at/all"})
		assert.ErrorIs(t, err, os.ErrNotExist)
		require.NoError(t, s.Close())
		var d [1]Datagram
		_, err = s.Receive(d[:])
		assert.ErrorIs(t, err, connector.ErrClosed)
		assert.ErrorIs(t, s.Send([]byte("x"), 999, 0), connector.ErrClosed)
		assert.ErrorIs(t, s.Join(1), connector.ErrClosed)
		_, err = s.MemInfo()
		assert.ErrorIs(t, err, connector.ErrClosed)
	})
}

func TestTruncationIsSaid(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		a, b := dial(t, SocketConfig{}), dial(t, SocketConfig{MaxDatagram: 64})
		require.NoError(t, a.Send(make([]byte, 100), b.Port(), 0))
		d := one(t, b)
		assert.True(t, d.Truncated)
		assert.Len(t, d.Data, 64)
		require.NoError(t, a.Send(make([]byte, 64), b.Port(), 0))
		assert.False(t, one(t, b).Truncated)
	})
}

// An overrun is a value: what was queued comes after it, the count is exact, and
// the socket works on. What a filter refuses is not counted.
func TestOverrunIsAValueWithAnExactCount(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		a, b, filtered := dial(t, SocketConfig{}), dial(t, SocketConfig{}), dial(t, SocketConfig{})
		const n = 2000
		nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
		require.NoError(t, err)
		require.NoError(t, filtered.SetBPF(nothing))
		require.NoError(t, b.Join(3))
		require.NoError(t, filtered.Join(3))
		for i := range n {
			require.NoError(t, a.Send(fmt.Appendf(nil, "%06d", i), 0, 3))
		}
		d := make([]Datagram, b.Batch())
		_, err = b.Receive(d)
		require.ErrorIs(t, err, ErrOverrun)
		got := 0
		for {
			k, err := b.Receive(d)
			require.NoError(t, err)
			for i := range k {
				assert.Equal(t, fmt.Sprintf("%06d", got), string(d[i].Data))
				got++
			}
			if m, err := b.MemInfo(); err != nil || m.Queued == 0 {
				require.NoError(t, err)
				break
			}
		}
		m, err := b.MemInfo()
		require.NoError(t, err)
		assert.Equal(t, n, got+int(m.Drops))
		assert.NotZero(t, m.Drops)
		require.NoError(t, a.Send([]byte("after"), 0, 3))
		assert.Equal(t, "after", string(one(t, b).Data))
		m, err = filtered.MemInfo()
		require.NoError(t, err)
		assert.Zero(t, m.Drops)
	})
}

// A full unicast receiver makes its sender wait; nothing is lost.
func TestAFullPortWouldBlock(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		a, b := dial(t, SocketConfig{Protocol: UserSock}), dial(t, SocketConfig{Protocol: UserSock})
		sent := 0
		for ; ; sent++ {
			if err := a.Send([]byte("x"), b.Port(), 0); err != nil {
				require.ErrorIs(t, err, connector.ErrWouldBlock)
				break
			}
		}
		d := make([]Datagram, b.Batch())
		for got := 0; got < sent; {
			n, err := b.Receive(d)
			require.NoError(t, err)
			got += n
		}
		m, err := b.MemInfo()
		require.NoError(t, err)
		assert.Zero(t, m.Drops)
	})
}

func TestReadBufferIsReadBack(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		s := dial(t, SocketConfig{ReadBuffer: 64 << 10})
		n, err := s.ReadBuffer()
		require.NoError(t, err)
		assert.Equal(t, 128<<10, n, "the kernel doubles it")
		n, err = s.SetReadBuffer(100 << 10)
		require.NoError(t, err)
		assert.Equal(t, 200<<10, n)
	})
}

// Neither sending nor receiving allocates.
func TestSendAndReceiveAllocateNothing(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		a, b := dial(t, SocketConfig{}), dial(t, SocketConfig{Credentials: true})
		require.NoError(t, b.Join(2))
		d := make([]Datagram, b.Batch())
		msg := make([]byte, 76)
		allocs := testing.AllocsPerRun(200, func() {
			for range 8 {
				if a.Send(msg, 0, 2) != nil || a.Send(msg, b.Port(), 0) != nil {
					panic("send")
				}
			}
			for got := 0; got < 16; {
				n, err := b.Receive(d)
				if err != nil {
					panic(err)
				}
				got += n
			}
		})
		if !raceDetector {
			assert.Zero(t, allocs)
		}
	})
}

// A socket is dialled in another network namespace by the pid or the path of somebody there.
func TestDialInAnotherNamespace(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		cmd := exec.Command("/bin/cat")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		defer func() {
			in.Close()
			assert.NoError(t, cmd.Wait())
		}()
		pid := fmt.Sprintf("pid:%d", cmd.Process.Pid)
		there := dial(t, SocketConfig{NetNS: pid})
		also := dial(t, SocketConfig{NetNS: fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)})
		here := dial(t, SocketConfig{})
		require.NoError(t, also.Send([]byte("x"), there.Port(), 0))
		assert.Equal(t, "x", string(one(t, there).Data))
		assert.ErrorIs(t, here.Send([]byte("x"), 1<<20+there.Port(), 0), connector.ErrNoPort)
		free := dial(t, SocketConfig{Port: 99})
		assert.ErrorIs(t, also.Send([]byte("x"), free.Port(), 0), connector.ErrNoPort, "namespaces do not see each other")
	})
}

// Where the kernel listens, idx 1 is refused unless it is meant.
func TestIntegrationIdx1IsTheKernels(t *testing.T) {
	s := dial(t, SocketConfig{})
	kernel, err := s.HasKernel()
	require.NoError(t, err)
	if !kernel {
		testenv.Skip(t, "not in the initial network namespace")
	}
	b, err := Open(nil)
	require.NoError(t, err)
	defer b.Close()
	ep, err := b.Endpoint(t.Context())
	require.NoError(t, err)
	m := connector.Message{ID: cbid.Make(1, 7)}
	for _, to := range []connector.Dest{{}, {Group: 1}, {Group: 14}, {Port: ep.Port()}} {
		assert.ErrorIs(t, ep.Send(t.Context(), m, to), connector.ErrPermission)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := ep.Call(ctx, m, to)
		cancel()
		assert.ErrorIs(t, err, connector.ErrPermission)
	}
	assert.ErrorIs(t, b.Send(t.Context(), m, connector.Dest{Group: 1}), connector.ErrPermission)
	assert.ErrorIs(t, b.AddCallback(t.Context(), m.ID, "x", connector.HandlerFunc(nil)), connector.ErrPermission)
}

// Without any right NETLINK_USERSOCK still sends to ports, and says what it may not.
func TestIntegrationUserSockAsNobody(t *testing.T) {
	usernet.As(t, 65534, func(t *testing.T) {
		a, b := dial(t, SocketConfig{Protocol: UserSock}), dial(t, SocketConfig{Protocol: UserSock, Credentials: true})
		require.NoError(t, a.Send([]byte("x"), b.Port(), 0))
		assert.EqualValues(t, 65534, one(t, b).Cred.UID)
		assert.ErrorIs(t, b.Join(4), connector.ErrPermission)
		c, d := dial(t, SocketConfig{}), dial(t, SocketConfig{})
		err := c.Send([]byte("x"), d.Port(), 0)
		assert.ErrorIs(t, err, connector.ErrPermission)
		assert.ErrorIs(t, err, unix.EPERM)
	})
}
