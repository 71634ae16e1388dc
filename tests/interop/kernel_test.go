//go:build linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/kernel"
	"github.com/cnbus/cnbus/tests/interop/relay"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// bulk is what is moved under emulation, where a megabyte takes a second; the
// oldest kernel stalls for seconds when it is more.
const bulk = 200_000

// TestKernel has the oldest and the newest kernel call us and be called.
func TestKernel(t *testing.T) {
	for _, flavour := range []string{kernel.Oldest, kernel.Newest} {
		t.Run(flavour, func(t *testing.T) {
			vm := rig.VM(t, kernel.Config{Flavour: flavour})
			t.Run("kernel client, our server", func(t *testing.T) { kernelCallsUs(t, vm) })
			t.Run("our client, kernel server", func(t *testing.T) { weCallKernel(t, vm) })
			t.Run("upgrade", func(t *testing.T) { upgrades(t, vm) })
			t.Run("nobody there", func(t *testing.T) { nobodyThere(t, vm) })
			t.Run("too many calls", func(t *testing.T) { tooManyCalls(t, vm) })
			t.Run("lossy", func(t *testing.T) { lossyKernel(t, vm) })
			t.Run("restart", func(t *testing.T) { kernelRestarts(t, vm) }) // ends the machine
		})
	}
}

func kernelCallsUs(t *testing.T, vm rig.Machine) {
	for _, host := range []netip.Addr{vm.Host(), vm.Host6()} {
		s := serve(t, netip.AddrPortFrom(host, 7901), nil)
		kx := fmt.Sprintf("kx client -to %v -svc 4242 ", s.Endpoint().LocalAddr())
		vm.Must(t, kx+"-op nop -n 20")
		vm.Must(t, kx+"-op nop -n 40 -c 8")
		for _, size := range []int{0, 1, 1411, 1412, 1413, 1440, 1441, 30000} {
			vm.Must(t, kx+fmt.Sprintf("-op rxecho -size %d", size))
		}
		vm.Must(t, kx+fmt.Sprintf("-op source -size %d", bulk))
		vm.Must(t, kx+fmt.Sprintf("-op sink -size %d", bulk))
		vm.Must(t, kx+"-op sink -size 20000 -chunk 1000 -txlen")
		vm.Must(t, kx+"-op fail -size 4711 -want-abort 4711")
		vm.Must(t, kx+"-op raw -hex 0000ffff -want-abort -455")
		vm.Must(t, fmt.Sprintf("kx client -to %v -svc 99 -op nop -want-abort -2", s.Endpoint().LocalAddr()))
		vm.Must(t, kx+"-op delay -size 2500")
		vm.Must(t, kx+"-op nop -exclusive -n 3")
	}
}

func weCallKernel(t *testing.T, vm rig.Machine) {
	vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind [::]:7009")
	for _, at := range []netip.Addr{vm.Addr(), vm.Addr6()} {
		c := dial(t, netip.AddrPortFrom(at, 7009), nil)
		for x := range uint32(20) {
			_, err := c.Do(soon(t), rxp.Nop, x)
			require.NoError(t, err)
		}
		for _, size := range []int{0, 1, 1411, 1412, 1413, 1440, 1441, 30000} {
			require.NoError(t, c.Echo(soon(t), make([]byte, size)), "%d bytes", size)
		}
		require.NoError(t, c.Sink(soon(t), bulk, true))
		require.NoError(t, c.Source(soon(t), bulk, true))
		_, err := c.Do(soon(t), rxp.Fail, 4711)
		require.ErrorIs(t, err, rxrpc.Abort(4711))
		_, err = c.Do(soon(t), rxp.Delay, 2500)
		require.NoError(t, err)
		_, err = c.Call(soon(t), 99, rxp.Request(rxp.Nop, 1))
		require.ErrorIs(t, err, rxrpc.Abort(rxrpc.InvalidOperation))
		drain(t, c.Endpoint())
	}
}

// upgrades asks in both directions for the better of two services. The kernel's own
// server mixes the two up, and whoever answers its first packets as it sent them is
// refused (kernel/NOTES.md): of it only a clear outcome is wanted, and that the next
// call works.
func upgrades(t *testing.T, vm rig.Machine) {
	s := rxrpc.NewServer(open(t, netip.AddrPortFrom(vm.Host(), 7902), nil), nil)
	t.Cleanup(func() { _ = s.Close() })
	answer := func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	}
	require.NoError(t, s.HandleUpgrade(1234, rxrpc.Unary(answer), 2345, rxrpc.Unary(answer)))
	kx := fmt.Sprintf("kx client -to %v -svc 1234 ", s.Endpoint().LocalAddr())
	vm.Must(t, kx+"-upgrade -want-svc 2345")
	vm.Must(t, kx+"-want-svc 1234")
	vm.Must(t, kx+"-upgrade -size 20000 -want-svc 2345")
	vm.Must(t, kx+"-upgrade -n 2 -c 2")

	vm.Serve(t, "listening", "kx server -svc 1234 -upgrade-to 2345 -bind 0.0.0.0:7010")
	c := open(t, netip.AddrPortFrom(vm.Host(), 0), nil).Client(netip.AddrPortFrom(vm.Addr(), 7010), nil)
	reply, service, err := c.CallUpgrade(soon(t), 1234, []byte("hello"))
	if err != nil {
		var abort *rxrpc.AbortError
		require.ErrorAs(t, err, &abort)
		t.Logf("the kernel's server: %v", err)
	} else {
		assert.Equal(t, "hello", string(reply))
		t.Logf("the kernel's server upgrades to %d", service)
	}
	reply, err = c.Call(soon(t), 1234, []byte("again"))
	require.NoError(t, err)
	assert.Equal(t, "again", string(reply))
}

