package connector

import (
	"context"

	"github.com/cnbus/cnbus/cbid"
)

// Binding is what a carrier adds to a registration. All of it may be left out.
type Binding struct {
	// Context is the parent of the handler's contexts, instead of the registry's.
	Context context.Context
	// Via is the Delivery.Via of what Entry.HandleTaken and Behind deliver.
	Via Replier
	// Tag is for the carrier, see Entry.Tag.
	Tag any
	// Bound, if not nil, is called with the registration before anybody can find it.
	Bound func(*Entry)
}

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

// Take, HandleTaken and Behind are Deliver in parts, for a carrier that keeps the Entry to
// which a sender sends again and again. Take makes the caller the one who runs the callback, if
// it is idle. One call of HandleTaken must follow if it does, one of Behind if not.
func (e *Entry) Take() bool { return e.state.Add(oneClaim)&stateLow == oneClaim }

// HandleTaken runs the callback with m, for which no reply is waited, and with the Binding's
// Via, and then what others sent meanwhile; see Take.
func (e *Entry) HandleTaken(m *Message, from *From) {
	e.d.Call, e.d.Via = false, e.via
	e.handleTaken(m, from)
}

// Behind is Deliver without waiting (FullDrop) for a callback that is not idle; see Take.
func (e *Entry) Behind(m *Message, from *From) error {
	return e.behind(e.ctx, &Delivery{Msg: *m, From: *from, Via: e.via}, FullDrop)
}

// ID returns the registered id.
func (e *Entry) ID() cbid.ID { return cbid.FromKey(e.key) }

// Is reports whether e is, or was, the registration of id.
func (e *Entry) Is(id cbid.ID) bool { return e.key == id.Key() }

// Tag returns the Binding's Tag.
func (e *Entry) Tag() any { return e.tag }
