package rxclient

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A Socket is a socket of AF_RXRPC, as rxrpc.Socket is, that the agent has: see there for what the methods do. What they say the agent has
// said, in *rxrpc.SocketError with the errno; when the agent is gone that is ErrDown, for good.
//
// All methods may be called from any goroutine.
type Socket struct {
	c      *Conn
	number uint32
	family int
	cfg    SocketConfig
	window int // what may be posted of a call
	grant  int // what is read of a call before the agent is told

	// mu guards what follows.
	mu        sync.Mutex
	tags      map[uint64]*tag
	news      []*tag // that wait for ACCEPT, one for each NEW_CALL to be received
	rxq       []*tag // with something to tell
	rx        gate
	down      error // the agent, or its socket, is gone
	closed    bool
	shut      bool
	listening bool
	tap       *interceptor // nil: Recvmsg has what comes
}

// SocketConfig is how a Socket is made. nil, and zero values, mean the defaults. Keys are those that the agent has for this user.
type SocketConfig struct {
	// BusyEnds ends a client's call when its server is busy, with RXRPC_BUSY, as the first AF_RXRPC did.
	BusyEnds bool
	// OwnPort makes port 0 a port of the socket's own for a client as well.
	OwnPort bool
	// AutoAccept has a server's socket accept calls as they come: their tags have rxrpc.AutoTag set.
	AutoAccept bool
	// Window is how many bytes of a call may come that were not read; default what the agent has, usually 64 KiB or more.
	Window int
}

var _ sink = (*Socket)(nil)

// NewSocket makes a socket with a transport of a family: rxrpc.Inet or rxrpc.Inet6. Errors: EPROTONOSUPPORT for another family, EMFILE, ErrDown, EACCES.
func (c *Conn) NewSocket(family int, cfg *SocketConfig) (*Socket, error) {
	s := &Socket{c: c, family: family, tags: make(map[uint64]*tag)}
	if cfg != nil {
		s.cfg = *cfg
	}
	hello := c.limits()
	if s.cfg.Window <= 0 {
		s.cfg.Window = int(hello.ReceiveWindow)
	}
	s.window, s.grant = int(hello.SendWindow), s.cfg.Window/2
	if !c.own(s) {
		return nil, &rxrpc.SocketError{Op: "socket", Err: rxrpc.ErrClosed}
	}
	m := rxmsg.Socket{Window: uint32(s.cfg.Window), BusyEnds: s.cfg.BusyEnds, OwnPort: s.cfg.OwnPort, AutoAccept: s.cfg.AutoAccept}
	var err error
	if s.number, err = c.open(c.ctx, family, m, s); err != nil {
		c.disown(s)
		return nil, s.fault("socket", err)
	}
	return s, nil
}

// fault makes the error of an operation.
func (s *Socket) fault(op string, err error) *rxrpc.SocketError {
	e := &rxrpc.SocketError{Op: op, Err: err}
	var a *rxmsg.Error
	if errors.As(err, &a) {
		e.Err = &refusal{errno: a.Errno, text: strings.TrimPrefix(a.Text, "rxrpc socket: ")}
		e.CallID, e.HasCallID, e.NoCall = a.Tag, a.HasTag, a.NoCall
	}
	return e
}

// A refusal is what the agent has said, with the errno.
type refusal struct {
	errno syscall.Errno
	text  string
}

func (e *refusal) Error() string {
	if e.text == "" {
		return e.errno.Error()
	}
	return e.text
}

func (e *refusal) Unwrap() error { return e.errno }

// errno makes an error that this side gives.
func (s *Socket) errno(op string, errno syscall.Errno, why string) *rxrpc.SocketError {
	return &rxrpc.SocketError{Op: op, Err: &refusal{errno, why + ": " + errno.Error()}}
}

// of adds the tag.
func of(e *rxrpc.SocketError, id uint64) *rxrpc.SocketError {
	e.CallID, e.HasCallID = id, true
	return e
}

// dead returns why nothing works any more; nil if it does. s.mu is held.
func (s *Socket) dead(op string) *rxrpc.SocketError {
	switch {
	case s.closed:
		return &rxrpc.SocketError{Op: op, Err: errSocketClosed}
	case s.down != nil:
		return &rxrpc.SocketError{Op: op, Err: s.down}
	}
	return nil
}

// ask makes a request about the socket.
func (s *Socket) ask(ctx context.Context, op string, h rxmsg.Header, body []byte) (rxmsg.Reply, []byte, error) {
	s.mu.Lock()
	err := s.dead(op)
	s.mu.Unlock()
	if err != nil {
		return rxmsg.Reply{}, nil, err
	}
	h.Sock = s.number
	r, b, e := s.c.call(ctx, h, body)
	if e == nil {
		return r, b, nil
	}
	if errors.Is(e, ErrDown) {
		s.fail(e)
	}
	return r, b, s.fault(op, e)
}

func (s *Socket) do(op string, h rxmsg.Header, body []byte) error {
	_, _, err := s.ask(s.c.ctx, op, h, body)
	return err
}

// Bind is as rxrpc.Socket.Bind.
func (s *Socket) Bind(a rxrpc.Addr) error {
	return s.do("bind", rxmsg.Header{Op: rxmsg.OpBind}, a.AppendRaw(nil))
}