// nobodyThere sends to closed ports: ICMP tells both sides at once.
func nobodyThere(t *testing.T, vm rig.Machine) {
	_, err := dial(t, netip.AddrPortFrom(vm.Addr(), 7999), nil).Do(soon(t), rxp.Nop, 1)
	var net *rxrpc.NetError
	require.ErrorAs(t, err, &net)
	assert.Equal(t, syscall.ECONNREFUSED, net.Errno)
	out, status := vm.Run(t, fmt.Sprintf("kx client -to %v:7999 -svc 4242 -op nop", vm.Host()))
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "NET_ERROR 111")
}

// tooManyCalls makes more calls at a time than the kernel's server has room for:
// each ends, and afterwards all is well.
func tooManyCalls(t *testing.T, vm rig.Machine) {
	vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind 0.0.0.0:7011")
	c := dial(t, netip.AddrPortFrom(vm.Addr(), 7011), nil)
	ends := make(chan error, 30)
	for range cap(ends) {
		go func() {
			_, err := c.Do(soon(t), rxp.Delay, 200)
			ends <- err
		}()
	}
	good := 0
	for range cap(ends) {
		err := <-ends
		if err == nil {
			good++
			continue
		}
		var call *rxrpc.CallError
		assert.ErrorAs(t, err, &call)
	}
	t.Logf("%d of %d", good, cap(ends))
	assert.GreaterOrEqual(t, good, 8)
	_, err := c.Do(soon(t), rxp.Nop, 1)
	require.NoError(t, err)
}

// lossyKernel has both directions lose some of what they send.
func lossyKernel(t *testing.T, vm rig.Machine) {
	bad := relay.Path{Loss: 0.02, Duplicate: 0.02, Reorder: 0.02}
	vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind 0.0.0.0:7012")
	up := rig.Relay(t, relay.Config{
		Listen: netip.AddrPortFrom(vm.Host(), 0), Target: netip.AddrPortFrom(vm.Addr(), 7012), Up: bad, Down: bad, Seed: 1,
	})
	c := dial(t, up.Addr(), nil)
	require.NoError(t, c.Sink(soon(t), 100_000, true))
	require.NoError(t, c.Source(soon(t), 100_000, true))
	s := serve(t, netip.AddrPortFrom(vm.Host(), 0), nil)
	down := rig.Relay(t, relay.Config{
		Listen: netip.AddrPortFrom(vm.Host(), 0), Target: s.Endpoint().LocalAddr(), Up: bad, Down: bad, Seed: 2,
	})
	kx := fmt.Sprintf("kx client -to %v -svc 4242 ", down.Addr())
	vm.Must(t, kx+"-op nop -n 20")
	vm.Must(t, kx+"-op source -size 100000")
	vm.Must(t, kx+"-op sink -size 100000")
	drain(t, c.Endpoint())
}

// kernelRestarts cuts the machine's power during a call of each side.
func kernelRestarts(t *testing.T, vm rig.Machine) {
	kx, err := vm.Start("kx server -rxp -svc 4242 -bind 0.0.0.0:7013")
	require.NoError(t, err)
	_, err = kx.Await(soon(t), regexp.MustCompile("listening"))
	require.NoError(t, err)
	began, gone := make(chan struct{}), make(chan error, 1)
	s := rxrpc.NewServer(open(t, netip.AddrPortFrom(vm.Host(), 0), &rxrpc.Config{Timers: rxrpc.Timers{HeardNothing: 8e9}}), nil)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Handle(1, rxrpc.HandlerFunc(func(ctx context.Context, call *rxrpc.ServerCall) error {
		_, err := io.Copy(io.Discard, call)
		close(began)
		<-ctx.Done()
		gone <- errors.Join(err, context.Cause(ctx))
		return ctx.Err()
	})))
	_, err = vm.Start(fmt.Sprintf("kx client -to %v -svc 1", s.Endpoint().LocalAddr()))
	require.NoError(t, err)
	<-began
	c := dial(t, netip.AddrPortFrom(vm.Addr(), 7013), &rxrpc.Config{Timers: rxrpc.Timers{HeardNothing: 8e9}})
	_, err = c.Do(soon(t), rxp.Nop, 1)
	require.NoError(t, err)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Do(soon(t), rxp.Delay, 60000)
		slow <- err
	}()
	vm.Kill()
	assert.Error(t, <-slow)
	assert.Error(t, <-gone)
}
