package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// FuzzInput gives a client's bytes to the hub, in two pieces cut anywhere: no
// panic, nothing left behind, and no harm to others.
func FuzzInput(f *testing.F) {
	id := cbid.Make(5, 6)
	named := frame.AppendNamed(nil, id, "n")
	f.Add(frame.Header{Type: frame.Add, Tag: 1}.Append(nil, named...), 20)
	f.Add(msg(frame.Header{Flags: 0xff}, id, 1, 2, "data"), 0)
	f.Add(msg(frame.Header{Group: 5, Flags: frame.FlagAck}, id, 1, 2, "data"), 50)
	f.Add(msg(frame.Header{Flags: frame.FlagCall}, cbid.Control, 1, 2, "0123456789abcdef"), 50)
	f.Add(frame.Header{Type: frame.Watch}.Append(nil, frame.AppendU64s(nil, 0, 1<<32, 0, 1<<32)...), 3)
	f.Add(frame.Header{Type: frame.Join, Flags: frame.FlagAt, Group: 5, Pos: 1 << 63}.Append(nil, frame.AppendU64s(nil, 77)...), 3)
	f.Add(frame.Header{Type: frame.History, Group: 5}.Append(nil, frame.AppendU64s(nil, 10, 1<<39, 1)...), 3)
	f.Add(frame.Header{Type: frame.Query}.Append(nil, []byte("stat")...), 3)
	f.Add(append(frame.Header{Type: frame.Follow, Port: 1, Pos: 7}.Append(nil), frame.Header{Type: frame.Unfollow, Pos: 7}.Append(nil)...), 40)
	f.Add(frame.Header{Type: frame.Follow, Port: 2}.Append(nil), 3)
	f.Add(frame.Header{Type: frame.Monitor}.Append(nil), 3)
	f.Add(frame.Header{Type: frame.Hold}.Append(nil, frame.AppendID(nil, id)...), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		s := newSim(t, nil)
		other := s.root()
		other.add(cbid.Make(9, 9), "other")
		other.join(5)
		p := s.root()
		p.add(id, "fuzz")
		cut = max(0, min(cut, len(b)))
		p.raw(b[:cut])
		p.raw(b[cut:])
		for _, g := range p.read() {
			require.LessOrEqual(t, int(g.Len), frame.MaxLen)
		}
		s.h.close(p.c)
		other.read()
		last := s.root()
		last.send(frame.Header{}, cbid.Make(9, 9), "still there")
		require.Equal(t, "still there", other.one(frame.Msg).data())
		s.h.close(other.c)
		s.h.close(last.c)
		require.Empty(t, s.h.conns)
		require.Empty(t, s.h.ids)
		require.Zero(t, s.h.watch.Watchers())
		require.Zero(t, s.h.notify.Len())
	})
}

// FuzzBridge gives what a bridge has from other hosts to the hub: no panic, and nothing left behind when the host
// is given up.
func FuzzBridge(f *testing.F) {
	id := cbid.Make(5, 6)
	f.Add(uint32(1), msg(frame.Header{Flags: frame.FlagAck}, id, 1, 2, "data"), frame.Header{Type: frame.Ack, Tag: 1}.Append(nil))
	f.Add(uint32(2), msg(frame.Header{Group: 5}, id, 1, 2, "data"), frame.Header{Type: frame.Stop, Group: 5}.Append(nil))
	f.Add(uint32(1<<20), frame.Header{Type: frame.Follow, Port: 1, Pos: 3}.Append(nil), frame.Header{Type: frame.PortGone, Port: 2<<20 | 1, Pos: 1}.Append(nil))
	f.Add(uint32(0), msg(frame.Header{Port: 1<<20 | 1, Flags: 0xff}, id, 1, 2, ""), frame.Header{Type: frame.Gone, Port: 2<<20 | 1}.Append(nil, frame.AppendID(nil, id)...))
	f.Add(uint32(9), frame.Header{Type: frame.Fail}.Append(nil, make([]byte, 36)...), frame.Header{Type: frame.Lost, Group: 5, Pos: 7}.Append(nil))
	f.Fuzz(func(t *testing.T, port uint32, in, answer []byte) {
		s := newSiteSim(t, 1, nil)
		h := s.hosts[0]
		h.loop.HostUp(2, "other")
		p := h.root()
		p.add(cbid.Make(8, 8), "local")
		h.join(p, 5)
		h.loop.RemoteInterest(5, []uint32{2})
		require.NoError(t, h.loop.IDAdded(connector.IDInfo{ID: cbid.Make(7, 7), Port: connector.SitePort(2, 1)}))
		p.send(frame.Header{Flags: frame.FlagAck | frame.FlagCall, Tag: 4}, cbid.Make(7, 7), "x")
		p.send(frame.Header{Flags: frame.FlagAck | frame.FlagWait, Group: 5, Tag: 5}, cbid.Make(7, 7), "x")
		p.write(frame.Header{Type: frame.Follow, Port: connector.SitePort(2, 1), Pos: 1})
		_ = h.loop.Input(port, connector.Cred{UID: 3}, "far", append([]byte(nil), in...))
		_ = h.loop.Group(port, connector.Cred{UID: 3}, append([]byte(nil), in...))
		_ = h.loop.Deliver(2, port, answer)
		_ = h.loop.Deliver(2, p.c.port, answer)
		h.turn()
		p.read()
		h.loop.HostDown(connector.HostOf(port), "fuzzed")
		h.loop.HostDown(2, "fuzzed")
		h.loop.IDRemoved(cbid.Make(7, 7))
		h.loop.RemoteInterest(5, nil)
		h.h.close(p.c)
		h.turn()
		require.Empty(t, h.h.site.proxies)
		require.Empty(t, h.h.ids)
		require.Empty(t, h.h.conns)
		require.Empty(t, h.h.accounts)
	})
}
