package proto

import (
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// ClientSecurity is what a client secures a call with: a class with a key and a level. Calls
// share connections if their ClientSecurity have the same Index and Key. nil is class none.
type ClientSecurity interface {
	Index() wire.SecurityIndex
	// Key identifies what connections may be shared by; it must be comparable.
	Key() any
	// NewClient begins a connection. An AbortError says what calls end with if it
	// cannot be used (expired, revoked).
	NewClient(id ConnID) (SecurityConn, error)
}

// ServerSecurity is a class that a service accepts.
type ServerSecurity interface {
	Index() wire.SecurityIndex
	// NewServer begins a connection. If it fails the client gets a connection ABORT
	// with the code of an AbortError, or RX_INVALID_OPERATION.
	NewServer(id ConnID) (SecurityConn, error)
}

// ConnID is the identity of a connection.
type ConnID struct {
	Epoch   wire.Epoch
	CID     wire.CID // channel 0
	Service wire.ServiceID
	Peer    netip.AddrPort
}

// PacketID is the identity of a DATA packet on its connection.
type PacketID struct {
	Call    wire.CallNumber
	Channel int
	Seq     wire.Seq
	// ToServer is whether the client of the connection sent the packet.
	ToServer bool
}

// SecurityConn is one connection's security. Its methods are called by the owner of
// the endpoint; slices are the caller's and are not kept.
//
// Errors that a peer is told of carry an abort code as AbortError; others count as RX_PROTOCOL_ERROR.
type SecurityConn interface {
	Index() wire.SecurityIndex
	// Room returns how many bytes of the application fit into a DATA body of so many bytes.
	Room(body int) int
	// Seal appends the body for data, which is not longer than Room allowed. Its result is
	// what is sent, also again.
	Seal(dst []byte, p PacketID, data []byte) (body []byte, cksum wire.Checksum, err error)
	// Check verifies the checksum of a header, before the packet changes anything.
	Check(p PacketID, cksum wire.Checksum) error
	// Open appends the data of a body. dst is memory of the call, never the datagram.
	Open(dst []byte, p PacketID, body []byte) ([]byte, error)

	// NeedsChallenge reports whether the client has yet to prove itself (service side).
	NeedsChallenge() bool
	// Challenge appends the body of a CHALLENGE: the same until Verify is called.
	Challenge(dst []byte) []byte
	// Verify checks a RESPONSE. calls are the last call numbers of the channels; the
	// result is what they are raised to.
	Verify(now Time, response []byte, calls [wire.Channels]wire.CallNumber) ([wire.Channels]wire.CallNumber, error)
	// Respond appends the RESPONSE to a CHALLENGE (client side).
	Respond(dst, challenge []byte, calls [wire.Channels]wire.CallNumber) ([]byte, error)

	// Expired returns an error once the connection's key is not valid any more.
	Expired(now Time) error
	// Describe says what rxdebug and applications are told.
	Describe() SecurityInfo
	// Wipe forgets keys; nothing is called afterwards.
	Wipe()
}

// A BatchSealer is a SecurityConn that seals several packets faster than one after the other.
type BatchSealer interface {
	// SealMany does what Seal does for each of the packets, all of the connection. If it fails for one it
	// fails for all.
	SealMany(packets []Sealing) error
}

// A Sealing is one packet for SealMany.
type Sealing struct {
	ID       PacketID
	Data     []byte
	Body     []byte // what the body is appended to, and the result
	Checksum wire.Checksum
}

// A Stretcher is a SecurityConn whose bodies may have some bytes behind them that the other side's Open does not look at, as
// a cipher's that works on blocks: so a full one fits exactly where a jumbo datagram has places for packets.
type Stretcher interface {
	// Stretch returns how many bytes, at most.
	Stretch() int
}

// SecurityInfo describes a secured connection.
type SecurityInfo struct {
	Peer          any   // the identity that was proven, or nil
	Level         uint8 // of the class
	Type          uint8 // secStats.type of the debug protocol: 1 none, 3 rxkad, 4 rxgk
	Authenticated bool
	Expires       uint32 // unix seconds, 0 never
}

// none is security index 0: bodies are data.
type none struct{}

func (none) Index() wire.SecurityIndex { return wire.SecurityNone }
func (none) Room(body int) int         { return body }

func (none) Seal(dst []byte, _ PacketID, data []byte) ([]byte, wire.Checksum, error) {
	return append(dst, data...), 0, nil
}
func (none) Check(PacketID, wire.Checksum) error { return nil }
func (none) Open(dst []byte, _ PacketID, body []byte) ([]byte, error) {
	return append(dst, body...), nil
}
func (none) NeedsChallenge() bool        { return false }
func (none) Challenge(dst []byte) []byte { return dst }
func (none) Verify(_ Time, _ []byte, calls [wire.Channels]wire.CallNumber) ([wire.Channels]wire.CallNumber, error) {
	return calls, nil
}

func (none) Respond(dst, _ []byte, _ [wire.Channels]wire.CallNumber) ([]byte, error) {
	return dst, &AbortError{Code: wire.ProtocolError, Reason: "a challenge on a connection without security"}
}
func (none) Expired(Time) error     { return nil }
func (none) Describe() SecurityInfo { return SecurityInfo{Type: 1} }
func (none) Wipe()                  {}
