package tsagent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// SocketInfo describes a socket, as `cnbus sock ls` shows it.
type SocketInfo struct {
	Num    uint32 `json:"num"`
	Port   uint32 `json:"port"` // of the bus: its owner
	UID    uint32 `json:"uid"`
	PID    uint32 `json:"pid"`
	Family string `json:"family"`          // "ipv4", "ipv6", "unix"
	Type   string `json:"type"`            // "stream", "dgram"
	State  string `json:"state"`           // "new", "opening", "bound", "open", "connecting", "connected", "listening", "closing"
	Owner  string `json:"owner,omitempty"` // of sockets that are another agent's (Config.Others): who it is
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`

	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
	Queued   int    `json:"queued"` // bytes that wait to be written or sent
	Credit   int64  `json:"credit"` // bytes that the owner takes; 0 or less: it does not read
}

// Stats are counts since the agent's beginning; Sockets and Owners are the present ones.
type Stats struct {
	Sockets, Owners int
	Opened          uint64 // sockets
	Requests        uint64
	Failed          uint64 // requests, with an error of any kind
	Denied          uint64 // by the policy
	Events          uint64
	BytesIn         uint64
	BytesOut        uint64
	DatagramsIn     uint64
	DatagramsOut    uint64
}

// Stats returns the counts.
func (a *Agent) Stats() Stats {
	c := &a.stats
	s := Stats{
		Opened: c.opened.Load(), Requests: c.requests.Load(), Failed: c.failed.Load(), Denied: c.denied.Load(), Events: c.events.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), DatagramsIn: c.datagramsIn.Load(), DatagramsOut: c.datagramOut.Load(),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Sockets, s.Owners = len(a.socks)-a.reserved, len(a.owners)
	return s
}

// Sockets describes the sockets that there are, in the order of their numbers.
func (a *Agent) Sockets() []SocketInfo {
	a.mu.Lock()
	all := make([]*sock, 0, len(a.socks)+len(a.linger))
	for _, s := range a.socks {
		if !s.reserved {
			all = append(all, s)
		}
	}
	for s := range a.linger {
		all = append(all, s)
	}
	a.mu.Unlock()
	infos := make([]SocketInfo, 0, len(all))
	for _, s := range all {
		infos = append(infos, s.info())
	}
	slices.SortFunc(infos, func(a, b SocketInfo) int { return cmp.Compare(a.Num, b.Num) })
	return infos
}

func (s *sock) info() SocketInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := SocketInfo{
		Num: s.num, Port: s.own.port, UID: s.own.cred.UID, PID: s.own.cred.PID, Family: familyName(s.family), Type: "dgram",
		State: s.state(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Queued: s.out.bytes, Credit: s.in.credit,
	}
	if s.kind == kindStream {
		i.Type = "stream"
	}
	if s.closed {
		i.State = "closing"
	}
	if local := s.local; !local.IsZero() {
		i.Local = local.String()
	}
	if !s.remote.IsZero() {
		i.Remote = s.remote.String()
	}
	return i
}

// hello tells what the agent is: version, what one message takes, the window, the limit of sockets.
func (r *request) hello() {
	if len(r.body) < 4 || native.Uint32(r.body) == 0 {
		r.fail(invalid("hello: the body is not a version"))
		return
	}
	if v := native.Uint32(r.body); v != Version {
		r.fail(&Error{syscall.EPROTONOSUPPORT, "hello: this agent speaks version 1"})
		return
	}
	c := &r.a.cfg
	b := native.AppendUint32(nil, Version)
	b = native.AppendUint32(b, MaxBody)
	b = native.AppendUint32(b, uint32(c.Window))
	most := c.SocketsPerOwner
	if l := c.limits(r.d.From.Cred.UID); l.Sockets >= 0 {
		most = min(most, l.Sockets)
	}
	b = native.AppendUint32(b, uint32(most))
	sinks := uint32(0)
	if c.Sinks {
		sinks = 1
	}
	b = native.AppendUint32(b, sinks)
	port := r.d.From.Port
	if connector.HostOf(port) == 0 {
		r.done(0, 0, b)
		return
	}
	later := &request{a: r.a, d: r.d.Detach(), h: r.h}
	r.a.site.Greet(port, connector.Message{ID: cbid.TSocket, Data: Header{Op: EvGreeting}.Append(nil)}, func(err error) {
		switch {
		case errors.Is(err, connector.ErrPermission):
			later.fail(&Error{syscall.EACCES, "hello: " + err.Error()})
		case err != nil:
			later.fail(&Error{syscall.ENOBUFS, "hello: " + err.Error()})
		default:
			later.done(0, 0, b)
		}
	})
}

// Snapshot is what STAT tells.
type Snapshot struct {
	Stats   Stats        `json:"stats"`
	Sockets []SocketInfo `json:"sockets"`
}

// Snapshot returns Stats, Sockets, and those of Config.Others.
func (a *Agent) Snapshot() Snapshot {
	s := Snapshot{a.Stats(), a.Sockets()}
	if a.cfg.Others != nil {
		s.Sockets = append(s.Sockets, a.cfg.Others()...)
	}
	return s
}

// seenBy is what a user may see: his own sockets; root, and the agent's user, all of them.
func (s Snapshot) seenBy(who connector.Cred) Snapshot {
	if who.UID != 0 && int64(who.UID) != int64(os.Getuid()) {
		s.Sockets = slices.DeleteFunc(s.Sockets, func(i SocketInfo) bool { return i.UID != who.UID || i.Owner != "" })
	}
	return s
}

func parseSnapshot(text []byte) (s Snapshot, err error) {
	if err = json.Unmarshal(text, &s); err != nil {
		return s, &Error{syscall.EPROTO, "stat: " + err.Error()}
	}
	return s, nil
}

// Stat asks the agent what sockets there are: those of this process's user; to root, and to the agent's user, it tells of everybody's.
func (c *Client) Stat(ctx context.Context) (Snapshot, error) {
	return gather(func(h Header) (Reply, []byte, error) { return c.call(ctx, h, nil) })
}

// QueryStat is Client.Stat for who wants nothing else: it asks the agent of a host (0: this one), and needs no event of it.
func QueryStat(ctx context.Context, ep connector.Endpoint, host uint32) (Snapshot, error) {
	return gather(func(h Header) (Reply, []byte, error) {
		ev, err := ep.Call(ctx, connector.Message{ID: SiteID(host), Data: h.Append(nil)}, connector.Dest{})
		if err != nil {
			return Reply{}, nil, err
		}
		r, body, err := ParseReply(ev.Msg.Data)
		if err == nil {
			err = r.Err(body)
		}
		return r, body, err
	})
}

// gather asks for the pieces of a snapshot.
func gather(ask func(Header) (Reply, []byte, error)) (Snapshot, error) {
	var text []byte
	for {
		r, body, err := ask(Header{Op: OpStat, Arg: uint64(len(text))})
		if r.Errno == syscall.ESTALE && len(text) > 0 {
			text = nil // others have asked meanwhile
			continue
		}
		if err != nil {
			return Snapshot{}, err
		}
		text = append(text, body...)
		if len(body) == 0 || len(text) >= int(r.Value) {
			return parseSnapshot(text)
		}
	}
}
