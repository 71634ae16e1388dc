//go:build linux

package relay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tests/interop/relay"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// patience is how long a datagram that must come is waited for.
const patience = 2 * time.Minute

func bind(t testing.TB, ip string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// start makes a relay that is gone without a trace at the end of the test.
func start(t testing.TB, cfg relay.Config) *relay.Relay {
	t.Helper()
	before := goleak.IgnoreCurrent()
	r, err := relay.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		if _, ok := t.(*testing.T); ok { // a benchmark has a goroutine of its own
			testenv.NoLeaks(t, before)
		}
	})
	return r
}

func dial(t testing.TB, r *relay.Relay) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.Addr()))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func read(t testing.TB, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	n, from, err := c.ReadFromUDPAddrPort(b)
	require.NoError(t, err)
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// eventually waits for what the relay's thread has not done yet.
func eventually(t testing.TB, what func() bool) {
	t.Helper()
	require.Eventually(t, what, patience, time.Millisecond)
}

func TestEachClientHasItsOwnSource(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			server := bind(t, ip)
			r := start(t, relay.Config{Target: addrOf(server)})
			sources := map[netip.AddrPort]byte{}
			clients := make([]*net.UDPConn, 50)
			for i := range clients {
				clients[i] = dial(t, r)
				_, err := clients[i].Write([]byte{byte(i)})
				require.NoError(t, err)
			}
			for range clients {
				b, from := read(t, server)
				sources[from] = b[0]
				_, err := server.WriteToUDPAddrPort([]byte{b[0], 'x'}, from)
				require.NoError(t, err)
			}
			assert.Len(t, sources, len(clients))
			for i, c := range clients {
				b, _ := read(t, c)
				assert.Equal(t, []byte{byte(i), 'x'}, b)
			}
			assert.Len(t, r.Sources(), len(clients))
			up, down := r.Stats()
			assert.Equal(t, relay.Stats{Received: 50, Sent: 50, Bytes: 50}, up)
			assert.Equal(t, relay.Stats{Received: 50, Sent: 50, Bytes: 100}, down)
		})
	}
}

func TestSizes(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server)})
	c := dial(t, r)
	for _, size := range []int{0, 1, 1472, 1473, 20000, 65507} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		_, err := c.Write(want)
		require.NoError(t, err)
		got, _ := read(t, server)
		assert.True(t, bytes.Equal(want, got), "%d bytes", size)
	}
}

// No datagram comes before its time. (How late it is depends on the machine.)
func TestDelayIsEachWays(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server), Up: relay.Path{Delay: 30 * time.Millisecond}, Down: relay.Path{Delay: 10 * time.Millisecond}})
	c := dial(t, r)
	begin := time.Now()
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	_, from := read(t, server)
	assert.GreaterOrEqual(t, time.Since(begin), 30*time.Millisecond)
	begin = time.Now()
	_, err = server.WriteToUDPAddrPort([]byte("y"), from)
	require.NoError(t, err)
	read(t, c)
	assert.GreaterOrEqual(t, time.Since(begin), 10*time.Millisecond)
}

// The same datagrams meet the same fate in every run.
func TestDeterministic(t *testing.T) {
	var runs [2][]byte
	var stats [2]relay.Stats
	for i := range runs {
		server := bind(t, "127.0.0.1")
		r := start(t, relay.Config{Target: addrOf(server), Seed: 42, Up: relay.Path{Loss: 0.2, Duplicate: 0.1, Corrupt: 0.1}})
		c := dial(t, r)
		for k := range 200 {
			_, err := c.Write([]byte{byte(k)})
			require.NoError(t, err)
		}
		eventually(t, func() bool {
			stats[i], _ = r.Stats()
			return stats[i].Received == 200 && stats[i].Sent == 200-stats[i].Lost+stats[i].Duplicated
		})
		for range stats[i].Sent {
			b, _ := read(t, server)
			runs[i] = append(runs[i], b...)
		}
	}
	assert.Equal(t, runs[0], runs[1])
	assert.Equal(t, stats[0], stats[1])
	assert.Positive(t, stats[0].Lost)
	assert.Positive(t, stats[0].Duplicated)
	assert.Positive(t, stats[0].Corrupted)
	assert.Equal(t, 200-stats[0].Lost+stats[0].Duplicated, stats[0].Sent)
}

func TestCorruptionIsOneBit(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server), Up: relay.Path{Corrupt: 1}})
	c := dial(t, r)
	for range 20 {
		_, err := c.Write(make([]byte, 1000))
		require.NoError(t, err)
		b, _ := read(t, server)
		ones := 0
		for _, v := range b {
			ones += bits.OnesCount8(v)
		}
		assert.Equal(t, 1, ones)
	}
}

// A datagram that is held is overtaken by the next, if that comes in time.
func TestReorder(t *testing.T) {
	for hold := 50 * time.Millisecond; ; hold *= 4 {
		server := bind(t, "127.0.0.1")
		r := start(t, relay.Config{Target: addrOf(server), Up: relay.Path{Reorder: 1, ReorderBy: hold}})
		c := dial(t, r)
		received := func(n int) {
			eventually(t, func() bool { up, _ := r.Stats(); return up.Received == n })
		}
		begin := time.Now()
		_, err := c.Write([]byte("first"))
		require.NoError(t, err)
		received(1)
		require.NoError(t, r.Set(relay.Path{}, relay.Path{}))
		_, err = c.Write([]byte("second"))
		require.NoError(t, err)
		received(2)
		inTime := time.Since(begin) < hold
		b, _ := read(t, server)
		order := []string{string(b)}
		b, _ = read(t, server)
		order = append(order, string(b))
		if inTime {
			assert.Equal(t, []string{"second", "first"}, order)
			return
		}
	}
}

