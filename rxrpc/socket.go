package rxrpc

import (
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// Families of the transport of a Socket.
const (
	Inet  = afInet  // PF_INET
	Inet6 = afInet6 // PF_INET6: IPv4 addresses are taken as well
)

// A Socket is a socket of AF_RXRPC: calls are told apart by numbers that the application gives them (their
// tags), what is to be done and what has happened is said by control messages.
//
// A client's call begins with the first Sendmsg that has its tag; the request ends with the one without MsgMore. What
// comes back Recvmsg returns, a message of one call at a time, until the one with MsgEOR, after which the tag is free and never
// seen again. A socket bound to a service other than 0 is a server's: see Listen. It may make client calls too.
//
// All methods may be called from any goroutine. Errors are *SocketError and wrap the errno of Linux; which
// differences there are docs/rxrpc.md lists.
type Socket struct {
	family int
	cfg    SocketConfig

	// mu guards what follows. The owner of an endpoint takes it; so nobody who holds it calls
	// into an endpoint.
	mu      sync.Mutex
	state   sockState
	shut    bool
	closed  bool
	e       *Endpoint
	other   *Endpoint // for IPv4 peers of a socket of IPv6
	local   netip.AddrPort
	bound   []uint16
	peer    Addr // of Connect
	up      [2]uint16
	key     ClientKey
	ring    ServerKeyring
	level   uint8
	excl    bool
	backlog int
	charged bool // it is a socket of today: CHARGE_ACCEPT was used
	charges int
	autos   uint64 // calls accepted by AutoAccept
	unread  int    // of them: those of which nothing was received yet

	calls   map[uint64]*sockCall
	pending []*sockCall // that have arrived and wait for ACCEPT, or have died waiting
	rxq     []*sockCall // with something to tell
	rxqMem  []*sockCall // the memory of rxq, empty
	rx      gate        // until there is
	tapped  bool        // an interceptor has what Recvmsg would

	// Of the owner of e.
	services []*proto.Service
}

// SocketConfig is how a Socket is made. nil, and zero values, mean the defaults.
type SocketConfig struct {
	// Endpoint is the configuration of an endpoint that the socket is the first to use.
	Endpoint *Config
	// Pool has the endpoints that sockets share; nil: the process's.
	Pool *Pool
	// Keys is where descriptions of keys are looked up; nil: there are none (ENOKEY).
	Keys KeySource
	// Window is how many bytes of a call may be received before (*Socket).Window allows more: for who passes
	// on what it receives, and must not be left with it. A call whose window is used up is left alone until then, and the peer's
	// own window closes. 0: no such bounds.
	Window int
	// Notify, if it is set, is called when there is something new to receive. It must only wake somebody: it is called
	// in the middle of the protocol, and must not call the socket.
	Notify func()
	// MaxBacklog is the most that Listen takes (Linux: the sysctl net.rxrpc.max_backlog), default 128.
	MaxBacklog int
	// MaxCalls is the most calls of the socket at a time, charged ones among them: ENOBUFS. 0: no limit but the endpoint's.
	MaxCalls int
	// Calls, if it is set, bounds the calls of several sockets together, as MaxCalls does those of one; a caller elsewhere is told BUSY.
	Calls CallQuota
	// BusyEnds ends a client's call when its server is busy, with RXRPC_BUSY, as the first AF_RXRPC did. Otherwise the call
	// goes on, and asks again.
	BusyEnds bool
	// OwnPort makes port 0 a port of the socket's own for a client as well; otherwise clients share one.
	OwnPort bool
	// AutoAccept has a server's socket accept calls as they come: their tags have AutoTag set, and NEW_CALL is
	// not told. The backlog of Listen, and MaxCalls, bound those of which the application has received nothing yet, and all: more are told BUSY.
	AutoAccept bool
	// Secured has a server's socket refuse calls without security; AF_RXRPC has no such thing.
	Secured bool
	// Group sets the socket's calls apart: only calls of sockets of one group share connections, each of which runs four calls, and wait for
	// each other when a peer has as many as Limits.ConnsPerBundle.
	Group uint64
}

const defaultMaxBacklog = 128

// AutoTag is set in the tags of calls that SocketConfig.AutoAccept has accepted. The application must not use such tags for its own calls.
const AutoTag = 1 << 63

// A CallQuota counts the calls of sockets: begun, charged, and those that wait for ACCEPT or were accepted. It is asked in the middle of the protocol: it must neither block nor
// call a socket.
type CallQuota interface {
	// Take counts one more, or says why there can be none.
	Take() error
	// Give counts one less, which was taken.
	Give()
}

// A KeySource finds keys by their descriptions, as request_key(2) does. Errors wrap
// ENOKEY, EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED, ...
type KeySource interface {
	// RequestKey finds a key for a client's calls; nil is no security.
	RequestKey(description string) (ClientKey, error)
	// RequestKeyring finds the keys of servers.
	RequestKeyring(description string) (ServerKeyring, error)
}

// A ClientKey secures the calls of a client.
type ClientKey interface {
	// Secure is asked for each call: at level 0 (plain), 1 (auth) or 2 (encrypt). nil is no security.
	Secure(level uint8) (ClientSecurity, error)
}

// A ServerKeyring has the keys of a server. They may change at any time.
type ServerKeyring interface {
	// Classes are those that calls may be secured by, at a level at least.
	Classes(level uint8) []ServerSecurity
}

type sockState uint8

const (
	unbound sockState = iota
	clientUnbound
	clientBound
	serverBound
	serverBound2
	serverListening
	listenDisabled
)

// server reports whether the socket is a server's.
func (st sockState) server() bool { return st >= serverBound }

// NewSocket makes a socket with a transport of a family: Inet or Inet6. Nothing is opened yet. Errors: EPROTONOSUPPORT for
// another family.
func NewSocket(family int, cfg *SocketConfig) (*Socket, error) {
	s := &Socket{family: family, calls: make(map[uint64]*sockCall)}
	if family != Inet && family != Inet6 {
		return nil, sockErr("socket", syscall.EPROTONOSUPPORT, "transport of family "+strconv.Itoa(family))
	}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.cfg.Pool == nil {
		s.cfg.Pool = shared
	}
	if s.cfg.MaxBacklog <= 0 {
		s.cfg.MaxBacklog = defaultMaxBacklog
	}
	return s, nil
}

// A SocketError says what a Socket would not do, or could not.
type SocketError struct {
	Op  string // "bind", "sendmsg", ...
	Err error

	CallID    uint64 // the tag, if HasCallID
	HasCallID bool

	// NoCall says that there is no call with that tag, because it was not begun: nothing of it will be received.
	// Submit sets it.
	NoCall bool
	// Ended says that the call has ended, which is the reason or is why nobody knows one: how it has will be received. Submit
	// sets it.
	Ended bool
}

func (e *SocketError) Error() string {
	s := "rxrpc socket: " + e.Op
	if e.HasCallID {
		s += " call " + strconv.FormatUint(e.CallID, 10)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *SocketError) Unwrap() error { return e.Err }

// sockErr makes a SocketError with an errno.
func sockErr(op string, errno syscall.Errno, why string) *SocketError {
	return &SocketError{Op: op, Err: &errnoError{why, errno}}
}

// of adds the tag.
func (e *SocketError) of(id uint64) *SocketError {
	e.CallID, e.HasCallID = id, true
	return e
}

// An errnoError is an errno and why.
type errnoError struct {
	why   string
	errno syscall.Errno
}

func (e *errnoError) Error() string { return e.why + ": " + e.errno.Error() }
func (e *errnoError) Unwrap() error { return e.errno }

// errSocketClosed is what everything on a closed socket says.
var errSocketClosed error = &errorString{"the socket is closed", syscall.EBADF, ErrClosed}

// A gate is where goroutines wait for something to change. A mutex guards it.
type gate struct{ c chan struct{} }

// wait returns what is closed when the gate is opened next.
func (g *gate) wait() <-chan struct{} {
	if g.c == nil {
		g.c = make(chan struct{})
	}
	return g.c
}

func (g *gate) open() {
	if g.c != nil {
		close(g.c)
		g.c = nil
	}
}
