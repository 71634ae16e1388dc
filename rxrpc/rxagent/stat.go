package rxagent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A SocketInfo is a socket, as STAT "sockets" has it in JSON.
type SocketInfo struct {
	Sock  uint32 `json:"sock"`
	Port  uint32 `json:"port"` // of the owner, on the bus
	UID   uint32 `json:"uid"`
	PID   uint32 `json:"pid"`
	State string `json:"state"`
	Local string `json:"local,omitempty"` // "192.0.2.1:7003/52"
	Peer  string `json:"peer,omitempty"`  // that it is connected to
	Calls int    `json:"calls"`
	Bytes int64  `json:"bytes"` // of all sockets of the owner: posted, not taken by the endpoint
}

// Sockets returns the sockets of all clients, in the order of their numbers.
func (a *Agent) Sockets() []SocketInfo {
	a.mu.Lock()
	owners := make([]*owner, 0, len(a.owners))
	for _, o := range a.owners {
		owners = append(owners, o)
	}
	a.mu.Unlock()
	all := []SocketInfo{}
	for _, o := range owners {
		o.mu.Lock()
		socks := make([]*sock, 0, len(o.socks))
		for _, k := range o.socks {
			socks = append(socks, k)
		}
		o.mu.Unlock()
		for _, k := range socks {
			all = append(all, k.info())
		}
	}
	slices.SortFunc(all, func(a, b SocketInfo) int { return cmp.Compare(a.Sock, b.Sock) })
	return all
}

func (k *sock) info() SocketInfo {
	o := k.o
	i := SocketInfo{
		Sock: k.n, Port: o.from.Port, UID: o.from.Cred.UID, PID: o.from.Cred.PID, State: k.s.State(), Calls: k.s.Calls(), Bytes: o.bytes.Load(),
	}
	if l := k.s.Getsockname(); l.Addr.IsValid() {
		i.Local = l.String()
	}
	if p, ok := k.s.Getpeername(); ok {
		i.Peer = p.String()
	}
	return i
}

// maxStat bounds an answer to STAT that is kept for its reader.
const maxStat = 16 << 20

// doStat does STAT, in the lane.
func (o *owner) doStat(r *request) (p rxmsg.Reply, body []byte, err error) {
	at := r.h.Arg
	if at == 0 {
		if o.stat, err = o.a.statJSON(string(r.body)); err != nil {
			return p, nil, err
		}
	}
	if at > uint64(len(o.stat)) {
		return p, nil, errno(syscall.EINVAL, fmt.Sprintf("offset %d of %d", at, len(o.stat)))
	}
	p.Value = uint32(len(o.stat))
	body = o.stat[at:]
	if len(body) > rxmsg.MaxBody {
		p.Flags, body = rxmsg.FlagMore, body[:rxmsg.MaxBody]
	} else {
		o.stat = nil
	}
	return p, body, nil
}

func (a *Agent) statJSON(what string) ([]byte, error) {
	var v any
	switch what {
	case "sockets":
		v = a.Sockets()
	default:
		return nil, errno(syscall.EINVAL, fmt.Sprintf("no statistics of %q", what))
	}
	b, err := json.Marshal(v)
	if err == nil && len(b) > maxStat {
		err = errno(syscall.EMSGSIZE, what)
	}
	return b, err
}
