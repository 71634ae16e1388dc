package procevent

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
)

// fakeKernel is the kernel's side of process events as its observable behaviour
// is: a counter for each CPU, one count of listeners, a mask for each socket, answers that go to
// everybody, sockets that are full.
type fakeKernel struct {
	old bool // ignores requests with a mask, counts every LISTEN

	mu        sync.Mutex
	seq       [2]uint32
	listeners int
	socks     []*fakeSock
	produced  int // messages, answers included
}

func (k *fakeKernel) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.listeners
}

// emit produces an event on a CPU, as long as anybody listens.
func (k *fakeKernel) emit(cpu uint32, e Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.send(cpu, e, 0)
}

func (k *fakeKernel) send(cpu uint32, e Event, ack uint32) {
	if k.listeners < 1 {
		return
	}
	e.CPU = cpu
	data, _ := e.Append(nil, native)
	m := connector.Message{ID: ID, Seq: k.seq[cpu], Ack: ack, Data: data}
	k.seq[cpu]++
	k.produced++
	b, _ := m.AppendNative(nil, 0)
	for _, s := range k.socks {
		if !s.masked || s.mask.Has(&e) && e.Kind != Ack {
			s.deliver(nlconn.Datagram{Data: b, Group: Group, HasCred: true})
		}
	}
}

// forge is what root in another process can do; each half of the source alone gives it away.
func (k *fakeKernel) forge(port, pid uint32, e Event) {
	data, _ := e.Append(nil, native)
	b, _ := (&connector.Message{ID: ID, Data: data}).AppendNative(nil, 0)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.socks {
		s.deliver(nlconn.Datagram{Data: b, Group: Group, Port: port, HasCred: true, Cred: connector.Cred{PID: pid}})
	}
}

// fakeSock is a socket; fakeKernel.mu guards it.
type fakeSock struct {
	k      *fakeKernel
	ready  chan struct{}
	closed chan struct{}
	once   sync.Once

	queue     []nlconn.Datagram
	room      int // datagrams
	congested bool
	overrun   bool
	drops     uint32
	op        uint32
	masked    bool
	mask      Mask
}

const fakeTruesize = 832

func (k *fakeKernel) open(room int) *fakeSock {
	s := &fakeSock{k: k, ready: make(chan struct{}, 1), closed: make(chan struct{}), room: room}
	k.mu.Lock()
	k.socks = append(k.socks, s)
	k.mu.Unlock()
	return s
}

func (s *fakeSock) deliver(d nlconn.Datagram) {
	if s.congested || len(s.queue) >= s.room {
		s.overrun = s.overrun || !s.congested
		s.congested = true
		s.drops++
	} else {
		s.queue = append(s.queue, d)
	}
	wake(s.ready)
}

func (s *fakeSock) Receive(dst []nlconn.Datagram) (int, error) {
	for {
		s.k.mu.Lock()
		if s.overrun {
			s.overrun = false
			s.k.mu.Unlock()
			return 0, nlconn.ErrOverrun
		}
		n := copy(dst, s.queue)
		s.queue = s.queue[n:]
		s.congested = s.congested && len(s.queue) > 0
		s.k.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-s.ready:
		case <-s.closed:
			return 0, connector.ErrClosed
		}
	}
}

func (s *fakeSock) MemInfo() (nlconn.MemInfo, error) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	return nlconn.MemInfo{Queued: uint32(len(s.queue) * fakeTruesize), Buffer: uint32(s.room * fakeTruesize), Drops: s.drops}, nil
}

func (s *fakeSock) ReadBuffer() (int, error) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	return s.room * fakeTruesize, nil
}

func (s *fakeSock) SetReadBuffer(n int) (int, error) {
	s.k.mu.Lock()
	s.room = 2 * n / fakeTruesize
	s.k.mu.Unlock()
	return s.ReadBuffer()
}

func (s *fakeSock) Send(b []byte) error { return s.control(0, b) }

func (s *fakeSock) SendOn(b func(cpu int) []byte) error {
	for cpu := range s.k.seq {
		if err := s.control(uint32(cpu), b(cpu)); err != nil {
			return err
		}
	}
	return nil
}

// control is the kernel's callback of 1:1.
func (s *fakeSock) control(cpu uint32, b []byte) error {
	m, err := connector.ParseExact(b)
	if err != nil {
		return err
	}
	k := s.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(m.Data) == 8 && k.old {
		return nil
	}
	op, before := native.Uint32(m.Data), s.op
	if !k.old {
		s.op, s.masked, s.mask = op, false, 0
		if len(m.Data) == 8 {
			s.mask = Mask(native.Uint32(m.Data[4:]))
			s.masked = s.mask.normal() != All && s.mask != 0
		}
	}
	var errno uint32
	switch op {
	case opListen:
		if k.old || before != opListen {
			k.listeners++
		}
	case opIgnore:
		if k.old || before != opIgnore {
			k.listeners--
		}
	default:
		errno = uint32(syscall.EINVAL)
	}
	k.send(cpu, Event{Kind: Ack, Err: errno}, m.Ack+1)
	return nil
}

func (s *fakeSock) Batch() int { return 8 }

func (s *fakeSock) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.k.mu.Lock()
		defer s.k.mu.Unlock()
		for i, o := range s.k.socks {
			if o == s {
				s.k.socks = append(s.k.socks[:i:i], s.k.socks[i+1:]...)
			}
		}
	})
	return nil
}

// dialFake opens a client of k with room for that many datagrams.
func dialFake(t testing.TB, k *fakeKernel, room int, cfg Config) (*Client, *fakeSock) {
	t.Helper()
	full, err := cfg.withDefaults()
	require.NoError(t, err)
	s := k.open(room)
	c, err := newClient(t.Context(), full, s)
	require.NoError(t, err)
	return c, s
}

func (k *fakeKernel) dial(ctx context.Context, cfg Config) (*Client, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newClient(ctx, full, k.open(10000))
}

// next returns the next event, which must come soon.
func next(t testing.TB, c interface {
	Recv(context.Context) (Event, error)
},
) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	e, err := c.Recv(ctx)
	require.NoError(t, err)
	e.raw = [Size]byte{}
	return e
}
