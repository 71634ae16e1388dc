package broker

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// siteSim are hubs that are joined by a bridge which carries everything at once, in order, when it is told to.
type siteSim struct {
	t     *testing.T
	hosts []*hostSim // number n is at n-1
	cut   bool       // nothing is carried
	owner map[cbid.ID]uint32
	kept  map[uint32]*keptSim // durable groups
}

// hostSim is one host: its hub, and the bridge as that sees it.
type hostSim struct {
	*sim
	all    *siteSim
	num    uint32
	loop   *SiteLoop
	queue  []func()
	answer []answered // what was sent to other hosts' clients
	fwd    int        // frames forwarded
	pub    int        // published
	flush  int
	refuse *connector.Error  // what the store says to Locate
	read   map[uint32]uint64 // positions of durable groups read next
}

type answered struct {
	host, port uint32
	frame.Header
}

func newSiteSim(t *testing.T, n int, p *Policy) *siteSim {
	s := &siteSim{t: t, owner: make(map[cbid.ID]uint32), kept: make(map[uint32]*keptSim)}
	for i := range n {
		h := &hostSim{sim: newSim(t, p), all: s, num: uint32(i + 1), read: make(map[uint32]uint64)}
		h.h.log = slog.New(slog.DiscardHandler)
		s.hosts = append(s.hosts, h)
	}
	for _, h := range s.hosts {
		h.loop = &SiteLoop{h.h.join(&JoinConfig{Host: h.num, Uplink: h})}
		for i := range n {
			if uint32(i+1) != h.num {
				h.loop.HostUp(uint32(i+1), fmt.Sprint("host", i+1))
			}
		}
	}
	s.carry()
	return s
}

// carry lets what is under way arrive, and everything that comes of it.
func (s *siteSim) carry() {
	for again := !s.cut; again; {
		again = false
		for _, h := range s.hosts {
			h.turn()
			q := h.queue
			h.queue = nil
			for _, f := range q {
				f()
				again = true
			}
		}
	}
}

// turn does what the loop does at the end of one.
func (h *hostSim) turn() {
	h.settle()
	for len(h.h.dirty) > 0 {
		all := h.h.dirty
		h.h.dirty = nil
		for _, c := range all {
			c.dirty = false
			if c.proxy && !c.closed {
				h.h.site.drain(c)
			}
		}
		h.settle()
	}
	if h.h.site != nil {
		h.h.site.flush()
	}
}

func (h *hostSim) to(host uint32, f func(to *hostSim)) {
	if int(host) > len(h.all.hosts) {
		return
	}
	to := h.all.hosts[host-1]
	h.queue = append(h.queue, func() { f(to) })
}

func (h *hostSim) Forward(host, port uint32, cred connector.Cred, fr []byte) {
	h.fwd++
	fr = slices.Clone(fr)
	h.to(host, func(to *hostSim) { require.NoError(h.t, to.loop.Input(port, cred, "far", fr)) })
}

func (h *hostSim) Publish(group, port uint32, cred connector.Cred, fr []byte) {
	h.pub++
	fr = slices.Clone(fr)
	for _, host := range h.h.site.listen[group] {
		h.to(host, func(to *hostSim) { require.NoError(h.t, to.loop.Group(port, cred, fr)) })
	}
}

func (h *hostSim) Answer(host, port uint32, fr []byte) {
	hd, _, err := frame.Parse(fr)
	require.NoError(h.t, err)
	require.NotEqual(h.t, frame.Msg, hd.Type)
	h.answer = append(h.answer, answered{host, port, hd})
	fr = slices.Clone(fr)
	h.to(host, func(to *hostSim) { require.NoError(h.t, to.loop.Deliver(h.num, port, fr)) })
}

func (h *hostSim) Consumed(host, port uint32, n int) {
	h.to(host, func(to *hostSim) { to.loop.Credit(h.num, port, n) })
}

func (h *hostSim) Members(group uint32, some bool) {
	for _, to := range h.all.hosts {
		if to != h {
			h.to(to.num, func(to *hostSim) {
				hosts := slices.DeleteFunc(slices.Clone(to.h.site.listen[group]), func(n uint32) bool { return n == h.num })
				if some {
					hosts = append(hosts, h.num)
				}
				to.loop.RemoteInterest(group, hosts)
			})
		}
	}
	h.queue = append(h.queue, func() { h.loop.MembersDone(group) })
}

func (h *hostSim) Register(info connector.IDInfo, takeover bool) {
	h.queue = append(h.queue, func() {
		old := h.all.owner[info.ID]
		if old != 0 && !takeover {
			h.loop.Granted(info.ID, connector.ErrDuplicate, "another host has it")
			return
		}
		h.all.owner[info.ID] = h.num
		if old != 0 {
			h.all.hosts[old-1].loop.State(info.ID, connector.SiteLost, "taken over")
		}
		h.loop.Granted(info.ID, nil, "")
		for _, to := range h.all.hosts {
			if to != h {
				require.NoError(h.t, to.loop.IDAdded(info))
			}
		}
	})
}

func (h *hostSim) Unregister(id cbid.ID) {
	h.queue = append(h.queue, func() {
		if h.all.owner[id] == h.num {
			delete(h.all.owner, id)
			for _, to := range h.all.hosts {
				if to != h {
					to.loop.IDRemoved(id)
				}
			}
		}
		h.loop.Unregistered(id)
	})
}

func (h *hostSim) ClientGone(port uint32) {
	for _, to := range h.all.hosts {
		if to != h {
			h.to(to.num, func(to *hostSim) { to.loop.Remove(port) })
		}
	}
}

func (h *hostSim) Flush() { h.flush++ }

// addSite registers id for all hosts and expects success.
func (h *hostSim) addSite(p *peer, id cbid.ID, name string) {
	h.t.Helper()
	p.write(frame.Header{Type: frame.Add, Tag: 1, Flags: frame.FlagSite}, frame.AppendNamed(nil, id, name)...)
	p.none()
	h.all.carry()
	fr := p.read()
	require.Equal(h.t, []frame.Type{frame.Ack, frame.Interest}, types(fr))
	require.Zero(h.t, fr[0].Code, string(fr[0].body))
}

func (h *hostSim) join(p *peer, group uint32) {
	h.t.Helper()
	p.write(frame.Header{Type: frame.Join, Tag: 2, Group: group})
	h.all.carry()
	require.Zero(h.t, p.one(frame.Ack).Code)
}
