package rxrpc

// count counts the call by SocketConfig.Calls; s.mu is held, or nobody else knows of x.
func (x *sockCall) count() error {
	if q := x.s.cfg.Calls; q != nil {
		if err := q.Take(); err != nil {
			return err
		}
		x.counted = true
	}
	return nil
}

// uncount is the reverse; s.mu is held.
func (x *sockCall) uncount() {
	if x.counted {
		x.counted = false
		x.s.cfg.Calls.Give()
	}
}

// room reports whether a call that comes in may be accepted by itself; s.mu is held.
func (s *Socket) room() bool {
	return s.unread < s.backlog && (s.cfg.MaxCalls <= 0 || len(s.calls) < s.cfg.MaxCalls)
}

// seen says that the application has received something of the call, or will not; s.mu is held.
func (x *sockCall) seen() {
	if x.unread {
		x.unread = false
		x.s.unread--
	}
}
