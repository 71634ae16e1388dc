package rxrpc_test

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

func TestControlMessagesAsBytes(t *testing.T) {
	everything := rxrpc.Control{
		CallID: 1<<31 + 5, HasCallID: true, Exclusive: true, Upgrade: true, TxLength: 1 << 40, HasTxLength: true,
		Timeouts: rxrpc.Timeouts{Hard: 3 * time.Second, Idle: 20 * time.Millisecond, Normal: time.Minute}, HasTimeouts: true,
	}
	abort := command(7, rxrpc.CtlAbort)
	abort.Code = -5
	for _, c := range []rxrpc.Control{everything, tag(0), abort, command(1, rxrpc.CtlAccept), command(1, rxrpc.CtlChargeAccept)} {
		got, err := rxrpc.ParseControl(c.AppendRaw(nil))
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
	failed := command(7, rxrpc.CtlNetError)
	failed.Code = int32(syscall.EHOSTUNREACH)
	for _, c := range []rxrpc.Control{{}, {Command: rxrpc.CtlNewCall}, failed, command(1, rxrpc.CtlAck), command(1, rxrpc.CtlBusy)} {
		got, err := rxrpc.ParseReceivedControl(c.AppendRaw(nil))
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
	assert.Equal(t, "RXRPC_CHARGE_ACCEPT", rxrpc.CtlChargeAccept.String())
	assert.Equal(t, "RXRPC_99", rxrpc.ControlType(99).String())
}

func TestAddressesAsBytes(t *testing.T) {
	for _, s := range []string{"192.0.2.1:7003", "[2001:db8::1]:7003", "[fe80::1%3]:1", "0.0.0.0:0"} {
		a := at(52, netip.MustParseAddrPort(s))
		raw := a.AppendRaw(nil)
		assert.Len(t, raw, rxrpc.SockaddrSize)
		got, err := rxrpc.ParseAddr(raw, 6)
		require.NoError(t, err)
		assert.Equal(t, a, got)
	}
	assert.Equal(t, "192.0.2.1:7003/52", at(52, netip.MustParseAddrPort("192.0.2.1:7003")).String())
}

// FuzzParseControl: whatever is accepted means the same when it is written again.
func FuzzParseControl(f *testing.F) {
	c := tag(1)
	f.Add(c.AppendRaw(nil))
	c.TxLength, c.HasTxLength, c.Upgrade, c.Exclusive = 5, true, true, true
	c.Timeouts, c.HasTimeouts = rxrpc.Timeouts{Hard: time.Second, Idle: time.Second, Normal: time.Second}, true
	f.Add(c.AppendRaw(nil))
	c = command(2, rxrpc.CtlAbort)
	c.Code = 3
	f.Add(c.AppendRaw(nil))
	c = command(2, rxrpc.CtlLocalError)
	f.Add(c.AppendRaw(nil))
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (rxrpc.Control, error){rxrpc.ParseControl, rxrpc.ParseReceivedControl} {
			c, err := parse(b)
			if err != nil {
				require.True(t, errorsIs(err, syscall.EINVAL) || errorsIs(err, syscall.ERANGE), "%v", err)
				continue
			}
			again, err := rxrpc.ParseReceivedControl(c.AppendRaw(nil))
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	})
}

// FuzzParseAddr: whatever is accepted means the same when it is written again.
func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"192.0.2.1:7003", "[2001:db8::1]:7003", "[fe80::1%3]:1"} {
		f.Add(at(52, netip.MustParseAddrPort(s)).AppendRaw(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, family := range []int{4, 6} {
			a, err := rxrpc.ParseAddr(b, family)
			if err != nil {
				continue
			}
			again, err := rxrpc.ParseAddr(a.AppendRaw(nil), family)
			require.NoError(t, err)
			require.Equal(t, a, again)
		}
	})
}
