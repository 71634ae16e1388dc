package rxkad

import (
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A Client secures calls with a token, at a level. It may be used by any number of calls and
// endpoints; those with equal token pointers and levels share connections.
type Client struct {
	token *Token
	level Level
	now   func() time.Time
}

var _ proto.ClientSecurity = (*Client)(nil)

// NewClient returns the security of a token, which is not to be changed or wiped as long as there are connections.
// Errors: those of Token.Valid, and LevelFail for a level that does not exist.
func NewClient(t *Token, level Level) (*Client, error) {
	if level > Encrypt {
		return nil, refuse(LevelFail, "no such level")
	}
	c := &Client{token: t, level: level, now: time.Now}
	return c, t.Valid(c.now())
}

// Level returns the level.
func (c *Client) Level() Level { return c.level }

// Index returns 2.
func (c *Client) Index() wire.SecurityIndex { return wire.SecurityRxKAD }

type clientKey struct {
	token *Token
	level Level
}

// Key returns what connections are shared by.
func (c *Client) Key() any { return clientKey{c.token, c.level} }

// NewClient begins a connection.
func (c *Client) NewClient(id proto.ConnID) (proto.SecurityConn, error) {
	if err := c.token.Valid(c.now()); err != nil {
		return nil, err
	}
	key, _ := c.token.Session.eight()
	cc := &clientConn{&sealer{level: c.level}, c, id}
	cc.setKey(key, id)
	return cc, nil
}

// A clientConn is a connection of ours to a server.
type clientConn struct {
	*sealer // behind a pointer for the reason that a Key's secret is
	client  *Client
	id      proto.ConnID
}

var (
	_ proto.SecurityConn = (*clientConn)(nil)
	_ proto.BatchSealer  = (*clientConn)(nil)
	_ proto.Stretcher    = (*clientConn)(nil)
)

func (c *clientConn) Index() wire.SecurityIndex { return wire.SecurityRxKAD }
func (c *clientConn) Room(body int) int         { return c.room(body) }

func (c *clientConn) Seal(dst []byte, p proto.PacketID, data []byte) ([]byte, wire.Checksum, error) {
	dst, sum := c.seal(dst, p, data)
	return dst, sum, nil
}

func (c *clientConn) SealMany(packets []proto.Sealing) error {
	c.sealMany(packets)
	return nil
}

func (c *clientConn) Check(p proto.PacketID, sum wire.Checksum) error { return c.check(p, sum) }

func (c *clientConn) Open(dst []byte, p proto.PacketID, body []byte) ([]byte, error) {
	return c.open(dst, p, body)
}

func (c *clientConn) NeedsChallenge() bool        { return false }
func (c *clientConn) Challenge(dst []byte) []byte { return dst }

func (c *clientConn) Verify(proto.Time, []byte, [wire.Channels]wire.CallNumber) ([wire.Channels]wire.CallNumber, error) {
	return [wire.Channels]wire.CallNumber{}, refuse(Inconsistency, "a response to a client")
}

// Respond answers a challenge, if the token still serves. The server decides how low the level may be, the
// client how low it goes: it is not talked down, for the level is the client's own.
func (c *clientConn) Respond(dst, body []byte, calls [wire.Channels]wire.CallNumber) ([]byte, error) {
	ch, err := parseChallenge(body)
	if err != nil {
		return dst, err
	}
	if c.sealer.level < ch.minLevel {
		return dst, refuse(LevelFail, "the server wants level "+ch.minLevel.String()+" at least")
	}
	t := c.client.token
	if t.expired(c.client.now()) {
		return dst, refuse(Expired, "the token has expired")
	}
	r := response{calls: calls, nonce: ch.nonce + 1, level: uint32(c.level)}
	return r.append(dst, c.id, &c.cipher, c.iv, t), nil
}

func (c *clientConn) Expired(proto.Time) error {
	if c.client.token.expired(c.client.now()) {
		return refuse(Expired, "the token has expired")
	}
	return nil
}

func (c *clientConn) Describe() proto.SecurityInfo {
	return proto.SecurityInfo{Level: uint8(c.level), Type: rxkadType, Authenticated: true, Expires: expiry(c.client.token.Expires)}
}

func (c *clientConn) Wipe() { c.wipe() }

// rxkadType is what rxdebug calls the class.
const rxkadType = 3

// expiry is a time of a ticket as SecurityInfo has it.
func expiry(t uint32) uint32 {
	if t == Never {
		return 0
	}
	return t
}
