package proto

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// xorClass is a security class for tests: bodies are xored with the key and prefixed by
// the number of data bytes, checksums are a sum of what they cover. Its index is that of rxkad.
type xorClass struct {
	key     byte
	refuse  error // NewServer, NewClient
	expired error
	keyID   any
	stretch int // bodies are that much shorter, and may be made longer
}

const xorCode wire.AbortCode = 19270410

var errXor = &AbortError{Code: xorCode, Reason: "wrong key"}

func (x *xorClass) Index() wire.SecurityIndex { return wire.SecurityRxKAD }

func (x *xorClass) Key() any {
	if x.keyID != nil {
		return x.keyID
	}
	return x.key
}

func (x *xorClass) NewClient(id ConnID) (SecurityConn, error) {
	if x.refuse != nil {
		return nil, x.refuse
	}
	return &xorConn{x: x, id: id}, nil
}

func (x *xorClass) NewServer(id ConnID) (SecurityConn, error) {
	if x.refuse != nil {
		return nil, x.refuse
	}
	return &xorConn{x: x, id: id, server: true}, nil
}

type xorConn struct {
	x      *xorClass
	id     ConnID
	server bool
	proven bool
	wiped  bool
	opened int
}

func (c *xorConn) Index() wire.SecurityIndex { return wire.SecurityRxKAD }
func (c *xorConn) Room(body int) int         { return body - 2 - c.x.stretch }
func (c *xorConn) Stretch() int              { return c.x.stretch }

func (c *xorConn) sum(p PacketID) wire.Checksum {
	n := uint32(c.id.CID)*7 + uint32(p.Call)*31 + uint32(p.Channel)*57 + uint32(p.Seq)*101 + uint32(c.x.key)*1009
	return wire.Checksum(n%65000 + 1)
}

func (c *xorConn) Seal(dst []byte, p PacketID, data []byte) ([]byte, wire.Checksum, error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	for i, b := range data {
		dst = append(dst, b^c.x.key^byte(i))
	}
	return dst, c.sum(p), nil
}

func (c *xorConn) Check(p PacketID, cksum wire.Checksum) error {
	if cksum != c.sum(p) {
		return errXor
	}
	return nil
}

func (c *xorConn) Open(dst []byte, p PacketID, body []byte) ([]byte, error) {
	if len(body) < 2 || int(binary.BigEndian.Uint16(body)) > len(body)-2 {
		return nil, &AbortError{Code: 19270411, Reason: "length"}
	}
	c.opened++
	n := int(binary.BigEndian.Uint16(body))
	for i, b := range body[2 : 2+n] {
		dst = append(dst, b^c.x.key^byte(i))
	}
	return dst, nil
}

func (c *xorConn) NeedsChallenge() bool { return c.server && !c.proven }

func (c *xorConn) Challenge(dst []byte) []byte { return append(dst, "who are you?"...) }

func (c *xorConn) Verify(_ Time, response []byte, calls [4]wire.CallNumber) ([4]wire.CallNumber, error) {
	if len(response) != 17 || response[0] != c.x.key {
		return calls, errXor
	}
	c.proven = true
	for i := range calls {
		calls[i] = max(calls[i], wire.CallNumber(binary.BigEndian.Uint32(response[1+4*i:])))
	}
	return calls, nil
}

func (c *xorConn) Respond(dst, challenge []byte, calls [4]wire.CallNumber) ([]byte, error) {
	if !bytes.Equal(challenge, []byte("who are you?")) {
		return nil, &AbortError{Code: 19270401, Reason: "short"}
	}
	dst = append(slices.Grow(dst, 17), c.x.key)
	for _, n := range calls {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return dst, nil
}

func (c *xorConn) Expired(Time) error { return c.x.expired }

func (c *xorConn) Describe() SecurityInfo {
	return SecurityInfo{Peer: "somebody", Level: 2, Type: 3, Authenticated: c.proven}
}
func (c *xorConn) Wipe() { c.wiped = true }
