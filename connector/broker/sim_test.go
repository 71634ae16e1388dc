package broker

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// sim is a hub without sockets, and its clients as tests see them.
type sim struct {
	t     *testing.T
	h     *hub
	peers map[*conn]*peer
}

func newSim(t *testing.T, p *Policy) *sim {
	if p == nil {
		p = UserPolicy()
	}
	h := newHub(slog.New(slog.DiscardHandler), p, connector.Cred{UID: 7, GID: 8, PID: 9}, 77, 1e9)
	return &sim{t: t, h: h, peers: make(map[*conn]*peer)}
}

// peer is one client: what it writes is handled at once, and what the hub has
// for it waits until the test reads.
type peer struct {
	s   *sim
	c   *conn
	buf []byte // written by the peer, not handled yet
	got []byte // read by the peer, not parsed yet
}

func (s *sim) dial(uid uint32) *peer {
	p := &peer{s: s, c: s.h.open(connector.Cred{UID: uid, GID: uid + 1, PID: uid + 2}, nil)}
	s.peers[p.c] = p
	return p
}

// client is dial and the greeting.
func (s *sim) client(uid uint32) *peer {
	p := s.dial(uid)
	p.write(frame.Header{Type: frame.Hello}, frame.AppendHello(nil, "peer")...)
	fr := p.read()
	require.Len(s.t, fr, 1)
	require.Equal(s.t, frame.Welcome, fr[0].Type)
	require.Equal(s.t, p.c.port, fr[0].Port)
	return p
}

func (s *sim) root() *peer { return s.client(0) }

func (p *peer) write(h frame.Header, body ...byte) {
	p.raw(h.Append(nil, body...))
}

func (p *peer) raw(b []byte) {
	p.buf = append(p.buf, b...)
	p.handle()
}

func (p *peer) handle() {
	if p.c.closed || p.c.paused {
		return
	}
	n := p.s.h.input(p.c, p.buf)
	p.buf = p.buf[n:]
	p.s.settle()
}

// settle does what the loop does after each turn, writing excepted.
func (s *sim) settle() {
	s.h.pumpWatches()
	for len(s.h.resumed) > 0 {
		again := s.h.resumed
		s.h.resumed = nil
		for _, c := range again {
			if c.proxy {
				s.h.site.again(c)
			} else {
				s.peers[c].handle()
			}
		}
	}
}

type got struct {
	frame.Header
	body []byte
}

func (g got) data() string { return string(g.body[connector.HeaderLen:]) }

// take moves at most n bytes from the hub to the peer, as a socket would.
func (p *peer) take(n int) {
	n = min(n, p.c.out.len())
	if n == 0 {
		return
	}
	p.got = append(p.got, p.c.out.pending()[:n]...)
	p.s.h.written(p.c, n)
	p.s.settle()
}

// read takes all there is and returns the whole frames.
func (p *peer) read() []got {
	for p.c.out.len() > 0 {
		p.take(p.c.out.len())
	}
	return p.parse()
}

func (p *peer) parse() (frames []got) {
	for {
		h, body, err := frame.Parse(p.got)
		if err != nil {
			require.ErrorIs(p.s.t, err, frame.ErrShort)
			return frames
		}
		frames = append(frames, got{h, append([]byte(nil), body...)})
		p.got = p.got[h.Len:]
	}
}

// one reads exactly one frame of type t.
func (p *peer) one(t frame.Type) got {
	p.s.t.Helper()
	fr := p.read()
	require.Len(p.s.t, fr, 1, "frames: %v", types(fr))
	require.Equal(p.s.t, t, fr[0].Type)
	return fr[0]
}

func (p *peer) none() {
	p.s.t.Helper()
	require.Empty(p.s.t, types(p.read()))
}

func types(fr []got) (ts []frame.Type) {
	for _, f := range fr {
		ts = append(ts, f.Type)
	}
	return ts
}

// msg is a Send frame.
func msg(h frame.Header, id cbid.ID, seq, ack uint32, data string) []byte {
	m := connector.Message{ID: id, Seq: seq, Ack: ack, Data: []byte(data)}
	b, err := m.AppendNative(nil, 0)
	if err != nil {
		panic(err)
	}
	h.Type = frame.Send
	return h.Append(nil, b...)
}

func (p *peer) send(h frame.Header, id cbid.ID, data string) { p.raw(msg(h, id, 1, 2, data)) }

// add registers id and expects success.
func (p *peer) add(id cbid.ID, name string) {
	p.s.t.Helper()
	p.write(frame.Header{Type: frame.Add, Tag: 1}, frame.AppendNamed(nil, id, name)...)
	fr := p.read()
	require.Equal(p.s.t, []frame.Type{frame.Ack, frame.Interest}, types(fr))
	require.Zero(p.s.t, fr[0].Code, string(fr[0].body))
}

func (p *peer) join(group uint32) {
	p.s.t.Helper()
	p.write(frame.Header{Type: frame.Join, Tag: 2, Group: group})
	require.Zero(p.s.t, p.one(frame.Ack).Code)
}

// code expects a single Ack and returns its code.
func (p *peer) code() uint16 {
	p.s.t.Helper()
	return p.one(frame.Ack).Code
}
