package tsocket

import "context"

// Monitor waits until the connection is broken, or ctx ends; it never returns
// nil. No thread and no read is needed for it. The OpError's Err is
//
//	ErrDisconnecting    a disconnect is outstanding, or came meanwhile
//	ErrAlready          another monitor is outstanding
//	ErrNotConnected     after a disconnect
//	ErrClosed           after Close, or Close came meanwhile
//	ECONNRESET          the peer has finished writing
//	EPIPE               the connection has hung up
//	a syscall.Errno     of the socket
//
// From then on writes fail with the same error, unless SetHalfOpen is on; what
// the peer had sent before can be read. (In C it cannot, if nobody was reading.) A kind of
// stream that cannot watch its connection lets a monitor wait for the error of another
// operation.
func (s *Stream) Monitor(ctx context.Context) error {
	_, err := s.MonitorSend(ctx).Wait(context.Background())
	return err
}

// MonitorSend starts a Monitor.
func (s *Stream) MonitorSend(ctx context.Context) *Request[struct{}] {
	refuse := func(err error) *Request[struct{}] {
		return finishedAt(&s.home, struct{}{}, error(&OpError{Op: "monitor", Err: err}))
	}
	if err := s.word.enter(bitMonitor, mayMonitor); err != nil {
		return refuse(err)
	}
	if e := s.brokenErr(); e != nil {
		s.word.leave(bitMonitor)
		return refuse(e.Err)
	}
	m := &monitorJob{s: s}
	r := newRequest(ctx, job[struct{}](m), false)
	r.settleIn(&s.home)
	q := s.requests()
	q.mu.Lock()
	q.monitor = r
	q.mu.Unlock()
	if _, ok := s.ops.(MonitorOps); ok {
		m.watch(func(err error) {
			if !s.halfOpen.Load() {
				s.writeErr.CompareAndSwap(nil, &OpError{Op: "monitor", Err: err})
			}
			r.halt(err)
		})
	}
	// Whoever set one of these before q.monitor was set has told nobody.
	switch v := s.word.v.Load(); {
	case v&bitClosed != 0:
		r.halt(ErrClosed)
	case v&(bitDisconnecting|bitDisconnected) != 0:
		r.halt(ErrDisconnecting)
	}
	if e := s.brokenErr(); e != nil {
		r.halt(e.Err)
	}
	r.watchParent()
	return r
}

// brokenErr returns the error of writes, if it is one of the connection.
func (s *Stream) brokenErr() *OpError {
	e := s.writeErr.Load()
	if e == nil || e.Err == ErrWriteClosed || e.Err == ErrPoisoned {
		return nil
	}
	return e
}

// tellMonitor finishes the outstanding monitor.
func (s *Stream) tellMonitor(err error) {
	q := s.atRequests.Load()
	if q == nil {
		return
	}
	q.mu.Lock()
	m := q.monitor
	q.mu.Unlock()
	if m != nil {
		m.halt(err)
	}
}

// monitorJob is finished by others only.
type monitorJob struct {
	s      *Stream
	unhook func()
}

func (m *monitorJob) watch(broken func(error)) {
	stop, err := m.s.ops.(MonitorOps).Monitor(broken)
	if err != nil { // it waits for the error of another operation
		m.s.unwatched.Store(true)
		return
	}
	q := m.s.requests()
	q.mu.Lock()
	m.unhook = stop
	over := q.monitor == nil
	q.mu.Unlock()
	if over {
		stop()
	}
}

func (m *monitorJob) run(context.Context) (struct{}, error) { return struct{}{}, errInterrupted }

func (m *monitorJob) stop(cause error) (struct{}, error) {
	return struct{}{}, &OpError{Op: "monitor", Err: cause}
}

func (m *monitorJob) release() {
	q := m.s.requests()
	q.mu.Lock()
	q.monitor = nil
	unhook := m.unhook
	q.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	m.s.word.leave(bitMonitor)
}
