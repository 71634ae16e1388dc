package connector

import (
	"context"
	"time"

	"github.com/cnbus/cnbus/cbid"
)

// What not every carrier can do is behind interfaces of its own; a Bus or an
// Endpoint that can implements them. The functions below ask, and return an
// error that wraps ErrNotSupported where it does not.

// WatchBus can tell who is registered.
type WatchBus interface {
	// Watch follows the registrations of the ids in set (all for a nil set).
	Watch(ctx context.Context, set *cbid.Set) (Watcher, error)
}

// Watcher is a stream of changes: first a ChangePresent for each id that is
// registered, then one ChangeMarker, then every later change, with no gap and
// no duplicate between them. After ChangeResync (the connection was interrupted,
// or the watcher read too slowly to be told each change) the same begins again.
type Watcher interface {
	// Next returns the next change; it waits for one until ctx ends. After Close, or the bus's end, it is ErrClosed.
	Next(ctx context.Context) (Change, error)
	// Close ends the stream. Next returns, if somebody waits in it.
	Close() error
}

// ChangeKind tells the elements of a Watcher's stream apart.
type ChangeKind uint8

// Kinds of changes.
const (
	ChangePresent ChangeKind = iota + 1 // an id that was registered before
	ChangeMarker                        // those were all; no Info
	ChangeAdded                         // an id was registered
	ChangeRemoved                       // one is no more
	ChangeResync                        // all of it begins again: ChangePresent comes next; no Info
	// ChangeUnknown: the host of the id cannot be reached. ChangeAdded follows when it can, or ChangeRemoved.
	ChangeUnknown
)

// String returns the kind in one lower-case word.
func (k ChangeKind) String() string {
	switch k {
	case ChangePresent:
		return "present"
	case ChangeMarker:
		return "marker"
	case ChangeAdded:
		return "added"
	case ChangeRemoved:
		return "removed"
	case ChangeResync:
		return "resync"
	case ChangeUnknown:
		return "unknown"
	}
	return "invalid"
}

// Change is one element of a Watcher's stream.
type Change struct {
	Kind ChangeKind
	Info IDInfo
}

// IDInfo describes a registered id.
type IDInfo struct {
	ID    cbid.ID
	Name  string
	Group uint32 // equal to ID.Idx
	Port  uint32 // the agent's port id
	Owner Cred

	// Unknown is set while the host that has the id cannot be reached.
	Unknown bool
}

// History bounds what a group keeps for receivers that lost or reconnected. A
// zero field is no bound of that kind; all zero keeps no history.
type History struct {
	Messages int
	Bytes    int
	Age      time.Duration

	// Durable has the store of the site keep the history, for all its hosts (docs/hosts.md, "Durable
	// groups"). At least one bound must be there.
	Durable bool
}

// HistoryBus can make a group keep a history. Who has a callback registered with
// id.Idx equal to group, or is privileged, may set it.
type HistoryBus interface {
	// SetHistory bounds the history of a group from now on; the zero History ends it.
	SetHistory(ctx context.Context, group uint32, h History) error
}

// Position is a place in the history of a group. Epoch changes when positions
// start anew, as they do when a broker without a stored history restarts.
type Position struct {
	Epoch uint64
	Pos   uint64 // messages are numbered from 1
}

// HistoryEndpoint can join a group at a position of its history.
type HistoryEndpoint interface {
	// JoinAt joins group so that the next message is the one after at. What
	// the history no longer has is told first, as an EventLost with its exact number
	// (Unknown if the epoch is another). A zero Position asks for all that is kept.
	JoinAt(ctx context.Context, group uint32, at Position) error

	// Epoch returns the epoch of the positions (Event.Pos) of a joined group, 0
	// if it keeps no history.
	Epoch(group uint32) uint64
}

