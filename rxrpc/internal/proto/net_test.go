package proto

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/require"
)

const (
	clientEpoch wire.Epoch     = 0x8badf00d
	testService wire.ServiceID = 147
)

var (
	clientAddr = netip.MustParseAddrPort("10.0.0.1:7001")
	serverAddr = netip.MustParseAddrPort("10.0.0.2:7000")
)

// detRand gives the same bytes every time.
type detRand struct{ *rand.ChaCha8 }

func newRand(seed byte) detRand {
	var s [32]byte
	s[0] = seed
	return detRand{rand.NewChaCha8(s)}
}

// A world is endpoints with a wire between them that takes some time, and may lose.
type world struct {
	t     testing.TB
	now   Time
	hosts map[netip.AddrPort]*station
	delay time.Duration
	queue []packet // in the order of arrival
	// onWire sees every datagram; false: it is lost.
	onWire func(from, to netip.AddrPort, b []byte) bool
	trace  bool
	dirt   byte // what is in the buffer that datagrams are written to
}

type packet struct {
	at       Time
	from, to netip.AddrPort
	b        []byte
}

// A station is an endpoint with what its application does.
type station struct {
	*Endpoint
	w       *world
	addr    netip.AddrPort
	onEvent func(Event)
	sent    []packet
}

func newWorld(t testing.TB) *world {
	return &world{t: t, hosts: make(map[netip.AddrPort]*station), now: Time(time.Hour), delay: time.Millisecond}
}

func (w *world) add(addr netip.AddrPort, cfg Config) *station {
	if cfg.Rand == nil {
		cfg.Rand = newRand(byte(len(w.hosts) + 1))
	}
	s := &station{Endpoint: New(cfg, w.now), w: w, addr: addr}
	w.hosts[addr] = s
	return s
}

// flush sends and tells what there is.
func (w *world) flush() {
	buf := make([]byte, MaxDatagram)
	for again := true; again; {
		again = false
		for _, s := range w.hosts {
			for {
				for i := range buf[:4096] {
					buf[i] = w.dirt
				}
				n, to, ok := s.Transmit(w.now, buf)
				if !ok {
					break
				}
				again = true
				b := bytes.Clone(buf[:n])
				p := packet{w.now.Add(w.delay), s.addr, to.To, b}
				s.sent = append(s.sent, p)
				if w.trace {
					w.t.Logf("%v %v: %s", time.Duration(w.now-Time(time.Hour)), s.addr, wire.AppendText(nil, b))
				}
				if w.onWire == nil || w.onWire(s.addr, to.To, b) {
					w.queue = append(w.queue, p)
				}
			}
			for {
				ev, ok := s.Event()
				if !ok {
					break
				}
				again = true
				if s.onEvent != nil {
					s.onEvent(ev)
				}
			}
		}
	}
}

// step goes on to what happens next; false: nothing will.
func (w *world) step() bool {
	w.flush()
	next := never
	for _, p := range w.queue {
		next = min(next, p.at)
	}
	for _, s := range w.hosts {
		if at, ok := s.Deadline(); ok {
			next = min(next, max(at, w.now))
		}
	}
	if next == never {
		return false
	}
	w.now = max(w.now, next)
	rest := w.queue[:0]
	var due []packet
	for _, p := range w.queue {
		if p.at <= w.now {
			due = append(due, p)
		} else {
			rest = append(rest, p)
		}
	}
	w.queue = rest
	for _, p := range due {
		if s := w.hosts[p.to]; s != nil {
			s.Receive(w.now, p.from, p.b)
		}
	}
	for _, s := range w.hosts {
		if at, ok := s.Deadline(); ok && at <= w.now {
			s.Tick(w.now)
		}
	}
	w.flush()
	return true
}

// until goes on until cond holds; it fails after a time.
func (w *world) until(d time.Duration, cond func() bool) {
	w.t.Helper()
	end := w.now.Add(d)
	for w.flush(); !cond(); {
		if !w.step() || w.now > end {
			require.Fail(w.t, "it did not come to that", "after %v", time.Duration(w.now-Time(time.Hour)))
		}
	}
}

