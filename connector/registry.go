package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cnbus/cnbus/cbid"
)

// MaxName is the longest name of a callback, in bytes (CN_CBQ_NAMELEN less the NUL).
const MaxName = 31

// Registry holds the registered callbacks of a process and runs them. Its
// methods may be called from any goroutine.
//
// Callbacks of one id run one at a time, in the order in which their messages
// were dispatched; callbacks of different ids do not wait for each other. Finding a callback
// takes no lock.
//
// A message for an idle id runs the callback in the goroutine of who sends it,
// as the kernel does, and allocates nothing. For a busy id, and for one to which its own callback sends, the
// message is copied into the mailbox of the id, which whoever runs the callback
// empties before it leaves; when that takes longer than one mailbox, a goroutine of its own goes on.
type Registry struct {
	ctx    context.Context
	config RegistryConfig
	table  table // readers: no lock; writers: mu

	mu     sync.Mutex // guards what follows, and writing to table
	groups map[uint32][]*Entry
	closed bool
}

// RegistryConfig are the settings of a Registry; nil and zero fields mean the
// defaults.
type RegistryConfig struct {
	// Queue and QueueBytes bound the mailbox of an id: it is full when it holds
	// that many messages or that many bytes of their data. Defaults 1024 and 1 MiB. While one
	// mailbox fills, what was taken from it before may still be running: at most as much again. Enqueue
	// may go beyond.
	Queue      int
	QueueBytes int

	// Panic is told of a callback that panicked (or ended its goroutine by runtime.Goexit, then value is
	// nil), in that callback's goroutine and before the next message of
	// that id. It must not panic itself. Nil reports nothing; Entry.Panics counts anyway.
	Panic func(e *Entry, value any, stack []byte)

	// Room is told that the mailbox of e, which Enqueue had reported full, has
	// been emptied. It is called by whoever runs the callback, outside of it and without a
	// lock held.
	Room func(e *Entry)
}

const (
	defaultQueue      = 1024
	defaultQueueBytes = 1 << 20
)

// NewRegistry returns an empty registry. The handlers' contexts derive from
// ctx; the registry does not end them.
func NewRegistry(ctx context.Context, config *RegistryConfig) *Registry {
	r := &Registry{ctx: ctx, groups: make(map[uint32][]*Entry)}
	if config != nil {
		r.config = *config
	}
	if r.config.Queue <= 0 {
		r.config.Queue = defaultQueue
	}
	if r.config.QueueBytes <= 0 {
		r.config.QueueBytes = defaultQueueBytes
	}
	return r
}

// Add registers h. info.ID, Name, Port and Owner are kept for those who ask;
// Group is set to ID.Idx. It fails with ErrDuplicate when the id is registered,
// with ErrInvalid for a name of more than MaxName bytes or with a NUL in it, or a nil h, and
// with ErrClosed after Close.
func (r *Registry) Add(info IDInfo, h Handler) (*Entry, error) { return r.Bind(info, h, &Binding{}) }

// Bind is Add for a carrier, with what the carrier has for each registration.
func (r *Registry) Bind(info IDInfo, h Handler, b *Binding) (*Entry, error) {
	switch {
	case h == nil:
		return nil, addError(info.ID, fmt.Errorf("no handler: %w", ErrInvalid))
	case len(info.Name) > MaxName:
		return nil, addError(info.ID, fmt.Errorf("name of %d bytes, at most %d: %w", len(info.Name), MaxName, ErrInvalid))
	case strings.IndexByte(info.Name, 0) >= 0:
		return nil, addError(info.ID, fmt.Errorf("NUL in name %q: %w", info.Name, ErrInvalid))
	}
	info.Group = info.ID.Idx
	e := newEntry(r, info, h, b)
	if b.Bound != nil {
		b.Bound(e)
	}
	if err := r.insert(e); err != nil {
		return nil, addError(info.ID, err)
	}
	return e, nil
}

func addError(id cbid.ID, err error) error {
	return &OpError{Op: "add callback", ID: id, HasID: true, Err: err}
}

func (r *Registry) insert(e *Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	key := e.info.ID.Key()
	if r.table.get(key) != nil {
		return ErrDuplicate
	}
	r.table.put(key, e)
	r.groups[e.info.Group] = append(r.groups[e.info.Group], e)
	return nil
}

