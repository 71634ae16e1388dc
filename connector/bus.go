package connector

import (
	"context"

	"github.com/cnbus/cnbus/cbid"
)

// Bus is the agent side of a carrier: what a kernel driver has of the
// connector. The methods may be called from any goroutine.
type Bus interface {
	// AddCallback registers h under id. The name is for people (/proc/net/connector,
	// `cnbus ls`) and at most 31 bytes. A registered id is refused with ErrDuplicate.
	//
	// h runs for one message of that id at a time, in the order sent; handlers of
	// different ids do not wait for each other.
	AddCallback(ctx context.Context, id cbid.ID, name string, h Handler) error

	// DelCallback removes a registration of this Bus and returns when no handler
	// of it is running. It must not be called from that handler. ErrNoID when
	// this Bus has not registered id.
	DelCallback(ctx context.Context, id cbid.ID) error

	// Send is cn_netlink_send_mult: to.Port is unicast, to.Group is multicast,
	// neither looks up the group of the registered m.ID and multicasts to it
	// (ErrNoID if nobody registered it, ErrNoListener if nobody listens).
	// It returns when every receiver has taken the message or dropped it.
	Send(ctx context.Context, m Message, to Dest) error

	// Endpoint opens a socket on the bus: a port id that can join groups, send,
	// call and receive.
	Endpoint(ctx context.Context) (Endpoint, error)

	// Close removes the registrations of this Bus, closes its endpoints, and
	// waits for its handlers. It is idempotent.
	Close() error
}

// Endpoint is the socket side: a port id, group memberships, a receive queue.
// The methods may be called from any goroutine; Recv has one caller at a time.
type Endpoint interface {
	// Port is the port id, unique on the bus while the endpoint lives. After a
	// carrier had to reconnect it may be another.
	Port() uint32

	// Join makes the endpoint a member of group, which need not exist. Joining
	// again changes nothing.
	Join(ctx context.Context, group uint32) error

	// Leave ends the membership. Messages already queued stay.
	Leave(ctx context.Context, group uint32) error

	// Send delivers m: to the callback of m.ID when to names neither port nor
	// group, to the endpoint with to.Port, or to the members of to.Group other
	// than the sender. It returns nil when each receiver has it: the bytes are in the receiver's
	// process or in a kernel buffer that it reads, so the end of the broker
	// no longer matters. To one receiver it waits for room, up to ctx; see Dest.Full.
	Send(ctx context.Context, m Message, to Dest) error

	// Post is Send without the confirmation, many times faster: it returns when
	// the carrier has the message. A later failure is told by an EventFailed in
	// the endpoint's stream and counted. It waits when the receiver is known to
	// be full.
	Post(ctx context.Context, m Message, to Dest) error

	// Call sends m as a request and waits for the reply, by the rule of
	// Documentation/driver-api/connector.rst as of 2005: same seq, ack + 1. The
	// endpoint chooses seq and ack. The reply owns its data.
	Call(ctx context.Context, m Message, to Dest) (Event, error)

	// Recv returns the next event: a message that is not the reply to a Call, or
	// word of a loss. The data of the message are valid until the next Recv.
	Recv(ctx context.Context) (Event, error)

	// Close ends the endpoint; a blocked Recv, Send or Call returns ErrClosed.
	Close() error
}

// Dest says where a message goes.
type Dest struct {
	Port  uint32
	Group uint32
	Full  WhenFull
}

// WhenFull says what happens to a message whose receiver's queue is full.
type WhenFull uint8

const (
	// FullDefault waits for a single receiver and drops for members of a group.
	FullDefault WhenFull = iota
	// FullWait waits, for every member of a group too: the sender goes at the
	// pace of the slowest.
	FullWait
	// FullDrop never waits: what does not fit is dropped for that receiver, which
	// is told how many it lost.
	FullDrop
)

// Cred are the credentials of a sender as the kernel gave them, never as the
// sender did.
type Cred struct {
	UID uint32
	GID uint32
	PID uint32
}

// From says where a message came from: the sender's port id and credentials,
// and the group through which it came (0 for unicast).
type From struct {
	Port  uint32
	Group uint32
	Cred  Cred
}

// EventKind tells the events of an endpoint's stream apart.
type EventKind uint8

const (
	EventMessage EventKind = iota + 1 // Msg, From, Pos
	EventLost                         // Lost messages of From.Group (0: of no group) would have been here
	EventFailed                       // a Post failed: Err, Msg without data, Dest of it in From
	EventDown                         // the connection to the bus broke here: Err
	EventUp                           // it is back, memberships and registrations are restored
)

// String returns the kind in one lower-case word.
func (k EventKind) String() string {
	switch k {
	case EventMessage:
		return "message"
	case EventLost:
		return "lost"
	case EventFailed:
		return "failed"
	case EventDown:
		return "down"
	case EventUp:
		return "up"
	}
	return "unknown"
}

// Event is one element of an endpoint's stream.
type Event struct {
	Kind EventKind
	Msg  Message
	From From

	// Pos is the position of the message in its group's history; 0 where the
	// group keeps none.
	Pos uint64

	// Lost is how many messages are missing here. Unknown is set where nobody can know
	// the number (a group without history, while the connection was down).
	Lost    uint64
	Unknown bool

	Err error
}

// Handler is the callback of a registered id.
type Handler interface {
	// Handle is called with one message. The delivery and its data are valid
	// until it returns; see Delivery.Detach. A panic is contained, counted and
	// reported, and the registration lives on. ctx ends when the Bus closes.
	Handle(ctx context.Context, d *Delivery)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, d *Delivery)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, d *Delivery) { f(ctx, d) }

// InterestHandler is a Handler that wants to know whether anybody listens to
// the group of its id, so as not to produce for nobody. Interest is called in
// order with Handle: once after registration, and whenever the number of
// members becomes zero or ceases to be.
type InterestHandler interface {
	Handler
	Interest(ctx context.Context, group uint32, listening bool)
}

// Replier sends the reply to a delivered message. Carriers implement it.
type Replier interface {
	Reply(ctx context.Context, d *Delivery, data []byte) error
}

// Delivery is a message on its way through a callback.
type Delivery struct {
	Msg  Message
	From From

	// Call is true when the sender waits for a reply.
	Call bool

	// More is a hint: other messages have come with this one and are handled right after it, perhaps by this
	// callback. What is put off until then can be done for all of them together.
	More bool

	// Via is the carrier's way back; nil where there is none.
	Via Replier
}

// Reply answers the message: same id and seq, ack + 1, unicast to the sender. A
// reply never waits: a caller that does not read what it asked for loses it
// and is told.
func (d *Delivery) Reply(ctx context.Context, data []byte) error {
	if d.Via == nil {
		return &OpError{Op: "reply", ID: d.Msg.ID, HasID: true, Port: d.From.Port, Err: ErrNotSupported}
	}
	return d.Via.Reply(ctx, d, data)
}

// Detach returns a copy that stays valid after Handle has returned, for a
// reply that comes later.
func (d *Delivery) Detach() *Delivery {
	c := *d
	c.Msg = d.Msg.Clone()
	return &c
}
