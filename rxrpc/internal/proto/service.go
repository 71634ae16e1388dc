package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

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

	e       *Endpoint
	p       ServiceParams
	charges []any
	waiting callList
	closed  bool
}

// Listen opens a service. Errors: ErrInUse, ErrService, ErrClosed.
func (e *Endpoint) Listen(now Time, p ServiceParams) (*Service, error) { panic("soon") }

// Charge adds a tag for a call that will come: its Tag will be tag. Errors: ErrCharges, ErrNotListen.
func (s *Service) Charge(tag any) error { panic("soon") }

// Uncharge takes back the charges that no call has taken, and passes their tags to f, which may be nil.
func (s *Service) Uncharge(f func(tag any)) { panic("soon") }

// Charges returns how many charges no call has taken yet.
func (s *Service) Charges() int { return len(s.charges) }

// Waiting returns the call that waits longest to be accepted, or nil (AcceptManual).
func (s *Service) Waiting() *Call { return s.waiting.head }

// Accept takes a call that waits (AcceptManual). Its data becomes Readable after. Errors: ErrNotWaiting.
func (c *Call) Accept(now Time, tag any) error { panic("soon") }

// Reject refuses a call that waits, by BUSY if code is 0, else by an ABORT; the call is
// released. Errors: ErrNotWaiting.
func (c *Call) Reject(now Time, code wire.AbortCode) error { panic("soon") }

// Refuse makes the service refuse new calls by RX_INVALID_OPERATION, or take them again; its calls go on.
func (s *Service) Refuse(refuse bool) { panic("soon") }

// Close ends the service: its calls that the application has not released are aborted by RX_CALL_DEAD
// if abort is set, new ones are refused by RX_INVALID_OPERATION, its connections go soon.
func (s *Service) Close(now Time, abort bool) { panic("soon") }