// Connect is as rxrpc.Socket.Connect.
func (s *Socket) Connect(a rxrpc.Addr) error {
	return s.do("connect", rxmsg.Header{Op: rxmsg.OpConnect}, a.AppendRaw(nil))
}

// Listen is as rxrpc.Socket.Listen.
func (s *Socket) Listen(backlog int) error {
	err := s.do("listen", rxmsg.Header{Op: rxmsg.OpListen, Arg: uint64(int64(backlog))}, nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening = backlog != 0
	if !s.listening {
		s.notListening()
	}
	return nil
}

// notListening forgets charges, and calls that wait; s.mu is held.
func (s *Socket) notListening() {
	s.listening = false
	for _, x := range s.news {
		x.gone = true
	}
	s.news = nil
	for id, x := range s.tags {
		if x.charge {
			x.gone = true
			delete(s.tags, id)
		}
	}
	s.rx.open()
}

// Shutdown is as rxrpc.Socket.Shutdown.
func (s *Socket) Shutdown(how int) error {
	if err := s.do("shutdown", rxmsg.Header{Op: rxmsg.OpShutdown, Arg: uint64(int64(how))}, nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	if s.listening {
		s.notListening()
	}
	s.wakeAll()
	return nil
}

// Reject is as rxrpc.Socket.Reject.
func (s *Socket) Reject() error {
	err := s.do("reject", rxmsg.Header{Op: rxmsg.OpReject}, nil)
	if err == nil || !errors.Is(err, syscall.ENODATA) && !errors.Is(err, syscall.EISCONN) {
		s.mu.Lock()
		s.answered()
		s.mu.Unlock()
	}
	return err
}

// answered says that the first call that waits does so no more: its NEW_CALL need not be received. s.mu is held.
func (s *Socket) answered() {
	if len(s.news) > 0 {
		s.news[0].gone = true
		s.news = s.news[1:]
	}
}

// Getsockname is as rxrpc.Socket.Getsockname.
func (s *Socket) Getsockname() rxrpc.Addr {
	var a rxrpc.Addr
	_, b, err := s.ask(s.c.ctx, "getsockname", rxmsg.Header{Op: rxmsg.OpGetName}, nil)
	if err == nil {
		a, _ = rxrpc.ParseAddr(b, 6)
	}
	return a
}

// Close is as rxrpc.Socket.Close.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.end()
	down := s.down
	s.mu.Unlock()
	s.c.disown(s)
	s.c.forget(s.number, s)
	if down != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_, _, _ = s.c.call(ctx, rxmsg.Header{Op: rxmsg.OpClose, Sock: s.number}, nil)
	return nil
}

// shutdown is of owner: the port is closed, and the agent's socket with it.
func (s *Socket) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.end()
	}
}

// end has everybody who waits told that the socket is closed; s.mu is held.
func (s *Socket) end() {
	s.closed = true
	s.rxq, s.news = nil, nil
	s.wakeAll()
	clear(s.tags)
}

// wakeAll has everybody who waits look again; s.mu is held.
func (s *Socket) wakeAll() {
	s.rx.open()
	for _, x := range s.tags {
		x.tx.open()
	}
	if s.tap != nil {
		s.tap.more.open()
	}
}

// SetOption is as rxrpc.Socket.SetOption.
func (s *Socket) SetOption(level, option int, value []byte) error {
	return s.do("setsockopt", rxmsg.Header{Op: rxmsg.OpSetOpt, Arg: rxmsg.OptArg(level, option)}, value)
}

// GetOption is as rxrpc.Socket.GetOption.
func (s *Socket) GetOption(level, option int, value []byte) (int, error) {
	_, b, err := s.ask(s.c.ctx, "getsockopt", rxmsg.Header{Op: rxmsg.OpGetOpt, Arg: rxmsg.OptArg(level, option)}, nil)
	switch {
	case err != nil:
		return 0, err
	case len(b) > len(value):
		return 0, s.errno("getsockopt", errnoTooSmall, "the buffer is too small")
	}
	return copy(value, b), nil
}

// SetSecurityKey is as rxrpc.Socket.SetSecurityKey; the key is one that the agent has for this user.
func (s *Socket) SetSecurityKey(description string) error {
	return s.SetOption(rxrpc.SOLRxRPC, rxrpc.OptSecurityKey, []byte(description))
}

// SetSecurityKeyring is as rxrpc.Socket.SetSecurityKeyring; the keyring is one that the agent has for this user.
func (s *Socket) SetSecurityKeyring(description string) error {
	return s.SetOption(rxrpc.SOLRxRPC, rxrpc.OptSecurityKeyring, []byte(description))
}

// SetExclusive is as rxrpc.Socket.SetExclusive.
func (s *Socket) SetExclusive() error {
	return s.SetOption(rxrpc.SOLRxRPC, rxrpc.OptExclusiveConnection, nil)
}

// SetMinSecurityLevel is as rxrpc.Socket.SetMinSecurityLevel.
func (s *Socket) SetMinSecurityLevel(level uint32) error {
	return s.SetOption(rxrpc.SOLRxRPC, rxrpc.OptMinSecurityLevel, binary.NativeEndian.AppendUint32(nil, level))
}

// SetUpgradeable is as rxrpc.Socket.SetUpgradeable.
func (s *Socket) SetUpgradeable(from, to uint16) error {
	return s.SetOption(rxrpc.SOLRxRPC, rxrpc.OptUpgradeableService, upgradeOption(from, to))
}
