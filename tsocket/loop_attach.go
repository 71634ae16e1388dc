package tsocket

// Socket is what can be attached to a Loop: a *Stream, a *Dgram or a *Listener.
type Socket interface {
	Close() error
	// loopPlace returns the descriptor, nil if it has none, and where the loop is noted.
	loopPlace() (*sysfd, seated, *home)
}

// Attach makes l the loop of s. From then on the callbacks of its requests are called on
// the loop, also of those that fail at once; requests that were made before are not concerned. What has
// to wait waits in the loop's epoll, without a goroutine, and only while Run runs. Sockets that have no
// descriptor of their own, as TLS, wait as they did before. Close of the loop closes s.
//
// The blocking methods work as before, on any goroutine but the loop's, which they would hold up. So does
// Request.Wait; called on the loop it blocks it.
//
// The OpError's Err is ErrAlready if s has a loop, ErrClosed if it or the loop is closed, or what
// epoll says: EPERM for a descriptor that cannot be waited for, as a file.
func (l *Loop) Attach(s Socket) error {
	if err := l.attach(s); err != nil {
		return &OpError{Op: "attach", Err: err}
	}
	return nil
}

func (l *Loop) attach(s Socket) error {
	f, _, h := s.loopPlace()
	if !h.loop.CompareAndSwap(nil, l) {
		return ErrAlready
	}
	var err error
	if f == nil {
		err = l.invite(s)
	} else {
		err = l.seat(s, f)
	}
	if err != nil {
		h.loop.Store(nil)
	}
	return err
}

// invite notes a socket that is no descriptor.
func (l *Loop) invite(g guest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return ErrClosed
	}
	l.guests[g] = struct{}{}
	return nil
}

// seat gives a descriptor its place.
func (l *Loop) seat(owner Socket, f *sysfd) error {
	st := &seat{loop: l, owner: owner}
	if !f.acquire() {
		return ErrClosed
	}
	defer f.release()
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return ErrClosed
	}
	l.link(st)
	l.mu.Unlock()
	st.mu.Lock()
	err := l.poll.add(st)
	st.dead = err != nil
	st.mu.Unlock()
	if err != nil {
		l.mu.Lock()
		l.unlink(st)
		l.mu.Unlock()
		return err
	}
	f.seat.Store(st)
	if f.closing() { // and Close may have looked before
		st.leave()
		return ErrClosed
	}
	return nil
}

// link and unlink keep the list of seats; to unlink one that is not in it does nothing. mu is held.

func (l *Loop) link(st *seat) {
	if st.after = l.seats; st.after != nil {
		st.after.before = st
	}
	l.seats = st
}

func (l *Loop) unlink(st *seat) {
	switch {
	case st.before != nil:
		st.before.after = st.after
	case l.seats == st:
		l.seats = st.after
	}
	if st.after != nil {
		st.after.before = st.before
	}
	st.before, st.after = nil, nil
}

// Watch calls a function on a loop when a socket is ready. It is for servers that read
// and write by themselves, with TryRead, TryWrite, TryAccept and the like: nothing is allocated and no
// request is made.
type Watch struct {
	st   *seat
	fn   func(Ready)
	want Ready // guarded by st.mu
}

// Watch has fn called on the loop whenever s is ready for some of want, with what it is ready for, once
// each turn as long as it is so; and with Broken, whatever is wanted. s is attached if it is not; there is one
// Watch for a socket. Requests can be outstanding too; they come first. The OpError's Err is that
// of Attach; ErrAlready if s is attached to another loop or watched; ErrNotSupported if it has no descriptor.
func (l *Loop) Watch(s Socket, want Ready, fn func(Ready)) (*Watch, error) {
	w, err := l.watch(s, want, fn)
	if err != nil {
		return nil, &OpError{Op: "watch", Err: err}
	}
	return w, nil
}

func (l *Loop) watch(s Socket, want Ready, fn func(Ready)) (*Watch, error) {
	f, io, h := s.loopPlace()
	if f == nil {
		return nil, ErrNotSupported
	}
	if err := l.attach(s); err != nil && (err != ErrAlready || h.loop.Load() != l) {
		return nil, err
	}
	st := f.seat.Load()
	if st == nil {
		return nil, ErrClosed
	}
	if fs, ok := io.(*fdStream); ok {
		if err := fs.watchedElsewhere(); err != nil {
			return nil, err
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.dead:
		return nil, ErrClosed
	case st.watch != nil:
		return nil, ErrAlready
	}
	w := &st.usual
	if w.st != nil { // somebody may still hold the one that was stopped
		w = new(Watch)
	}
	*w = Watch{st: st, fn: fn, want: want}
	st.watch = w
	st.asked |= Broken // so that the poller hears of the watch in any case
	st.ask(st.want())
	return w, nil
}

// Want says what the function is to be called for from now on; 0 is for Broken alone.
func (w *Watch) Want(r Ready) {
	st := w.st
	st.mu.Lock()
	if w.want = r & (Readable | Writable); st.watch == w {
		st.ask(st.want())
	}
	st.mu.Unlock()
}

// Stop ends the watch; the socket stays attached. On the loop, the function is not
// called any more once Stop has returned.
func (w *Watch) Stop() {
	st := w.st
	st.mu.Lock()
	if st.watch == w {
		st.watch = nil
		st.asked |= Broken
		st.ask(st.want())
	}
	st.mu.Unlock()
}
