package bussock

// inbound is the direction towards this end.
type inbound struct {
	ring  ring
	got   uint64 // bytes that have arrived
	limit uint64 // how many may, as the other end was told, or is about to be
	taken uint64 // bytes that were read
	due   bool   // a new limit is to be told
	eof   bool   // no more will come
	gone  bool   // and the other end takes no more
}

// arrived takes in data; a text says why they cannot be.
func (s *stream) arrived(h header, body []byte) (wrong string) {
	in := &s.in
	switch {
	case h.flags&^(flagEnd|flagGone) != 0 || h.flags == flagGone:
		return "unknown flags"
	case in.gone || in.eof && (len(body) > 0 || h.flags&flagGone == 0):
		return "data after the end"
	case h.arg != in.got:
		return "data is missing"
	case uint64(len(body)) > in.limit-in.got:
		return "data beyond the window"
	case len(body) == 0 && h.flags == 0:
		return "no data"
	}
	in.got += uint64(len(body))
	if !s.closed {
		in.ring.put(body)
	}
	if h.flags&flagEnd != 0 {
		in.eof = true
	}
	if h.flags&flagGone != 0 {
		in.gone = true
		s.out.drop() // nobody will read it
		s.settle()
	}
	if in.eof {
		wake(s.writable)
	}
	wake(s.readable)
	return ""
}

// consumed notes that bytes were read, and reports whether the other end is to be told: not of every
// read, but before it has to wait.
func (s *stream) consumed(n int) bool {
	in := &s.in
	in.taken += uint64(n)
	if in.eof || s.broken != nil || in.due {
		return false
	}
	window := uint64(s.n.cfg.Window)
	if in.taken+window-in.limit < window/2 {
		return false
	}
	in.due = true
	return true
}
