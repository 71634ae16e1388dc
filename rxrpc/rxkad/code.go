package rxkad

import (
	"strconv"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A Code is one of rxkad's abort codes (com_err table "rxk"). It is an error, to be compared
// with errors.Is; it wraps the errno that Linux has for it.
type Code int32

// Codes.
const (
	Inconsistency Code = 19270400 + iota // RXKADINCONSISTENCY: what was received contradicts itself or the version
	PacketShort                          // RXKADPACKETSHORT: challenge or response too short
	LevelFail                            // RXKADLEVELFAIL: the two sides agree on no level
	TicketLen                            // RXKADTICKETLEN: no ticket is so short or so long
	OutOfSequence                        // RXKADOUTOFSEQUENCE: an answer to another challenge
	NoAuth                               // RXKADNOAUTH: not authorized, or the ticket is not valid yet
	BadKey                               // RXKADBADKEY: a weak key
	BadTicket                            // RXKADBADTICKET: the ticket cannot be opened or makes no sense
	UnknownKey                           // RXKADUNKNOWNKEY: the service has no key of that version
	Expired                              // RXKADEXPIRED: the ticket or a key is not valid any more
	SealedIncon                          // RXKADSEALEDINCON: what was sealed does not fit, so the keys differ
	DataLen                              // RXKADDATALEN: more data announced than there is
	IllegalLevel                         // RXKADILLEGALLEVEL: may not use encryption
)

var codes = [...]struct {
	name, text string
	errno      syscall.Errno
}{
	{"RXKADINCONSISTENCY", "inconsistent security packet", syscall.EPROTO},
	{"RXKADPACKETSHORT", "security packet too short", syscall.EPROTO},
	{"RXKADLEVELFAIL", "security level not acceptable", syscall.EACCES},
	{"RXKADTICKETLEN", "ticket length out of range", syscall.EPROTO},
	{"RXKADOUTOFSEQUENCE", "answer to another challenge", syscall.EPROTO},
	{"RXKADNOAUTH", "not authorized, or ticket not valid yet", errno.KeyRejected},
	{"RXKADBADKEY", "weak key", errno.KeyRejected},
	{"RXKADBADTICKET", "bad ticket", syscall.EBADMSG},
	{"RXKADUNKNOWNKEY", "no key of that version", errno.NoKey},
	{"RXKADEXPIRED", "expired", errno.KeyExpired},
	{"RXKADSEALEDINCON", "sealed data inconsistent", syscall.EPROTO},
	{"RXKADDATALEN", "more data announced than there is", syscall.EPROTO},
	{"RXKADILLEGALLEVEL", "encryption not allowed", syscall.EACCES},
}

func (c Code) known() bool { return c >= Inconsistency && int(c-Inconsistency) < len(codes) }

// Name returns the name of the code in C, or "".
func (c Code) Name() string {
	if c.known() {
		return codes[c-Inconsistency].name
	}
	return ""
}

func (c Code) Error() string {
	if c.known() {
		i := &codes[c-Inconsistency]
		return "rxkad: " + i.text + " (" + i.name + ")"
	}
	return "rxkad: abort code " + strconv.Itoa(int(c))
}

// AbortCode returns the code as a number.
func (c Code) AbortCode() int32 { return int32(c) }

// Unwrap returns an errno, as Linux has it.
func (c Code) Unwrap() error {
	if c.known() {
		return codes[c-Inconsistency].errno
	}
	return syscall.EPROTO
}

// An Error says what this side found wrong. The peer is told the Code and nothing else.
type Error struct {
	Code Code
	Why  string // for whoever reads logs
	Err  error  // what caused it, or nil
}

func refuse(c Code, why string) *Error { return &Error{Code: c, Why: why} }

func (e *Error) Error() string {
	s := "rxkad: " + e.Why + " (" + e.Code.Name() + ")"
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Code, e.Err}
	}
	return []error{e.Code}
}

// As gives the engine the abort that the peer is told.
func (e *Error) As(target any) bool {
	t, ok := target.(**proto.AbortError)
	if ok {
		*t = &proto.AbortError{Code: wire.AbortCode(e.Code), Reason: e.Why}
	}
	return ok
}

// What a packet can be refused for; one value each, so that refusing allocates nothing.
var (
	errChecksum = refuse(SealedIncon, "checksum of the packet's header")
	errShort    = refuse(SealedIncon, "packet too short to be sealed")
	errSeal     = refuse(SealedIncon, "seal of another packet or key")
	errDataLen  = refuse(DataLen, "packet shorter than its length says")
	errNoKey    = refuse(NoAuth, "no session key yet")
)
