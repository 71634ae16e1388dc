package rxdebug_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxdebug"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// An endpoint gives, for each datagram that comes, those that answer it.
type endpoint func(h wire.Header, body []byte) [][]byte

// serve runs an endpoint on a socket of its own until the end of the test.
func serve(t *testing.T, network, addr string, e endpoint) netip.AddrPort {
	t.Helper()
	s, err := net.ListenPacket(network, addr)
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := s.ReadFrom(b)
			if err != nil {
				return
			}
			h, body, err := wire.ParseHeader(b[:n])
			if err != nil {
				continue
			}
			for _, answer := range e(h, body) {
				_, _ = s.WriteTo(answer, from)
			}
		}
	}()
	return s.LocalAddr().(*net.UDPAddr).AddrPort()
}

// answer is a datagram that answers h.
func answer(h wire.Header, body []byte) []byte {
	r := h.Reply(h.Type)
	return append(r.Append(nil), body...)
}

// records is an endpoint that has an answer for each request, in the given
// version.
type records struct {
	version byte
	conns   []wire.DebugConn
	peers   []wire.DebugPeer
	rx      wire.RxStats
}

func (r *records) answer(h wire.Header, body []byte) [][]byte {
	if h.Type == wire.TypeVersion {
		return [][]byte{answer(h, wire.AppendVersion(nil, "test \x1b[1mversion"))}
	}
	q, err := wire.ParseDebugRequest(body)
	if err != nil {
		return nil
	}
	var out []byte
	switch {
	case q.Type == wire.DebugGetStats:
		s := wire.DebugStats{FreePackets: 1, PacketReclaims: 2, CallsExecuted: 3, WaitingForPackets: 1, UsedFDs: 200, Version: r.version, Waiting: 4, IdleThreads: 5, Waited: 6, Packets: 7}
		out = s.Append(nil)
	case q.Type == wire.DebugGetRxStats:
		out = r.rx.Append(nil)
	case q.Type == wire.DebugGetPeer:
		p := wire.DebugPeerEnd()
		if int(q.Index) < len(r.peers) {
			p = r.peers[q.Index]
		}
		out = p.Append(nil)
	case q.Type == wire.DebugGetConn || q.Type == wire.DebugGetAllConn && r.version >= 'M':
		c, n := wire.DebugConnEnd(), int(q.Index)
		for _, conn := range r.conns {
			if q.Type == wire.DebugGetAllConn || conn.Interesting() {
				if n == 0 {
					c = conn
				}
				n--
			}
		}
		out = c.Append(nil)
	default:
		out = wire.AppendDebugBadType(nil)
	}
	return [][]byte{answer(h, out)}
}

// dial makes a client that does not wait long.
func dial(t *testing.T, addr netip.AddrPort, config *rxdebug.Config) (*rxdebug.Client, context.Context) {
	t.Helper()
	c, err := rxdebug.Dial(addr, config)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return c, ctx
}
