package broker

import (
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// claim is a registration for all hosts that is not granted yet.
type claim struct {
	r    *reg
	tag  uint32
	here bool // r is registered for this host already, and nobody waits for an answer
	// again says that r was registered before its connection broke: without an answer of the site it is suspended.
	again bool
}

// claim asks the bridge for r's id; the answer to the client comes later.
func (s *site) claim(r *reg, tag uint32, again bool) {
	s.ask(&claim{r: r, tag: tag, again: again})
}

// widen asks for an id that is registered for this host alone, because it is one of those that are for all. Until it is granted, and if
// it is not, nothing changes.
func (s *site) widen(r *reg) {
	s.ask(&claim{r: r, here: true})
}

func (s *site) ask(cl *claim) {
	key := cl.r.id.Key()
	if old := s.claims[key]; old != nil {
		s.drop(old) // its client is gone, and the bridge answers the later one
	}
	s.claims[key] = cl
	s.busy = true
	s.up.Register(s.siteInfo(cl.r), cl.r.takeover)
}

// drop gives back what a claim that comes to nothing has taken of its account.
func (s *site) drop(cl *claim) {
	if !cl.here {
		cl.r.owner.acct.regs--
		s.h.forget(cl.r.owner.acct)
	}
}

// widenAll asks for what is registered for this host alone and is to be for all.
func (s *site) widenAll() {
	s.narrow = false
	for _, r := range s.h.ids {
		switch {
		case r.wide || r.far || r.alone || s.claims[r.id.Key()] != nil || !r.suspended && (s.wide == nil || !s.wide(r.id)):
		case !printable(r.name):
			s.leaveAlone(r, sprintf("the name %q has control characters", r.name))
		default:
			s.widen(r)
		}
	}
}

// leaveAlone says that r, which is registered for this host and was to be for all, stays so.
func (s *site) leaveAlone(r *reg, why string) {
	r.alone, r.suspended = true, false
	s.h.log.Warn("id registered for this host alone", "id", r.id, "why", why)
	s.h.tellSite(r, connector.SiteLost, why)
}

// Renewed says that the host's lease counts, and the site's store answers: what could not be asked for before can be now.
func (l *SiteLoop) Renewed() {
	if l.s.narrow {
		l.s.widenAll()
	}
}

// siteInfo describes a registration of this host to others.
func (s *site) siteInfo(r *reg) connector.IDInfo {
	info := r.info()
	info.Port = s.sitePort(r.owner)
	return info
}

// Granted answers Register: a nil error registers the id.
func (l *SiteLoop) Granted(id cbid.ID, err *connector.Error, text string) { l.s.granted(id, err, text) }

func (s *site) granted(id cbid.ID, err *connector.Error, text string) {
	h := s.h
	cl := s.claims[id.Key()]
	if cl == nil {
		return
	}
	delete(s.claims, id.Key())
	r := cl.r
	switch {
	case r.dead: // the client went meanwhile
		s.drop(cl)
		if err == nil {
			s.busy = true
			s.up.Unregister(id)
		}
	case err != nil && cl.here:
		if later(err) {
			s.narrow = true
		} else {
			s.leaveAlone(r, text)
		}
	case cl.again && later(err):
		s.narrow = true
		h.registerSuspended(r, cl.tag, text)
	case err != nil:
		s.drop(cl)
		h.answer(r.owner, cl.tag, err, text)
	case cl.here:
		s.removeID(id)
		r.wide = true
		if r.suspended {
			r.suspended = false
			h.tellSite(r, connector.SiteInForce, "")
		}
	default:
		s.removeID(id) // it is not the other host's any more
		r.wide = true
		h.register(r, cl.tag)
		if cl.again { // before, it may have been told otherwise
			h.tellSite(r, connector.SiteInForce, "")
		}
	}
}

// later reports whether an id that was refused by err may be granted when the site is asked again.
func later(err *connector.Error) bool {
	return err == connector.ErrInterrupted || err == connector.ErrWouldBlock
}

// unregister gives a registration for all hosts up.
func (s *site) unregister(id cbid.ID) {
	s.busy = true
	s.up.Unregister(id)
}

// Unregistered answers Unregister: the other hosts know.
func (l *SiteLoop) Unregistered(id cbid.ID) { l.s.unregistered(id) }

func (s *site) unregistered(id cbid.ID) {
	for _, d := range s.dels[id.Key()] {
		s.h.answered(d.c)
		s.h.answer(d.c, d.tag, nil, "")
	}
	delete(s.dels, id.Key())
}

// State says how far a registration of this host for all hosts counts. One that is lost goes on for this host alone. The
// owner is told.
func (l *SiteLoop) State(id cbid.ID, state connector.SiteState, text string) {
	r := l.s.h.ids[id.Key()]
	if r == nil || !r.wide {
		return
	}
	r.lapsed = state == connector.SiteSuspended
	if state == connector.SiteLost {
		r.wide, r.alone = false, true
	}
	l.s.h.tellSite(r, state, text)
}

// tellSite tells r's owner of its state.
func (h *hub) tellSite(r *reg, state connector.SiteState, text string) {
	body := append(frame.AppendID(nil, r.id), text...)
	h.control(r.owner, frame.Header{Type: frame.Site, Code: uint16(state)}, body[:min(len(body), frame.MaxBody)]...)
}

// IDAdded says that the id is registered for all hosts on the one that info.Port is of. A registration of
// this host comes first here. An id that is there already, of the same port, is known again.
func (l *SiteLoop) IDAdded(info connector.IDInfo) error {
	s := l.s
	h := s.h
	if _, yes := s.outside(info.Port); !yes {
		return fmt.Errorf("port %#x of %v is of no other host: %w", info.Port, info.ID, connector.ErrInvalid)
	}
	if len(info.Name) > frame.MaxName || info.ID == cbid.Control {
		return fmt.Errorf("id %v, name %.40q: %w", info.ID, info.Name, connector.ErrInvalid)
	}
	if old := s.ids[info.ID.Key()]; old != nil {
		if old.owner.port == info.Port && old.name == info.Name && old.owner.cred == info.Owner {
			s.unknown(old, false)
			return nil
		}
		s.removeID(info.ID)
	}
	owner := &conn{port: info.Port, cred: info.Owner, proxy: true}
	r := &reg{id: info.ID, name: info.Name, owner: owner, since: h.now, far: true, unknown: info.Unknown}
	s.ids[r.id.Key()] = r
	if h.ids[r.id.Key()] == nil {
		h.ids[r.id.Key()] = r
		h.changed(r, false)
	}
	return nil
}

// IDRemoved says that the id of another host is no longer registered.
func (l *SiteLoop) IDRemoved(id cbid.ID) { l.s.removeID(id) }

func (s *site) removeID(id cbid.ID) {
	h := s.h
	r := s.ids[id.Key()]
	if r == nil {
		return
	}
	delete(s.ids, id.Key())
	r.dead = true
	h.goneTo(&r.callers, r.owner.port, &id)
	if h.ids[id.Key()] == r {
		delete(h.ids, id.Key())
		h.changed(r, true)
	}
}

// IDUnknown says whether the host of the id cannot be reached at present. What is sent to it meanwhile waits.
func (l *SiteLoop) IDUnknown(id cbid.ID, unknown bool) {
	if r := l.s.ids[id.Key()]; r != nil {
		l.s.unknown(r, unknown)
	}
}

func (s *site) unknown(r *reg, unknown bool) {
	if r.unknown == unknown {
		return
	}
	r.unknown = unknown
	if s.h.ids[r.id.Key()] == r {
		s.h.watch.IDUnknown(r.id, unknown)
	}
}

// shadow makes room for a registration of this host.
func (s *site) shadow(id cbid.ID) {
	if r := s.h.ids[id.Key()]; r != nil && r.far {
		delete(s.h.ids, id.Key())
		again := *r
		again.callers = callers{}
		s.ids[id.Key()] = &again
		r.dead = true // routes to it are stale
		s.h.goneTo(&r.callers, r.owner.port, &id)
		s.h.changed(r, true)
	}
}

// unshadow brings the id of another host back when that of this one has gone.
func (s *site) unshadow(id cbid.ID) {
	if r := s.ids[id.Key()]; r != nil && s.h.ids[id.Key()] == nil {
		s.h.ids[id.Key()] = r
		s.h.changed(r, false)
	}
}
