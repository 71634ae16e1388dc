package rxrpc_test

import (
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// Rows of section 5.5 of the project's reference that take two at once.

// slowKey is a key that does something else first.
type slowKey struct{ meanwhile func() }

func (k slowKey) RequestKey(string) (rxrpc.ClientKey, error)         { return k, nil }
func (k slowKey) RequestKeyring(string) (rxrpc.ServerKeyring, error) { return nil, errno.NoKey }
func (k slowKey) Secure(uint8) (rxrpc.ClientSecurity, error)         { k.meanwhile(); return nil, nil }

// TestTagsAreRaced is row "id raced with another creator": of two who begin a call with one tag, one gets it, and the
// other hears EEXIST, however far the first has come.
func TestTagsAreRaced(t *testing.T) {
	t.Run("while the second looks for its key", func(t *testing.T) {
		to := listening(t, 52, nil).Getsockname()
		var client *rxrpc.Socket
		first := true
		client = socket(t, &rxrpc.SocketConfig{Keys: slowKey{func() {
			if first {
				first = false
				sends(t, client, rxrpc.Msg{Name: to, Control: tag(1), Flags: rxrpc.MsgMore})
			}
		}}})
		require.NoError(t, client.SetSecurityKey("k"))
		_, err := client.Sendmsg(soon(t), rxrpc.Msg{Name: to, Control: tag(1)})
		require.ErrorIs(t, err, syscall.EEXIST)
		sends(t, client, rxrpc.Msg{Control: tag(1), Data: []byte("the first has it")})
	})
	t.Run("before the protocol knows of the first", func(t *testing.T) {
		to := listening(t, 52, nil).Getsockname()
		var stuck atomic.Bool
		busy, free := make(chan struct{}), make(chan struct{})
		client := socket(t, &rxrpc.SocketConfig{Endpoint: &rxrpc.Config{Hooks: &rxrpc.Hooks{
			Packet: func(bool, netip.AddrPort, []byte) {
				if stuck.CompareAndSwap(true, false) {
					close(busy)
					<-free // nothing goes on behind it
				}
			},
		}}})
		require.NoError(t, client.Bind(at(0, local4)))
		sent := make(chan error)
		begin := func(id uint64) {
			_, err := client.Sendmsg(soon(t), rxrpc.Msg{Name: to, Control: tag(id)})
			sent <- err
		}
		stuck.Store(true)
		go begin(1)
		<-busy
		go begin(2)
		err := error(syscall.EDESTADDRREQ)
		for ; errorsIs(err, syscall.EDESTADDRREQ); runtime.Gosched() { // it has not come so far
			_, err = client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(2), Data: []byte("x")})
		}
		assert.ErrorIs(t, err, syscall.EEXIST)
		close(free)
		require.NoError(t, <-sent)
		require.NoError(t, <-sent)
	})
}

// TestCallsThatEndBeforeTheyAreTaken is row "old ACCEPT: call dead, aborted", and the same of RejectCall: a call that waits may
// end, and is told of once.
func TestCallsThatEndBeforeTheyAreTaken(t *testing.T) {
	accept := func(s *rxrpc.Socket) error {
		_, err := s.Sendmsg(soon(t), rxrpc.Msg{Control: command(1, rxrpc.CtlAccept)})
		return err
	}
	for name, take := range map[string]func(*rxrpc.Socket) error{"ACCEPT": accept, "reject": (*rxrpc.Socket).Reject} {
		for why, want := range map[string]syscall.Errno{"dead": syscall.ETIME, "aborted": syscall.ECONNABORTED} {
			t.Run(name+", "+why, func(t *testing.T) {
				ended := make(chan error, 1)
				cfg := &rxrpc.Config{Hooks: &rxrpc.Hooks{CallEnded: func(_ netip.AddrPort, _ uint16, _ bool, err error) { ended <- err }}}
				if want == syscall.ETIME {
					cfg.Timers.HeardNothing = 50 * time.Millisecond
				}
				server := listening(t, 52, &rxrpc.SocketConfig{Endpoint: cfg})

				client, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server.Getsockname().Addr))
				require.NoError(t, err)
				defer client.Close()
				request := make([]byte, 28, 32) // the first packet of call 1, of more
				request[3], request[7], request[11], request[15], request[19] = 9, 4, 1, 1, 1
				request[20], request[21], request[27] = 1, 1, 52
				_, err = client.Write(append(request, "x"...))
				require.NoError(t, err)
				assert.Equal(t, rxrpc.CtlNewCall, receives(t, server, 0).Control.Command)
				if want == syscall.ECONNABORTED {
					abort := append([]byte(nil), request...)
					abort[15], abort[19], abort[20] = 0, 2, 4
					_, err = client.Write(append(abort, 0, 0, 0, 7))
					require.NoError(t, err)
				}
				require.Error(t, <-ended)

				err = take(server)
				require.ErrorIs(t, err, want)
				var e *rxrpc.SocketError
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, take(server), syscall.ENODATA, "once")
			})
		}
	}
}

// TestCallsThatEndWhileTheySend is row "call failed while sending", for what takes its time: a call that may take no
// longer, and a peer that was never heard.
func TestCallsThatEndWhileTheySend(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	const short = 50 * time.Millisecond
	limited := tag(1)
	limited.Timeouts.Hard = short
	for name, c := range map[string]struct {
		control rxrpc.Control
		timers  rxrpc.Timers
	}{
		"a call that takes too long": {control: limited},
		"a peer that is silent":      {control: tag(1), timers: rxrpc.Timers{HeardNothing: short}},
	} {
		client := socket(t, &rxrpc.SocketConfig{Endpoint: &rxrpc.Config{Timers: c.timers}})
		require.NoError(t, client.Bind(at(0, local4)))
		_, err := client.Sendmsg(soon(t), rxrpc.Msg{
			Name: at(52, silent.LocalAddr().(*net.UDPAddr).AddrPort()), Control: c.control, Data: pattern(4 << 20),
		})
		require.ErrorIs(t, err, syscall.ETIME, name)
	}
}