func TestRebind(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server)})
	c := dial(t, r)
	_, err := c.Write([]byte("1"))
	require.NoError(t, err)
	_, old := read(t, server)
	require.NoError(t, r.Rebind())
	_, err = server.WriteToUDPAddrPort([]byte("to nobody"), old)
	require.NoError(t, err)
	_, err = c.Write([]byte("2"))
	require.NoError(t, err)
	b, fresh := read(t, server)
	assert.Equal(t, "2", string(b))
	assert.NotEqual(t, old, fresh)
	assert.Equal(t, []netip.AddrPort{fresh}, r.Sources())
	_, err = server.WriteToUDPAddrPort([]byte("answer"), fresh)
	require.NoError(t, err)
	b, _ = read(t, c)
	assert.Equal(t, "answer", string(b))
}

func TestFilterDropsWhatItIsShown(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server), Filter: func(d relay.Direction, b []byte) bool { return d == relay.Down || b[0]%2 == 0 }})
	c := dial(t, r)
	for i := range 10 {
		_, err := c.Write([]byte{byte(i)})
		require.NoError(t, err)
	}
	for i := range 5 {
		b, _ := read(t, server)
		assert.Equal(t, byte(2*i), b[0])
	}
	up, _ := r.Stats()
	assert.Equal(t, 5, up.Filtered)
}

// The sender of a datagram that is too large learns the path's MTU from its own
// kernel.
func TestSignal(t *testing.T) {
	rig.World(t)
	server := bind(t, "127.0.0.1")
	// The kernel remembers what it has learnt of an address: another than the other tests'.
	r := start(t, relay.Config{
		Listen: netip.MustParseAddrPort("127.0.0.9:0"), Target: addrOf(server), Up: relay.Path{MTU: 1000, Signal: true},
	})
	c := dial(t, r)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	}))
	require.NoError(t, err)
	eventually(t, func() bool {
		_, err := c.Write(make([]byte, 1200))
		return errors.Is(err, syscall.EMSGSIZE)
	})
	require.NoError(t, raw.Control(func(fd uintptr) {
		mtu, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU)
		assert.NoError(t, err)
		assert.Equal(t, 1000+28, mtu)
	}))
	eventually(t, func() bool { // after the errors of what came before
		_, err := c.Write(make([]byte, 1000))
		return err == nil
	})
	b, _ := read(t, server)
	assert.Len(t, b, 1000)
}

// Nobody listens at the target: that is counted, and later ones arrive.
func TestNobodyThere(t *testing.T) {
	gone := bind(t, "127.0.0.1")
	at := addrOf(gone)
	gone.Close()
	r := start(t, relay.Config{Target: at})
	c := dial(t, r)
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	eventually(t, func() bool { up, _ := r.Stats(); return up.Refused > 0 })
	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	require.NoError(t, err)
	defer server.Close()
	_, err = c.Write([]byte("y"))
	require.NoError(t, err)
	b, _ := read(t, server)
	assert.Equal(t, "y", string(b))
}

func TestCloseEndsAll(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server), Up: relay.Path{Delay: time.Hour}})
	c := dial(t, r)
	_, err := c.Write([]byte("never"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				r.Stats()
			}
		})
		wg.Go(func() { assert.NoError(t, r.Close()) })
	}
	wg.Wait()
	assert.ErrorIs(t, r.Rebind(), net.ErrClosed)
	assert.ErrorIs(t, r.Set(relay.Path{}, relay.Path{}), net.ErrClosed)
	assert.Empty(t, r.Sources())
}

// What waits costs nothing to the collector.
func TestNoAllocationPerDatagram(t *testing.T) {
	server := bind(t, "127.0.0.1")
	r := start(t, relay.Config{Target: addrOf(server), Up: relay.Path{Jitter: time.Microsecond}})
	c := dial(t, r)
	b := make([]byte, 1400)
	round := func() {
		for range 64 {
			_, _ = c.Write(b)
			_, _, _ = server.ReadFromUDPAddrPort(b)
		}
	}
	require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
	round()
	assert.Less(t, testing.AllocsPerRun(10, round), 8.0)
}

// BenchmarkRelay sends through the relay as fast as it takes it: ns for each
// datagram, and the share that arrived.
func BenchmarkRelay(b *testing.B) {
	server := bind(b, "127.0.0.1")
	require.NoError(b, server.SetReadBuffer(8<<20))
	r := start(b, relay.Config{Target: addrOf(server), Up: relay.Path{Delay: 5 * time.Millisecond}})
	c := dial(b, r)
	arrived := make(chan struct{}, 1<<16)
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, err := server.Read(buf); err != nil {
				return
			}
			arrived <- struct{}{}
		}
	}()
	data := make([]byte, 1444)
	b.SetBytes(int64(len(data)))
	flying := 0
	for b.Loop() {
		if flying == 1000 { // the window of a fast sender
			<-arrived
			flying--
		}
		binary.BigEndian.PutUint32(data, uint32(flying))
		_, _ = c.Write(data)
		flying++
	}
}

// BenchmarkRoundTrip shows how exact 10 ms are: ns for each round trip.
func BenchmarkRoundTrip(b *testing.B) {
	server := bind(b, "127.0.0.1")
	p := relay.Path{Delay: 5 * time.Millisecond}
	r := start(b, relay.Config{Target: addrOf(server), Up: p, Down: p})
	c := dial(b, r)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	buf := make([]byte, 100)
	for b.Loop() {
		_, _ = c.Write(buf)
		_, _ = c.Read(buf)
	}
}
