package proto

import (
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Accept says how a service takes calls.
type Accept uint8

// Ways of taking calls.
const (
	AcceptCharge Accept = iota // each needs a Charge made before; without one the client is told BUSY
	AcceptManual               // each waits for Accept or Reject, at most Backlog
	AcceptAuto                 // all, within the endpoint's Limits
)

// ServiceParams is what a service is made with.
type ServiceParams struct {
	// IDs are its numbers: one, or two with Upgrade.
	IDs []wire.ServiceID
	// UpgradeFrom and UpgradeTo: a new connection to From whose first packet asks for an
	// upgrade is one of To. Both are 0, or in IDs.
	UpgradeFrom, UpgradeTo wire.ServiceID
	// Security are the classes that calls may have, besides none.
	Security []ServerSecurity
	// Secured refuses calls without security.
	Secured  bool
	Accept   Accept
	Backlog  int // most charges, or calls that wait to be accepted; default 10
	Timeouts Timeouts
	Tag      any
}

// A Service takes calls.
type Service struct {
	// Tag is the application's.
	Tag any

	e        *Endpoint
	p        ServiceParams
	charges  []any
	waiting  list[Call] // for Accept
	calls    list[Call] // all that have not ended
	refusing bool
	closed   bool
}

// Listen opens a service. Errors: ErrInUse, ErrService, ErrClosed.
func (e *Endpoint) Listen(now Time, p ServiceParams) (*Service, error) {
	if e.closed {
		return nil, ErrClosed
	}
	p.IDs = slices.Clone(p.IDs)
	p.Security = slices.Clone(p.Security)
	if len(p.IDs) == 0 || slices.Contains(p.IDs, 0) {
		return nil, ErrService
	}
	if p.UpgradeFrom != 0 || p.UpgradeTo != 0 {
		if p.UpgradeFrom == p.UpgradeTo || !slices.Contains(p.IDs, p.UpgradeFrom) || !slices.Contains(p.IDs, p.UpgradeTo) {
			return nil, ErrService
		}
	}
	for i, id := range p.IDs {
		if e.services[id] != nil || slices.Contains(p.IDs[:i], id) {
			return nil, ErrInUse
		}
	}
	if p.Backlog == 0 {
		p.Backlog = 10
	}
	s := &Service{Tag: p.Tag, e: e, p: p}
	s.waiting.at, s.calls.at = onWait, onService
	for _, id := range p.IDs {
		e.services[id] = s
	}
	return s, nil
}

// SetUpgrade changes what connections are upgraded from and to; zeros end that. Errors: ErrService.
func (s *Service) SetUpgrade(from, to wire.ServiceID) error {
	if (from != 0 || to != 0) && (from == to || !slices.Contains(s.p.IDs, from) || !slices.Contains(s.p.IDs, to)) {
		return ErrService
	}
	s.p.UpgradeFrom, s.p.UpgradeTo = from, to
	return nil
}

// SetBacklog changes how many charges, or calls that wait to be accepted, there may be. Those
// that are there stay.
func (s *Service) SetBacklog(n int) { s.p.Backlog = n }

// SetAccept changes how the service takes calls from now on. Calls that wait to be accepted still do.
func (s *Service) SetAccept(a Accept) { s.p.Accept = a }

// Charge adds a tag for a call that will come: its Tag will be tag. Errors: ErrCharges, ErrNotListen.
func (s *Service) Charge(tag any) error {
	switch {
	case s.closed || s.refusing || s.p.Accept != AcceptCharge:
		return ErrNotListen
	case reached(len(s.charges), s.p.Backlog):
		return ErrCharges
	}
	s.charges = append(s.charges, tag)
	return nil
}

// Uncharge takes back the charges that no call has taken, and passes their tags to f, which may be nil.
func (s *Service) Uncharge(f func(tag any)) {
	tags := s.charges
	s.charges = nil
	for _, t := range tags {
		if f != nil {
			f(t)
		}
	}
}

// Charges returns how many charges no call has taken yet.
func (s *Service) Charges() int { return len(s.charges) }

// Waiting returns the call that waits longest to be accepted, or nil (AcceptManual).
func (s *Service) Waiting() *Call { return s.waiting.head }

// Refuse makes the service refuse new calls by RX_INVALID_OPERATION, or take them again; its calls go on.
func (s *Service) Refuse(refuse bool) { s.refusing = refuse }

// Close ends the service: its calls that the application has not released are aborted by RX_CALL_DEAD
// if abort is set, new ones are refused by RX_INVALID_OPERATION, its connections go soon.
func (s *Service) Close(now Time, abort bool) {
	if s.closed {
		return
	}
	s.closed = true
	s.charges = nil
	for _, id := range s.p.IDs {
		delete(s.e.services, id)
	}
	for c := s.calls.head; c != nil; {
		next := c.svcNode.next
		if abort && !c.released {
			c.abort(now, wire.CallDead, syscall.ESHUTDOWN, "the service was closed", nil)
		}
		c = next
	}
	s.closeHalf(now, abort)
	for c := s.e.idleServices.head; c != nil; {
		next := c.idleNode.next
		if c.svc == s {
			c.rest(now)
		}
		c = next
	}
}

// hasRoom reports whether the service takes another call now.
func (s *Service) hasRoom() bool {
	switch s.p.Accept {
	case AcceptCharge:
		return len(s.charges) > 0
	case AcceptManual:
		return !reached(s.waiting.n, s.p.Backlog)
	}
	return true
}

// take gives the call to the application.
func (s *Service) take(c *Call) {
	switch s.p.Accept {
	case AcceptCharge:
		c.Tag = s.charges[0]
		n := copy(s.charges, s.charges[1:])
		s.charges[n] = nil
		s.charges = s.charges[:n]
	case AcceptManual:
		c.waits = true
		s.waiting.add(c)
	}
	c.tell(Arrived)
}

// Accept takes a call that waits (AcceptManual). Its data becomes Readable after. Errors: ErrNotWaiting.
func (c *Call) Accept(now Time, tag any) error {
	if !c.waits {
		return ErrNotWaiting
	}
	c.svc.waiting.remove(c)
	c.Tag, c.waits = tag, false
	if c.news != 0 {
		c.e.events.add(c)
	}
	return nil
}

// Reject refuses a call that waits, by BUSY if code is 0, else by an ABORT; the call is
// released. Errors: ErrNotWaiting.
func (c *Call) Reject(now Time, code wire.AbortCode) error {
	if !c.waits {
		return ErrNotWaiting
	}
	if code == 0 {
		c.turnAway(now)
		return nil
	}
	c.released = true
	c.Abort(now, code)
	return nil
}

// TurnAway refuses a call that AcceptAuto has taken, by BUSY: as long as nothing of it was read. The call is released.
func (c *Call) TurnAway(now Time) {
	if c.state == Complete {
		c.Release(now)
		return
	}
	c.turnAway(now)
}

// turnAway says BUSY to a call that nobody has taken: as if it had never come, so that it
// can come again.
func (c *Call) turnAway(now Time) {
	cn := c.conn
	ch := &cn.channels[c.channel]
	h := cn.header(wire.TypeData)
	h.CID |= wire.CID(c.channel)
	h.Call, h.Flags = c.number, wire.ClientInitiated
	c.released = true
	c.complete(now, Result{Completion: LocalError, Errno: syscall.EBUSY, Why: "turned away"})
	ch.number--
	ch.end, ch.due = endNothing, false
	c.e.busy(now, cn.peer.addr, &h)
}
