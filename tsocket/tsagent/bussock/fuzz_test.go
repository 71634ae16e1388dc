package bussock

import (
	"context"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
)

// Whatever a message is, it is read without a panic, and what is read is what was written.
func FuzzMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add(header{op: opData, flags: flagEnd, sock: 70_000, arg: 5}.append(nil, []byte("abc")...))
	f.Add(header{op: opReset, sock: 70_000, arg: uint64(syscall.EPROTO)}.append(nil, []byte("because")...))
	f.Add(header{op: opDgrams, sock: 9}.append(nil, 1, 0, 'x', 0, 0))
	f.Add(answer{port: 7, number: 70_000, window: 4096}.append(nil, opConnect))
	f.Add(answer{errno: syscall.ECONNREFUSED, text: "no"}.append(nil, opLookup))
	f.Fuzz(func(t *testing.T, data []byte) {
		line, ok := Describe(connector.Message{ID: cbid.BusSock, Data: data})
		require.True(t, ok)
		require.NotEmpty(t, line)
		_, ok = Describe(connector.Message{Data: data})
		require.False(t, ok)
		h, body, ok := parse(data)
		if !ok {
			require.Less(t, len(data), headerLen)
			return
		}
		require.Equal(t, data, h.append(nil, body...))
		for _, to := range []op{opConnect, opLookup} {
			a, ok := parseAnswer(data, to)
			if !ok {
				continue
			}
			if a.errno == 0 {
				again, ok := parseAnswer(a.append(nil, to), to)
				require.True(t, ok)
				require.Equal(t, a, again)
			}
			require.LessOrEqual(t, len(a.text), 4*maxRefusal)
		}
		if n, ok := countDgrams(body); ok {
			total := 0
			for rest := body; len(rest) > 0; n-- {
				var d []byte
				d, rest, ok = nextDgram(rest)
				require.True(t, ok)
				total += entryLen + len(d)
			}
			require.Zero(t, n)
			require.Equal(t, len(body), total)
		}
	})
}

// Whatever a peer sends in whatever order, the node holds no more than the window and goes on. Each message of the input is its op,
// flags, a number and a length.
func FuzzPeer(f *testing.F) {
	f.Add([]byte{0x11, 0, 1, 0, 0x10, 0, 0, 200, 0x10, 3, 0, 0})
	f.Add([]byte{0x10, 0, 0, 255, 0x10, 0, 255, 255, 0x12, 0, 5, 3, 0x20, 0, 0, 3})
	f.Add([]byte{0x11, 0, 4, 0, 0x10, 1, 0, 9, 0x11, 0, 255, 0, 0x30, 0, 1, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		b := loopback.New(nil).Open()
		defer b.Close()
		n, err := New(context.Background(), b, &Config{Window: leastWindow})
		require.NoError(t, err)
		defer n.Close()
		l, err := n.Listen(context.Background(), cbid.Make(0x5000, 1), nil)
		require.NoError(t, err)
		peer, err := b.Endpoint(context.Background())
		require.NoError(t, err)
		defer peer.Close()
		d, err := n.Dgram(&DgramConfig{Number: 9, ReceiveBuffer: 1000})
		require.NoError(t, err)
		ev, err := peer.Call(context.Background(), connector.Message{ID: l.ID(), Data: header{op: opConnect, sock: 70_000, arg: Version}.append(nil)}, connector.Dest{})
		require.NoError(t, err)
		a, ok := parseAnswer(ev.Msg.Data, opConnect)
		require.True(t, ok)
		n.mu.Lock()
		s := n.streams[a.number]
		n.mu.Unlock()
		var sent uint64
		for ; len(in) >= 4; in = in[4:] {
			h := header{op: op(in[0]), flags: uint16(in[1]), sock: a.number}
			body := make([]byte, int(in[3])*16)
			switch h.op {
			case opData:
				h.arg = sent + uint64(in[2])
				sent += uint64(len(body))
			case opDgrams:
				h.sock, body = 9, in[3:]
			default:
				h.arg = uint64(in[2]) << 8
				body = body[:len(body)/16]
			}
			n.message(&connector.Event{
				Kind: connector.EventMessage, From: connector.From{Port: peer.Port()},
				Msg: connector.Message{ID: cbid.BusSock, Seq: 70_000 - uint32(in[1]>>7), Data: h.append(nil, body...)},
			})
			s.mu.Lock()
			require.LessOrEqual(t, s.in.ring.n, leastWindow)
			s.mu.Unlock()
		}
		for {
			_, _, err := d.TryRecvFrom(make([]byte, MaxDgram))
			if err != nil {
				require.ErrorIs(t, err, tsocket.ErrAgain)
				break
			}
		}
		require.False(t, n.ctx.Err() != nil)
	})
}

// An address is that of a socket of the bus if and only if Addr makes it.
func FuzzParseAddr(f *testing.F) {
	bus := netip.MustParsePrefix("fd63:6e62:7573::/96")
	for _, s := range []string{"[fd63:6e62:7573::7]:9", "[fd63:6e62:7573::7%2]:9", "[fd63:6e62:7573:0:0:1::]:9", "[fd63:6e62:7574::7]:9", "192.0.2.1:80", "[::ffff:192.0.2.1]:80", "[fe80::1%2]:80"} {
		a := netip.MustParseAddrPort(s)
		f.Add(a.Addr().AsSlice(), a.Addr().Zone(), a.Port(), "/run/x.sock")
	}
	f.Add([]byte{}, "", uint16(0), "@x")
	f.Fuzz(func(t *testing.T, ip []byte, zone string, port uint16, path string) {
		at, _ := netip.AddrFromSlice(ip)
		if at.Is6() {
			at = at.WithZone(zone)
		}
		a, err := tsocket.AddrFrom(netip.AddrPortFrom(at, port))
		if err != nil {
			require.Zero(t, a)
		}
		endpoint, number, ok := ParseAddr(a)
		require.Equal(t, a.Scope() == 0 && bus.Contains(a.IP()), ok, "%v", a)
		if ok {
			require.Equal(t, a, Addr(endpoint, number))
		} else {
			require.Zero(t, endpoint)
			require.Zero(t, number)
		}
		if u, err := tsocket.UnixAddr(path); err == nil {
			_, _, ok = ParseAddr(u)
			require.False(t, ok, "%v", u)
		}
	})
}
