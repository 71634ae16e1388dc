package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
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
