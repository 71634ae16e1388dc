package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Direction is that of a datagram.
type Direction int

const (
	Up   Direction = iota // from a client to the target
	Down                  // from the target to a client
)

// Config says what relay to make.
type Config struct {
	// Listen is where clients reach the relay. The zero value is a free port
	// of 127.0.0.1, or of ::1 for a target with IPv6.
	Listen netip.AddrPort
	Target netip.AddrPort
	Up     Path
	Down   Path
	Seed   uint64

	// Filter, if not nil, is asked about each datagram first; one for which it
	// returns false is dropped. It runs on the relay's thread and must not keep or
	// change the data.
	Filter func(d Direction, data []byte) bool
}

// A Relay is a running relay. Its methods may be called by anybody.
type Relay struct {
	addr   netip.AddrPort
	cfg    Config
	fd     int // the clients' side
	epoll  int
	wake   int // an eventfd
	icmp   int // for signals, -1 without
	done   chan struct{}
	closer sync.Once

	mu   sync.Mutex // guards what follows
	todo []func()   // for the loop
	over bool

	// The loop's own.
	start   time.Time
	paths   [2]Path
	stats   [2]Stats
	clients map[addr]*client
	byFD    map[int]*client
	q       queue
	in, out *messages
	due     []*packet
}

// A client has a socket to the target.
type client struct {
	addr  addr
	fd    int
	lanes [2]*lane
}

// maxWaiting is how many packets may be under way, all clients together: 60 ms
// at a million a second.
const maxWaiting = 1 << 16

// New starts a relay.
func New(cfg Config) (_ *Relay, err error) {
	if !cfg.Listen.IsValid() {
		ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if !cfg.Target.Addr().Unmap().Is4() {
			ip = netip.IPv6Loopback()
		}
		cfg.Listen = netip.AddrPortFrom(ip, 0)
	}
	r := &Relay{
		cfg: cfg, fd: -1, epoll: -1, wake: -1, icmp: -1, done: make(chan struct{}), start: time.Now(), paths: [2]Path{cfg.Up, cfg.Down},
		clients: map[addr]*client{}, byFD: map[int]*client{}, in: newMessages(), out: &messages{},
	}
	defer func() {
		if err != nil {
			r.closeAll()
		}
	}()
	if r.fd, err = socket(cfg.Listen); err != nil {
		return nil, err
	}
	if err := bindTo(r.fd, cfg.Listen); err != nil {
		return nil, fmt.Errorf("relay: bind %v: %w", cfg.Listen, err)
	}
	if r.addr, err = localAddr(r.fd); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if r.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("relay: eventfd: %w", err)
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("relay: epoll: %w", err)
	}
	for _, fd := range []int{r.fd, r.wake} {
		if err := r.watch(fd); err != nil {
			return nil, err
		}
	}
	if err := r.openSignal(cfg.Up, cfg.Down); err != nil {
		return nil, err
	}
	go r.loop()
	return r, nil
}

// Addr is where clients reach the relay.
func (r *Relay) Addr() netip.AddrPort { return r.addr }

// Set changes the paths from now on; what is under way arrives as it would have.
func (r *Relay) Set(up, down Path) error {
	var err error
	r.do(func() {
		if r.fd < 0 {
			err = net.ErrClosed
		} else if err = r.openSignal(up, down); err == nil {
			r.paths = [2]Path{up, down}
		}
	})
	return err
}

// Rebind gives each client another source port at the target, as a NAT does that
// has forgotten it: what the target sends to the old one is lost.
func (r *Relay) Rebind() error {
	var err error
	r.do(func() {
		if r.fd < 0 {
			err = net.ErrClosed
			return
		}
		for _, c := range r.clients {
			if err = r.dial(c); err != nil {
				return
			}
		}
	})
	return err
}

// Stats tells what happened so far, in each direction.
func (r *Relay) Stats() (up, down Stats) {
	r.do(func() { up, down = r.stats[Up], r.stats[Down] })
	return up, down
}

// Sources are the relay's addresses at the target, in no order.
func (r *Relay) Sources() []netip.AddrPort {
	var all []netip.AddrPort
	r.do(func() {
		for fd := range r.byFD {
			if a, err := localAddr(fd); err == nil {
				all = append(all, a)
			}
		}
	})
	return all
}

// Close ends the relay; what is under way is lost.
func (r *Relay) Close() error {
	r.closer.Do(func() {
		r.mu.Lock()
		r.over = true
		r.ring()
		r.mu.Unlock()
		<-r.done
	})
	return nil
}

// do runs f on the loop and waits for it; when the loop has ended, here.
func (r *Relay) do(f func()) {
	ran := make(chan struct{})
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		<-r.done
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
		return
	}
	r.todo = append(r.todo, func() { f(); close(ran) })
	r.ring()
	r.mu.Unlock()
	<-ran
}

// work runs what others asked for and reports whether to go on.
func (r *Relay) work() bool {
	r.mu.Lock()
	todo, over := r.todo, r.over
	r.todo = nil
	r.mu.Unlock()
	for _, f := range todo {
		f()
	}
	return !over
}

// ring wakes the loop. The caller holds mu, and the loop is not over: the
// eventfd is still there.
func (r *Relay) ring() { _, _ = unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (r *Relay) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("relay: epoll: %w", err)
	}
	return nil
}