// Lookup returns the registration of id, or nil. It takes no lock and does not
// allocate.
func (r *Registry) Lookup(id cbid.ID) *Entry { return r.table.get(id.Key()) }

// Deliver runs the callback of m.ID, now or after the messages before it; see
// Registry. It does not look at m and its data after it has returned, though the memory of the data may be
// held until the id's next message; nor does it make m, from or what they are parts of escape to the heap. The other arguments are fields of the Delivery.
//
// A full mailbox is waited for, up to ctx; with FullDrop, and from a callback of the same id,
// which could wait for ever, it fails with ErrWouldBlock instead. No such id, or one that is being removed: ErrNoID.
// A cycle of callbacks that send to each other is the callers' to avoid: let one of them use FullDrop or a
// deadline.
func (r *Registry) Deliver(ctx context.Context, m *Message, from *From, call bool, via Replier, full WhenFull) error {
	var e *Entry
	if s := r.table.current.Load(); s != nil { // as table.get, which is not inlined
		if _, e = s.find(m.ID.Key()); e == gravestone {
			e = nil
		}
	}
	if e != nil && e.Take() {
		e.d.Call, e.d.Via = call, via
		e.handleTaken(m, from)
		return nil
	}
	return r.deliver(ctx, e, &Delivery{Msg: *m, From: *from, Call: call, Via: via}, full)
}

// deliver is Deliver after e was found, and claimed, but is not idle; or when it was not found.
func (r *Registry) deliver(ctx context.Context, e *Entry, d *Delivery, full WhenFull) error {
	for e != nil {
		err := e.behind(ctx, d, full)
		if err != error(ErrNoID) {
			return err
		}
		// The id may have been registered anew since.
		next := r.table.get(d.Msg.ID.Key())
		if next == e || next == nil {
			break
		}
		if e = next; e.Take() {
			e.d.Call, e.d.Via = d.Call, d.Via
			e.handleTaken(&d.Msg, &d.From)
			return nil
		}
	}
	return &OpError{Op: "send", ID: d.Msg.ID, HasID: true, Err: ErrNoID}
}

// Dispatch is Deliver for who has a Delivery.
func (r *Registry) Dispatch(ctx context.Context, d *Delivery, full WhenFull) error {
	return r.Deliver(ctx, &d.Msg, &d.From, d.Call, d.Via, full)
}

// Del removes the registration e. From its return on, no callback of it is
// running; messages that were accepted before have been handled. It fails with
// ErrNoID when e is not registered (any more), and with ErrInvalid when called from the callback
// of e with that callback's context. When ctx ends first, e is removed, but its callback
// still running.
func (r *Registry) Del(ctx context.Context, e *Entry) error {
	err := ErrInvalid
	if !e.within(ctx) {
		if r.extract(e) {
			e.remove()
			return e.drain(ctx)
		}
		err = ErrNoID
	}
	return &OpError{Op: "delete callback", ID: e.info.ID, HasID: true, Err: err}
}

func (r *Registry) extract(e *Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := e.info.ID.Key()
	if r.table.get(key) != e {
		return false
	}
	r.table.remove(key)
	same := r.groups[e.info.Group]
	same = slices.Delete(same, slices.Index(same, e), slices.Index(same, e)+1)
	if len(same) == 0 {
		delete(r.groups, e.info.Group)
	} else {
		r.groups[e.info.Group] = same
	}
	return true
}

// Group returns the registrations whose id.Idx is group, in the order of registration;
// none when nobody has the group.
func (r *Registry) Group(group uint32) []*Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.groups[group])
}

// Len returns how many ids are registered.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.live
}

// All yields the registrations, in no order. Those that come or go meanwhile
// may or may not be among them.
func (r *Registry) All() iter.Seq[*Entry] { return r.table.all }

// Close refuses new registrations, removes all and waits for their callbacks as
// Del does. It must not be called from a callback. It may be called again.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	var gone []*Entry
	for e := range r.All() {
		if r.extract(e) {
			e.remove()
			gone = append(gone, e)
		}
	}
	var err error
	for _, e := range gone {
		err = errors.Join(err, e.drain(ctx))
	}
	return err
}
