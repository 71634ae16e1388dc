package rxkad

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Skew is how far clocks may differ (OpenAFS, KTC_TIME_UNCERTAINTY). Linux allows nothing.
const Skew = 15 * time.Minute

// ServerConfig is what a Server is made with. All but Keys may be left out.
type ServerConfig struct {
	// Keys opens tickets.
	Keys Keys
	// MinLevel is the lowest level that clients may choose.
	MinLevel Level
	// Authorize says whether a client may come in, after everything else was found right: an error
	// means NoAuth, or the Code in it. It runs in the endpoint's goroutine and must not wait.
	Authorize func(*Identity) error
	// Skew is how far ahead of this clock a ticket may begin; default 15 minutes, negative: not at all.
	Skew time.Duration
	// Lifetimes is how the life of Kerberos 4 tickets is counted.
	Lifetimes Lifetimes
	// DottedNames allows Kerberos 5 principals whose name has a dot, so that foo.root is foo/root.
	DottedNames bool
	// KerberosOnly5 refuses Kerberos 4 tickets, which any holder of a DES key can make.
	KerberosOnly5 bool
	// Now is the clock that tickets are compared with; default time.Now.
	Now func() time.Time
	// Rand is where challenges come from; default crypto/rand.
	Rand io.Reader
}

// A Server takes connections that are secured by rxkad.
type Server struct{ cfg ServerConfig }

var _ proto.ServerSecurity = (*Server)(nil)

// NewServer returns a security class for a service.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Keys == nil {
		cfg.Keys = MoreKeys()
	}
	if cfg.Skew == 0 {
		cfg.Skew = Skew
	}
	cfg.Skew = max(cfg.Skew, 0)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return &Server{cfg}
}

// Index returns 2.
func (s *Server) Index() wire.SecurityIndex { return wire.SecurityRxKAD }

// NewServer begins a connection, with a challenge that nobody can guess.
func (s *Server) NewServer(id proto.ConnID) (proto.SecurityConn, error) {
	var b [4]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return nil, &Error{Inconsistency, "no random number for a challenge", err}
	}
	return &serverConn{srv: s, id: id, nonce: binary.BigEndian.Uint32(b[:])}, nil
}

// A serverConn is a client's connection to us. Until the client has proven itself it holds a nonce and no more.
type serverConn struct {
	srv    *Server
	id     proto.ConnID
	nonce  uint32
	tried  bool    // a response was received: there is no second
	secure *secure // nil until a response was accepted
}

// secure is what a connection has after that.
type secure struct {
	sealer
	Identity
}

var (
	_ proto.SecurityConn = (*serverConn)(nil)
	_ proto.BatchSealer  = (*serverConn)(nil)
	_ proto.Stretcher    = (*serverConn)(nil)
)

func (c *serverConn) Index() wire.SecurityIndex { return wire.SecurityRxKAD }
func (c *serverConn) NeedsChallenge() bool      { return c.secure == nil }

func (c *serverConn) Room(body int) int {
	if c.secure == nil {
		return 0
	}
	return c.secure.room(body)
}

// Stretch is the sealer's.
func (c *serverConn) Stretch() int {
	if c.secure == nil {
		return 0
	}
	return c.secure.Stretch()
}

func (c *serverConn) Seal(dst []byte, p proto.PacketID, data []byte) ([]byte, wire.Checksum, error) {
	if c.secure == nil {
		return dst, 0, errNoKey
	}
	dst, sum := c.secure.seal(dst, p, data)
	return dst, sum, nil
}

func (c *serverConn) SealMany(packets []proto.Sealing) error {
	if c.secure == nil {
		return errNoKey
	}
	c.secure.sealMany(packets)
	return nil
}

func (c *serverConn) Check(p proto.PacketID, sum wire.Checksum) error {
	if c.secure == nil {
		return errNoKey
	}
	return c.secure.check(p, sum)
}

func (c *serverConn) Open(dst []byte, p proto.PacketID, body []byte) ([]byte, error) {
	if c.secure == nil {
		return dst, errNoKey
	}
	return c.secure.open(dst, p, body)
}

func (c *serverConn) Challenge(dst []byte) []byte {
	return challenge{nonce: c.nonce, minLevel: c.srv.cfg.MinLevel}.append(dst)
}

func (c *serverConn) Respond(dst, _ []byte, _ [wire.Channels]wire.CallNumber) ([]byte, error) {
	return dst, refuse(Inconsistency, "a challenge to a server")
}