// dial opens the client's socket to the target, in place of the one it has.
func (r *Relay) dial(c *client) error {
	fd, err := socket(r.cfg.Target)
	if err != nil {
		return err
	}
	if err := connectTo(fd, r.cfg.Target); err != nil {
		unix.Close(fd)
		return fmt.Errorf("relay: connect to %v: %w", r.cfg.Target, err)
	}
	if err := r.watch(fd); err != nil {
		unix.Close(fd)
		return err
	}
	if c.fd >= 0 {
		delete(r.byFD, c.fd)
		unix.Close(c.fd)
	}
	c.fd = fd
	r.byFD[fd] = c
	return nil
}

func (r *Relay) closeAll() {
	for fd := range r.byFD {
		unix.Close(fd)
	}
	clear(r.byFD)
	for _, fd := range []*int{&r.fd, &r.epoll, &r.wake, &r.icmp} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

// loop owns everything from New on.
func (r *Relay) loop() {
	runtime.LockOSThread() // it is to be late by what the kernel is, not by what the scheduler is
	defer close(r.done)
	defer r.closeAll()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	events := make([]unix.EpollEvent, 64)
	poll := []unix.PollFd{{Fd: int32(r.epoll), Events: unix.POLLIN}}
	for {
		var wait *unix.Timespec
		if at, ok := r.q.next(); ok {
			t := unix.NsecToTimespec(max(0, int64(at-time.Since(r.start))))
			wait = &t
		}
		if _, err := unix.Ppoll(poll, wait, nil); err != nil && !errors.Is(err, unix.EINTR) {
			panic(fmt.Sprintf("relay: ppoll: %v", err)) // it has no reason to
		}
		n, _ := unix.EpollWait(r.epoll, events, 0)
		for _, ev := range events[:max(n, 0)] {
			switch fd := int(ev.Fd); fd {
			case r.wake:
				var b [8]byte
				_, _ = unix.Read(r.wake, b[:])
				if !r.work() {
					return
				}
			case r.fd:
				r.fromClients()
			default:
				if c := r.byFD[fd]; c != nil { // not if it was replaced meanwhile
					r.fromTarget(c)
				}
			}
		}
		r.deliver()
	}
}

func (r *Relay) fromClients() {
	n, err := r.in.receive(r.fd)
	if err != nil { // EAGAIN, or an earlier datagram came back refused
		return
	}
	for i := range n {
		from := r.in.from[i]
		c := r.clients[from]
		if c == nil {
			seq := uint64(len(r.clients))
			c = &client{addr: from, fd: -1, lanes: [2]*lane{newLane(r.cfg.Seed, seq, 0), newLane(r.cfg.Seed, seq, 1)}}
			if err := r.dial(c); err != nil {
				r.stats[Up].Refused++
				continue
			}
			r.clients[from] = c
		}
		r.accept(c, Up, r.in.data(i))
	}
}

func (r *Relay) fromTarget(c *client) {
	n, err := r.in.receive(c.fd)
	if errors.Is(err, unix.ECONNREFUSED) {
		r.stats[Up].Refused++
	}
	if err != nil {
		return
	}
	for i := range n {
		r.accept(c, Down, r.in.data(i))
	}
}

// accept decides about a datagram.
func (r *Relay) accept(c *client, d Direction, data []byte) {
	p, s := &r.paths[d], &r.stats[d]
	if r.cfg.Filter != nil && !r.cfg.Filter(d, data) {
		s.Received++
		s.Filtered++
		return
	}
	f := c.lanes[d].fate(p, s, time.Since(r.start), len(data))
	if f.drop {
		if p.Signal && p.MTU > 0 && len(data) > p.MTU {
			r.signal(c, d, p.MTU, len(data))
		}
		return
	}
	if len(r.q.waiting)+f.n > maxWaiting {
		s.Overflow++
		return
	}
	for _, at := range f.at[:f.n] {
		q := r.q.push(at, c, d == Down, data)
		if f.bit >= 0 {
			q.data[f.bit/8] ^= 1 << (f.bit % 8)
		}
	}
}

// deliver sends what is due, neighbours that go through one socket together.
func (r *Relay) deliver() {
	for {
		now := time.Since(r.start)
		r.due = r.due[:0]
		fd := -1
		for len(r.due) < batch {
			at, ok := r.q.next()
			if !ok || at > now {
				break
			}
			p := r.q.waiting[0]
			to := p.c.fd
			if p.down {
				to = r.fd
			}
			if fd >= 0 && to != fd {
				break
			}
			fd = to
			if p.down {
				r.out.set(len(r.due), p.data, &p.c.addr)
			} else {
				r.out.set(len(r.due), p.data, nil)
			}
			r.due = append(r.due, r.q.pop())
		}
		if len(r.due) == 0 {
			return
		}
		r.send(fd)
		for _, p := range r.due {
			r.q.release(p)
		}
	}
}

// send sends what is due through fd. An error belongs to the first one, and
// the kernel has taken none, or to a datagram before: so that one is tried
// once more.
func (r *Relay) send(fd int) {
	rest, tries := r.due, 0
	for len(rest) > 0 {
		s := &r.stats[Up]
		if rest[0].down {
			s = &r.stats[Down]
		}
		n, err := r.out.send(fd, len(rest))
		if err != nil {
			if tries++; tries < 2 {
				continue
			}
			s.Refused++
			n = 1
		} else {
			for _, p := range rest[:n] {
				s.Sent++
				s.Bytes += len(p.data)
			}
		}
		tries = 0
		rest = rest[n:]
		for i, p := range rest {
			if p.down {
				r.out.set(i, p.data, &p.c.addr)
			} else {
				r.out.set(i, p.data, nil)
			}
		}
	}
}
