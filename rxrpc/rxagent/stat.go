package rxagent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
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
	Bytes int64  `json:"bytes"` // of all sockets of the owner: posted, not taken by the endpoint; each message is 1 KiB more than its data
}

// Sockets returns the sockets of all clients, in the order of their numbers.
func (a *Agent) Sockets() []SocketInfo {
	all := []SocketInfo{}
	for _, k := range a.socks() {
		all = append(all, k.info())
	}
	slices.SortFunc(all, func(a, b SocketInfo) int { return cmp.Compare(a.Sock, b.Sock) })
	return all
}

func (a *Agent) socks() []*sock {
	a.mu.Lock()
	owners := make([]*owner, 0, len(a.owners))
	for _, o := range a.owners {
		owners = append(owners, o)
	}
	a.mu.Unlock()
	var all []*sock
	for _, o := range owners {
		o.mu.Lock()
		for _, k := range o.socks {
			all = append(all, k)
		}
		o.mu.Unlock()
	}
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

// A CallInfo is a call, as STAT "calls" has it in JSON.
type CallInfo struct {
	rxrpc.CallStatus
	Sock uint32 `json:"sock"` // 0: it is not accepted yet, or its socket is closed
	Port uint32 `json:"port"`
	UID  uint32 `json:"uid"`
	PID  uint32 `json:"pid"`
}

// Calls returns the calls of all clients.
func (a *Agent) Calls() []CallInfo {
	socks := make(map[*rxrpc.Socket]*sock)
	for _, k := range a.socks() {
		socks[k.s] = k
	}
	all := []CallInfo{}
	for _, c := range a.snapshot().Calls {
		i := CallInfo{CallStatus: c, UID: nobody}
		if k := socks[c.Socket]; k != nil {
			i.Sock, i.Port, i.UID, i.PID = k.n, k.o.from.Port, k.o.from.Cred.UID, k.o.from.Cred.PID
		}
		all = append(all, i)
	}
	return all
}

// Conns returns the connections that the endpoints have, whosever calls they carry.
func (a *Agent) Conns() []rxrpc.ConnStatus { return a.snapshot().Conns }

// Peers returns what the endpoints know of peers.
func (a *Agent) Peers() []rxrpc.PeerStatus { return a.snapshot().Peers }

// nobody is the user of what belongs to none: -1, as Linux has it.
const nobody = 1<<32 - 1

func (a *Agent) snapshot() rxrpc.Snapshot {
	var all rxrpc.Snapshot
	for _, e := range a.pool.Endpoints() {
		s := e.Snapshot()
		all.Calls = append(all.Calls, s.Calls...)
		all.Conns = append(all.Conns, s.Conns...)
		all.Peers = append(all.Peers, s.Peers...)
	}
	return all
}

// seen is what a user may see of others': root, and the agent's own user, everything; others what is theirs.
func seen[T any](who connector.Cred, all []T, uid func(*T) uint32) []T {
	if who.UID == 0 || int64(who.UID) == int64(os.Getuid()) {
		return all
	}
	return slices.DeleteFunc(all, func(i T) bool { return uid(&i) != who.UID })
}

func nonNil[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// maxStat bounds an answer to STAT that is kept for its reader.
const maxStat = 16 << 20

// doStat does STAT, in the lane.
func (o *owner) doStat(r *request) (p rxmsg.Reply, body []byte, err error) {
	at := r.h.Arg
	text := o.a.reading.of(o)
	if at == 0 {
		if text, err = o.a.statJSON(o.from.Cred, string(r.body)); err != nil {
			return p, nil, err
		}
	}
	switch {
	case text == nil:
		return p, nil, errno(syscall.ESTALE, "the answer is gone, ask from 0 on")
	case at > uint64(len(text)):
		return p, nil, errno(syscall.EINVAL, fmt.Sprintf("offset %d of %d", at, len(text)))
	}
	p.Value = uint32(len(text))
	body = text[at:]
	if len(body) > rxmsg.MaxBody {
		p.Flags, body = rxmsg.FlagMore, body[:rxmsg.MaxBody]
		o.a.reading.keep(o, text)
	} else {
		o.a.reading.drop(o)
	}
	return p, body, nil
}

// readings are answers to STAT that are read piece by piece. They go with their readers.
type readings struct {
	mu  sync.Mutex
	all []reading // the latest last
}

type reading struct {
	o    *owner
	text []byte
}

// How many answers are kept; who is put off by another one begins again.
const (
	readingPerUID = 8
	mostReading   = 64
)

func (r *readings) index(o *owner) int {
	return slices.IndexFunc(r.all, func(p reading) bool { return p.o == o })
}

// of returns what o is reading; nil: nothing.
func (r *readings) of(o *owner) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(o); i >= 0 {
		return r.all[i].text
	}
	return nil
}

func (r *readings) drop(o *owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(o); i >= 0 {
		r.all = slices.Delete(r.all, i, i+1)
	}
}

// keep remembers what o is reading. A user does not put off others before there are many of them.
func (r *readings) keep(o *owner, text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(o); i >= 0 {
		r.all[i].text = text
		return
	}
	if o.ctx.Err() != nil { // or nobody would drop it
		return
	}
	same := func(p reading) bool { return p.o.from.Cred.UID == o.from.Cred.UID }
	n := 0
	for _, p := range r.all {
		if same(p) {
			n++
		}
	}
	if i := 0; n >= readingPerUID || len(r.all) >= mostReading {
		if n > 0 {
			i = slices.IndexFunc(r.all, same)
		}
		r.all = slices.Delete(r.all, i, i+1)
	}
	r.all = append(r.all, reading{o, text})
}

func (a *Agent) statJSON(who connector.Cred, what string) ([]byte, error) {
	var v any
	switch what {
	case "sockets":
		v = seen(who, a.Sockets(), func(i *SocketInfo) uint32 { return i.UID })
	case "calls":
		v = seen(who, a.Calls(), func(i *CallInfo) uint32 { return i.UID })
	case "conns":
		v = nonNil(a.snapshot().Conns)
	case "peers":
		v = nonNil(a.snapshot().Peers)
	default:
		return nil, errno(syscall.EINVAL, fmt.Sprintf("no statistics of %q", what))
	}
	b, err := json.Marshal(v)
	if err == nil && len(b) > maxStat {
		err = errno(syscall.EMSGSIZE, what)
	}
	return b, err
}