// Verify checks a response in the order of OpenAFS, so that clients are told the same: form, ticket, times,
// session key, seal, call numbers, nonce, level, authorization. Nothing changes before all is right, and what was
// made on the way is wiped if it is not.
//
// A channel's call number may be lower than what has been seen on it: a call can begin after the
// response was made and arrive before it, and until now anybody can have made one up. The number goes on
// from the higher one. (Linux refuses the connection.)
func (c *serverConn) Verify(_ proto.Time, body []byte, calls [wire.Channels]wire.CallNumber) ([wire.Channels]wire.CallNumber, error) {
	if c.tried {
		return calls, refuse(Inconsistency, "a second response")
	}
	c.tried = true
	cfg := &c.srv.cfg
	version, sealedTicket, err := splitResponse(body)
	if err != nil {
		return calls, err
	}
	t, err := c.openTicket(version, sealedTicket)
	if err != nil {
		return calls, err
	}
	defer clear(t.session[:])
	if err := checkTimes(t.Begins, t.Expires, cfg.Now().Unix(), int64(cfg.Skew/time.Second)); err != nil {
		return calls, err
	}
	if weakKey(t.session) {
		return calls, refuse(BadKey, "the session key of the ticket is weak")
	}
	s := &secure{Identity: t.Identity}
	s.setKey(t.session, c.id)
	raised, err := c.checkSealed(s, body, calls)
	if err == nil && cfg.Authorize != nil {
		err = authorized(cfg.Authorize(&s.Identity))
	}
	if err != nil {
		s.wipe()
		return calls, err
	}
	c.secure = s
	return raised, nil
}

// splitResponse checks what can be without a key.
func splitResponse(b []byte) (version uint32, ticket []byte, err error) {
	be := binary.BigEndian
	if len(b) < responseSize {
		return 0, nil, refuse(PacketShort, "response too short")
	}
	if be.Uint32(b) != 2 {
		return 0, nil, refuse(Inconsistency, "response of an unknown version")
	}
	n := be.Uint32(b[sealedTo+4:])
	rest := b[responseSize:]
	switch {
	case uint64(n) > uint64(len(rest)):
		return 0, nil, refuse(PacketShort, "response shorter than its ticket")
	case n < MinTicket || n > MaxTicket:
		return 0, nil, refuse(TicketLen, "a ticket of a length that none has")
	}
	return be.Uint32(b[sealedTo:]), rest[:n], nil
}

func (c *serverConn) openTicket(version uint32, b []byte) (*ticket, error) {
	cfg := &c.srv.cfg
	switch {
	case version == Kerberos5 || version == Kerberos5Part:
		return openTicket5(b, version, uint16(c.id.Service), cfg)
	case version > Kerberos5 || cfg.KerberosOnly5:
		return nil, refuse(UnknownKey, "tickets of this kind are not taken")
	}
	key, err := lookUp(cfg.Keys, KeyQuery{Service: uint16(c.id.Service), Version: version, EncType: DES})
	if err != nil {
		return nil, err
	}
	k, ok := key.eight()
	if !ok {
		return nil, refuse(UnknownKey, "a key that is none of DES")
	}
	defer clear(k[:])
	t, err := openTicket4(b, k, cfg.Lifetimes)
	if err == nil {
		t.Version = version
	}
	return t, err
}

// checkSealed opens the sealed part with the session key, into memory of its own, and compares.
func (c *serverConn) checkSealed(s *secure, body []byte, calls [wire.Channels]wire.CallNumber) ([wire.Channels]wire.CallNumber, error) {
	var p [responseSize]byte
	be := binary.BigEndian
	copy(p[:], body)
	s.cipher.Decrypt(p[sealedFrom:sealedTo], body[sealedFrom:sealedTo], s.iv)
	got := be.Uint32(p[sumAt:])
	be.PutUint32(p[sumAt:], 0)
	var want [16]byte
	appendEndpoint(want[:0], c.id)
	right := subtle.ConstantTimeCompare(want[:], p[sealedFrom:sealedFrom+len(want)]) & subtle.ConstantTimeEq(int32(got), int32(responseSum(p[:])))
	if right != 1 {
		return calls, refuse(SealedIncon, "the response is sealed with another key, or for another connection")
	}
	raised := calls
	for i := range raised {
		n := be.Uint32(p[24+4*i:])
		if n > math.MaxInt32 {
			return calls, refuse(SealedIncon, "a call number that cannot be")
		}
		raised[i] = max(raised[i], wire.CallNumber(n))
	}
	if subtle.ConstantTimeEq(int32(be.Uint32(p[40:])), int32(c.nonce+1)) != 1 {
		return calls, refuse(OutOfSequence, "the response is to another challenge")
	}
	level := be.Uint32(p[44:])
	if level < uint32(c.srv.cfg.MinLevel) || level > uint32(Encrypt) {
		return calls, refuse(LevelFail, "the client's level is not acceptable")
	}
	s.sealer.level = Level(level)
	s.Identity.Level = Level(level)
	return raised, nil
}

func authorized(err error) error {
	var e *Error
	var c Code
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.As(err, &c):
		return &Error{c, "not authorized", err}
	}
	return &Error{NoAuth, "not authorized", err}
}

func (c *serverConn) Expired(proto.Time) error {
	if s := c.secure; s != nil && s.Expires != Never && c.srv.cfg.Now().Unix() > int64(s.Expires) {
		return refuse(Expired, "the client's ticket has expired")
	}
	return nil
}

func (c *serverConn) Describe() proto.SecurityInfo {
	s := c.secure
	if s == nil {
		return proto.SecurityInfo{Type: rxkadType, Level: uint8(c.srv.cfg.MinLevel)}
	}
	return proto.SecurityInfo{
		Peer: &s.Identity, Level: uint8(s.Identity.Level), Type: rxkadType, Authenticated: true, Expires: expiry(s.Expires),
	}
}

func (c *serverConn) Wipe() {
	if c.secure != nil {
		c.secure.wipe()
		c.secure = nil
	}
	c.tried = true
}
