// Package remote is what package rxrpc needs of a protocol that somebody else runs: the agent behind a bus. Clients and servers then
// work as on an endpoint of this process, whose protocol is package proto.
//
// An Engine has one owner at a time, as the state of package proto has; the same functions of it do the same. It may have goroutines of its own that
// receive: they keep what has come and call the function that Start gives, and the owner takes it in by Receive.
package remote

import (
	"context"
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Call is a call that a client, or a server, has: what those two use of *proto.Call, and so documented there.
type Call interface {
	Tagged() any // what SetTag was given, or proto.CallParams.Tag
	SetTag(any)
	Peer() netip.AddrPort
	Service() wire.ServiceID
	Security() proto.SecurityInfo
	SetTxLength(n int64) error
	Send(now proto.Time, p []byte, more bool) (int, error)
	Take() (b *proto.Buf, last, ok bool)
	Consumed(now proto.Time, packets int)
	Abort(now proto.Time, code wire.AbortCode)
	Result() proto.Result
	Release(now proto.Time)
}

// Service is a service that is served.
type Service interface {
	// Refuse refuses new calls. The owner calls it.
	Refuse(refuse bool)
	// Close ends the service, and its calls if abort is set. The owner calls it.
	Close(now proto.Time, abort bool)
}

// Event says that something has happened to a call.
type Event struct {
	Call Call
	What proto.What
}

// Engine is the protocol.
type Engine interface {
	// Start says what to call, from any goroutine, when there is something for Receive.
	Start(wake func())
	// LocalAddr is where calls leave from and services are served.
	LocalAddr() netip.AddrPort

	// Receive takes in what has come.
	Receive(now proto.Time)
	// Event returns what has happened, in order.
	Event() (Event, bool)
	// Flush sends what is to be sent.
	Flush(now proto.Time)

	NewCall(now proto.Time, p *proto.CallParams) (Call, error)
	// Idle reports whether there are no calls and there is nothing to send.
	Idle() bool
	// Close ends all calls; after it the owner calls nothing but Flush and Event.
	Close(now proto.Time)
	Stats() proto.Stats

	// Reserve takes the services of p, which nobody else can have then. It waits for the agent; anybody but the owner may call it.
	Reserve(ctx context.Context, p proto.ServiceParams) (Service, error)
	// Listen has calls of a reserved service come: its first Event has proto.Arrived. As Reserve.
	Listen(ctx context.Context, s Service) error
	// End waits for the goroutines of a closed engine. Anybody but the owner may call it.
	End()
}

var _ Call = (*proto.Call)(nil)
