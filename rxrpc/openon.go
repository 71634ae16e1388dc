package rxrpc

import (
	"net/netip"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/tsocket"
)

// OnlyPeer is the address that stands for the other end of a datagram socket
// whose datagrams have none: see OpenOn.
func OnlyPeer() netip.AddrPort { return onlyPeer }

var onlyPeer = netip.MustParseAddrPort("[fd63:6e62:7573:1::1]:7000")

// MaxDatagramOps is what the ops of a datagram socket (tsocket.DgramOps) may have
// besides, to tell OpenOn how large a datagram may be.
type MaxDatagramOps interface {
	// MaxDatagram returns the length in bytes of the largest datagram.
	MaxDatagram() int
}

// OpenOn makes an endpoint on a datagram socket of any kind: one made of the messages
// of a bus, a pair in memory, an adapter around a net.PacketConn, UDP. The socket is the endpoint's from then
// on, and Close closes it. Whatever it has beyond tsocket.DgramOps is used: batches (tsocket.BatchOps),
// notices of datagrams that did not arrive, buffers of a kernel.
//
// The engine knows its peers by IP address and port. A socket whose addresses are such is used as it is: those
// of UDP, and those of a bus, whose endpoints have addresses in fd63:6e62:7573::/96 (package
// bussock). A socket without addresses, which is a connected one like those of tsocket.PipeDgram, has one peer, whose
// address is OnlyPeer; so is the endpoint's LocalAddr, since that is what its peer knows it by.
// EAFNOSUPPORT for sockets with other addresses, such as the paths of unix sockets that are not connected.
//
// A socket whose sends wait for the receiver cannot hold up the endpoint: what it does not take
// at once waits in a queue of Config.SendBuffer bytes. What finds that full is lost, as it would be in a network, counted in
// Stats.SendErrors and sent again by the protocol.
func OpenOn(d *tsocket.Dgram, cfg *Config) (*Endpoint, error) {
	c := cfg.withDefaults()
	local, remote := d.LocalAddr(), d.RemoteAddr()
	nameless := local.IsZero() || local.IsUnix() && remote.IsUnix()
	if !nameless && !local.IsInet("ip") {
		return nil, &EndpointError{Op: "open", Err: &tsocket.OpError{Op: "datagram socket", Addr: local, Err: syscall.EAFNOSUPPORT}}
	}
	if o, ok := d.Ops().(MaxDatagramOps); ok {
		c.MTU.limit(o.MaxDatagram())
	}
	e := makeEndpoint(d, c)
	if nameless {
		e.local, e.only, e.reader.peer = onlyPeer, true, onlyPeer
	}
	e.queue = newSendQueue(e)
	e.run()
	return e, nil
}

// limit takes account of the largest datagram that there can be.
func (m *MTU) limit(datagram int) {
	most := wire.JumboFit(datagram - wire.HeaderSize)
	if m.JumboMax == 0 || m.JumboMax > most {
		m.JumboMax = most
	}
}

// addrOf returns where a datagram for a peer goes.
func (e *Endpoint) addrOf(peer netip.AddrPort) (tsocket.Addr, error) {
	switch {
	case !e.only:
		return tsocket.AddrFrom(peer)
	case peer != onlyPeer:
		return tsocket.Addr{}, syscall.ENETUNREACH
	}
	return tsocket.Addr{}, nil
}

// peerOf returns who sent a datagram.
func (e *Endpoint) peerOf(from tsocket.Addr) netip.AddrPort {
	if e.only {
		return onlyPeer
	}
	return from.AddrPort()
}
