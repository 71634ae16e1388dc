package agents

import (
	"net/netip"
	"strings"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// sockPolicy asks the broker's policy what the agent of sockets may do for whom.
type sockPolicy struct{ allow Allow }

// Allow implements tsagent.Policy.
func (p sockPolicy) Allow(a *tsagent.Access) error {
	access, ok := sockAccess(a)
	if !ok {
		return nil
	}
	return p.allow(connector.From{Cred: a.Cred, Port: a.Port}, access)
}

// sockAccess says what a asks for; false for what needs no permission: a socket that is not used yet, and its options, as
// it is asked for each address that a datagram goes to.
func sockAccess(a *tsagent.Access) (broker.Access, bool) {
	access := broker.Access{Action: broker.SockConnect}
	switch a.Op {
	case tsagent.OpBind, tsagent.OpListen:
		access.Action = broker.SockBind
	case tsagent.OpConnect, tsagent.OpSendTo:
	default:
		return access, false
	}
	switch {
	case a.Family == "unix" && a.Stream:
		access.Kind = broker.UnixStream
	case a.Family == "unix":
		access.Kind = broker.UnixDgram
	case a.Stream:
		access.Kind = broker.TCP
	default:
		access.Kind = broker.UDP
	}
	if a.Family == "unix" {
		access.Path = unixName(a.Addr)
	} else {
		access.Addr = netip.AddrPortFrom(a.Addr.IP(), a.Addr.Port())
	}
	return access, true
}

// unixName is a path, or "@" and a name of the abstract namespace.
func unixName(a tsocket.Addr) string {
	if name := a.Abstract(); name != "" {
		return "@" + name
	}
	if strings.HasPrefix(a.Path(), "@") {
		return "./" + a.Path() // a file, which no policy means by "@..."
	}
	return a.Path()
}
