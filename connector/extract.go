package connector

import "context"

// Del in two steps, for a carrier that must tell others of the removal at the
// moment the id is free, and wait for the callback only after it has let go of its locks.

// Extract removes the registration e at once: its id is free, and e takes no
// more messages. Those that it has are handled still; Drained tells when that is
// over. It reports whether e was registered.
func (r *Registry) Extract(e *Entry) bool {
	if !r.extract(e) {
		return false
	}
	e.remove()
	return true
}

// Drained is closed when e was removed and its callback has run for the last time.
func (e *Entry) Drained() <-chan struct{} { return e.drained }

// Handler returns the handler that was given to Add.
func (e *Entry) Handler() Handler { return e.handler }

// Deliver is Registry.Deliver for a registration that was looked up before.
// ErrNoID, alone, says that it is being removed.
func (e *Entry) Deliver(ctx context.Context, m *Message, from *From, call bool, via Replier, full WhenFull) error {
	return e.deliver(ctx, m, from, call, via, full)
}
