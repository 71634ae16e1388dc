package proto

import (
	"net/netip"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// An Endpoint is one UDP port's worth of RxRPC.
type Endpoint struct {
	cfg    Config
	hooks  *Hooks
	epoch  wire.Epoch
	events callList
	stats  Stats
}

type (
	conn   struct{ links [connListKinds]connLinks }
	peer   struct{ addr netip.AddrPort }
	bundle struct{}
)

// New makes an endpoint.
func New(cfg Config, now Time) *Endpoint {
	cfg = cfg.withDefaults()
	return &Endpoint{cfg: cfg, hooks: cfg.Hooks, epoch: cfg.Epoch}
}

// Epoch returns the epoch of the endpoint's client connections.
func (e *Endpoint) Epoch() wire.Epoch { return e.epoch }

// NewCall begins a client call. Errors: ErrAddress, ErrService, ErrCalls, ErrClosed, and what the security class says
// of its key.
func (e *Endpoint) NewCall(now Time, p *CallParams) (*Call, error) { panic("soon") }

// Receive processes a datagram, which is read during the call only.
func (e *Endpoint) Receive(now Time, from netip.AddrPort, datagram []byte) { panic("soon") }

// Transmit is where a datagram goes and how.
type Transmit struct {
	To netip.AddrPort
	// DF forbids fragments: the datagram is as long as the path is believed, or asked,
	// to take.
	DF bool
	// Segment: more datagrams of this very length to the same address may follow at
	// once (for UDP GSO).
	Segment bool
}

// Transmit writes the next datagram over buf[:cap(buf)], which must have room for MaxDatagram bytes,
// and returns its length; false if there is none now.
func (e *Endpoint) Transmit(now Time, buf []byte) (n int, to Transmit, ok bool) { panic("soon") }

// Tick does what is due.
func (e *Endpoint) Tick(now Time) { panic("soon") }

// Deadline returns when Tick is wanted; false if nothing is waited for.
func (e *Endpoint) Deadline() (Time, bool) { panic("soon") }

// NetError is what the network or this host says of datagrams sent.
type NetError struct {
	To    netip.AddrPort
	Errno syscall.Errno
	// Local: this host refused (a failed send); otherwise the path said so (ICMP).
	Local bool
	// MTU of the path in bytes of IP packet if it is known, with EMSGSIZE.
	MTU int
	// Quoted is what is known of the datagram that caused it, from the Rx header on. What
	// ICMP says is ignored unless this shows a connection that is there.
	Quoted []byte
}

// NetError processes an error. EMSGSIZE changes the path's MTU, others end calls.
func (e *Endpoint) NetError(now Time, ne NetError) { panic("soon") }

// Close ends all calls by RX_CALL_DEAD and refuses everything from then on. What is left to be sent (aborts, final
// ACKs) is to be transmitted once more.
func (e *Endpoint) Close(now Time) { panic("soon") }

// Idle reports whether the endpoint has no calls and nothing to send.
func (e *Endpoint) Idle() bool { panic("soon") }