// run goes on for a time.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	w.flush()
	for {
		next := never
		for _, p := range w.queue {
			next = min(next, p.at)
		}
		for _, s := range w.hosts {
			if at, ok := s.Deadline(); ok {
				next = min(next, at)
			}
		}
		if next > end {
			w.now = end
			return
		}
		w.step()
	}
}

// A task is the application's side of a call.
type task struct {
	c       *Call
	send    []byte
	done    bool // all was given to Send
	got     []byte
	whole   bool // all was taken
	result  Result
	ended   bool
	what    What
	keep    bool // not released at the end
	stuck   bool // consumes nothing
	unread  int
	service wire.ServiceID
}

func (s *station) push(t *task) {
	for !t.done {
		n, err := t.c.Send(s.w.now, t.send, false)
		if err != nil && err != ErrFull {
			return
		}
		full := n < len(t.send) || err == ErrFull
		t.send = t.send[n:]
		if full {
			return
		}
		t.done = true
	}
}

func (s *station) pull(t *task) {
	for {
		b, last, ok := t.c.Take()
		if !ok {
			return
		}
		t.got = append(t.got, b.Bytes()...)
		t.whole = last
		t.unread += b.Packets()
		b.Release()
		if !t.stuck {
			t.c.Consumed(s.w.now, t.unread)
			t.unread = 0
		}
	}
}

// call makes a call whose reply is collected.
func (s *station) call(p CallParams, request []byte) *task {
	t := &task{send: request}
	if p.Peer == (netip.AddrPort{}) {
		p.Peer = serverAddr
	}
	if p.Service == 0 {
		p.Service = testService
	}
	p.Tag = t
	c, err := s.NewCall(s.w.now, &p)
	require.NoError(s.w.t, err)
	t.c = c
	s.push(t)
	return t
}

// client handles events of calls that call has made.
func (s *station) client() *station {
	s.onEvent = func(ev Event) {
		t := ev.Call.Tag.(*task)
		t.what |= ev.What
		if ev.What.Has(Writable) {
			s.push(t)
		}
		s.pull(t)
		if ev.What.Has(Ended) {
			t.ended, t.result, t.service = true, ev.Call.Result(), ev.Call.Service()
			if !t.keep {
				ev.Call.Release(s.w.now)
			}
		}
	}
	return s
}

// serve answers calls by what f makes of their requests.
func (s *station) serve(p ServiceParams, f func(req []byte) []byte) (*Service, *[]*task) {
	var all []*task
	if p.IDs == nil {
		p.IDs = []wire.ServiceID{testService}
		p.Accept = AcceptAuto
	}
	svc, err := s.Listen(s.w.now, p)
	require.NoError(s.w.t, err)
	s.onEvent = func(ev Event) {
		if ev.What.Has(Arrived) && ev.Call.Tag == nil {
			t := &task{c: ev.Call}
			all = append(all, t)
			ev.Call.Tag = t
		}
		t, _ := ev.Call.Tag.(*task)
		if t == nil {
			return
		}
		t.what |= ev.What
		if ev.What.Has(Writable) {
			s.push(t)
		}
		before := t.whole
		s.pull(t)
		if t.whole && !before && !ev.What.Has(Ended) && f != nil {
			t.send = f(t.got)
			s.push(t)
		}
		if ev.What.Has(Ended) {
			t.ended, t.result, t.service = true, ev.Call.Result(), ev.Call.Service()
			if !t.keep {
				ev.Call.Release(s.w.now)
			}
		}
	}
	return svc, &all
}

func echo(b []byte) []byte { return bytes.Clone(b) }

// pattern makes n bytes of which every piece is different.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		if i%4 == 0 && i+4 <= n {
			binary.BigEndian.PutUint32(b[i:], uint32(i))
		} else if i%4 == 0 {
			b[i] = byte(i)
		}
	}
	return b
}

// pair is a client and a server that echoes.
func pair(t testing.TB, cc, sc Config) (w *world, client, server *station, served *[]*task) {
	w = newWorld(t)
	cc.Epoch = clientEpoch
	client = w.add(clientAddr, cc).client()
	server = w.add(serverAddr, sc)
	_, served = server.serve(ServiceParams{}, echo)
	return w, client, server, served
}
