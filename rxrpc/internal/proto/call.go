package proto

import (
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// CallParams is what a client call is made with.
type CallParams struct {
	Peer     netip.AddrPort
	Service  wire.ServiceID
	Security ClientSecurity // nil: none
	// Upgrade asks the server for a better service in place of Service (once per
	// connection, so the call runs on a new one). Call.Service says what came of it.
	Upgrade bool
	// Exclusive has a connection of its own, used once.
	Exclusive bool
	Timeouts  Timeouts
	// TxLength is how many bytes will be sent, if HasTxLength; Send keeps to it.
	TxLength    int64
	HasTxLength bool
	Tag         any
}

// Timeouts of a call; 0 is the endpoint's Timers, negative is none.
type Timeouts struct {
	Hard   time.Duration // from NewCall (a client's) or Arrived (a service's) to the end
	Idle   time.Duration // Timers.RequestIdle
	Normal time.Duration // Timers.HeardNothing
}

// State is where a call is.
type State uint8

// States, with Linux's names. A client call goes from AwaitConn to RecvReply, a
// service call from RecvRequest to AwaitAck; both end in Complete.
const (
	Unused      State = iota
	AwaitConn         // all channels are taken
	SendRequest       // until the last packet of the request has been sent
	AwaitReply        // until the first of the reply arrives
	RecvReply         // until the last has
	RecvRequest       // until the last packet of the request has arrived
	AckRequest        // the application works on it
	SendReply         // until the last packet of the reply has been sent
	AwaitAck          // until it has been acknowledged
	Complete          // Result says how
)

// A Call is a call, of a client or a service. It belongs to the endpoint; the application
// has it from NewCall or its Arrived event until Release.
type Call struct {
	// Tag is the application's.
	Tag any

	e      *Endpoint
	conn   *conn
	peer   *peer
	bundle *bundle  // of a client's
	svc    *Service // of a service's

	links    [listKinds]links
	service  wire.ServiceID
	number   wire.CallNumber
	channel  uint8
	client   bool
	hidden   bool // the application does not know of it yet
	released bool // or not any more
	state    State
	news     What
	result   Result
}

// Service returns the service that the call is of, after an upgrade the new one.
func (c *Call) Service() wire.ServiceID { return c.service }

// Peer returns the address of the other side.
func (c *Call) Peer() netip.AddrPort { return c.peer.addr }

// State returns where the call is.
func (c *Call) State() State { return c.state }

// Result returns how the call ended; its Completion is Running until then.
func (c *Call) Result() Result { return c.result }

// Client returns whether this side made the call.
func (c *Call) Client() bool { return c.client }

// ID returns the connection with the channel, and the call number; zeros while the
// call waits for a channel.
func (c *Call) ID() (wire.Epoch, wire.CID, wire.CallNumber) { panic("soon") }

// Security returns what is known of the connection's security.
func (c *Call) Security() SecurityInfo { panic("soon") }

// RTT returns the smoothed round-trip time to the peer, 0 if none was measured.
func (c *Call) RTT() time.Duration { panic("soon") }

// Send queues data, as far as there is Room, and returns how much. With more, more will follow
// and a packet that is not full waits for it; without, the data ends here: that is
// taken when n is len(data) and err is nil, also with no data at all. If there is no
// room n is short and err nil, or ErrFull for an end without data; Writable is
// told when there is room again.
//
// Errors: ErrEnded, ErrPhase, ErrTooMuch.
func (c *Call) Send(now Time, data []byte, more bool) (n int, err error) { panic("soon") }

// Room returns how many bytes Send would take.
func (c *Call) Room() int { panic("soon") }

// Take returns the next piece of data that has arrived in order, which belongs to the
// caller from now on, and whether the peer's data ends with it. A last piece may be
// empty. After the last, and while nothing is there, ok is false.
func (c *Call) Take() (b *Buf, last, ok bool) { panic("soon") }

// Consumed says that the application has done with so many packets (Buf.Packets) of
// what was taken: the peer may send as many more.
func (c *Call) Consumed(now Time, packets int) { panic("soon") }

// Abort ends the call with a code, which the peer is told. An ended call is left as it is.
// What has arrived and was not taken is gone.
func (c *Call) Abort(now Time, code wire.AbortCode) { panic("soon") }

// Release gives the call back. If it has not ended and the application has said all
// it had to say (a service call whose reply is queued to its end) it goes on by itself,
// without events; otherwise it is aborted by RX_CALL_DEAD.
func (c *Call) Release(now Time) { panic("soon") }

// SetTimeouts changes the time-outs of a call; Hard counts from now.
func (c *Call) SetTimeouts(now Time, t Timeouts) { panic("soon") }

// SetTxLength announces how much will be sent. Errors: ErrAnnounced.
func (c *Call) SetTxLength(n int64) error { panic("soon") }