// PortBus can tell when a port is gone: what an agent that keeps something for its
// clients needs, to give it up when they die.
type PortBus interface {
	// FollowPort calls gone once, when no endpoint and no bus has that port any more; at
	// once, which may be before FollowPort returns, if none has it now. It is also called when the
	// connection to the bus is lost: all ports are gone then. When b closes it is not called.
	//
	// What the port sent before its end may be handled after gone. Who then follows it again is told
	// at once.
	//
	// gone runs on a goroutine of the carrier and must not block. stop ends the following and waits for
	// nothing; after it has returned gone does not begin.
	FollowPort(ctx context.Context, port uint32, gone func()) (stop func(), err error)
}

// Watch calls b.Watch if b can.
func Watch(ctx context.Context, b Bus, set *cbid.Set) (Watcher, error) {
	if w, ok := b.(WatchBus); ok {
		return w.Watch(ctx, set)
	}
	return nil, &OpError{Op: "watch", Err: ErrNotSupported}
}

// SetHistory calls b.SetHistory if b can.
func SetHistory(ctx context.Context, b Bus, group uint32, h History) error {
	if hb, ok := b.(HistoryBus); ok {
		return hb.SetHistory(ctx, group, h)
	}
	return &OpError{Op: "history", Group: group, Err: ErrNotSupported}
}

// JoinAt calls e.JoinAt if e can.
func JoinAt(ctx context.Context, e Endpoint, group uint32, at Position) error {
	if he, ok := e.(HistoryEndpoint); ok {
		return he.JoinAt(ctx, group, at)
	}
	return &OpError{Op: "join", Group: group, Err: ErrNotSupported}
}

// FollowPort calls b.FollowPort if b can.
func FollowPort(ctx context.Context, b Bus, port uint32, gone func()) (stop func(), err error) {
	if p, ok := b.(PortBus); ok {
		return p.FollowPort(ctx, port, gone)
	}
	return nil, &OpError{Op: "follow", Port: port, Err: ErrNotSupported}
}

// TryReceiver is an Endpoint that knows what it has received already.
type TryReceiver interface {
	// TryRecv is Recv for what is here: false where Recv would have to wait, or to look. It is for who handles
	// together what has come together, and has the same one caller.
	TryRecv() (Event, bool)
}

// TryRecv calls e.TryRecv if e can.
func TryRecv(e Endpoint) (Event, bool) {
	if t, ok := e.(TryReceiver); ok {
		return t.TryRecv()
	}
	return Event{}, false
}

// Poster is a Bus that can send without waiting for the confirmation: the
// agent's fast way to publish. Every carrier of this module has it.
type Poster interface {
	// Post is Bus.Send without the confirmation: it returns when the carrier has the
	// message. A Bus has no stream in which a later failure (no listener, no such
	// port) could be told: it is counted. Post waits when the receiver is known to be full.
	Post(ctx context.Context, m Message, to Dest) error
}

// A Corker is a Bus or an Endpoint that can hold posts together, which then leave in one write.
type Corker interface {
	// PostMore is Post for who posts something else right after it, or calls Flush: what it posts may be held until then.
	PostMore(ctx context.Context, m Message, to Dest) error
	// Flush lets go of what PostMore has held. It does not wait.
	Flush()
}

// A Runner is a Bus with a goroutine of its own, on which callbacks marked by Inline run and what they post goes straight to its receiver.
type Runner interface {
	// Run has fn run there too, as such a callback: soon, between others, and it must not wait. What it posts where that would have to wait is refused
	// with ErrWouldBlock. Run does not wait for it; false if the bus has ended.
	Run(fn func()) bool
	// PostHere is Post for such functions and callbacks, and for nobody else: it does not look where it is called, which costs a
	// system call.
	PostHere(m Message, to Dest) error
}

// Post calls b.Post if b can, and b.Send if not.
func Post(ctx context.Context, b Bus, m Message, to Dest) error {
	if p, ok := b.(Poster); ok {
		return p.Post(ctx, m, to)
	}
	return b.Send(ctx, m, to)
}
