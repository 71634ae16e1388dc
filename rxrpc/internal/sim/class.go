package sim

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// sealed is a security class for simulations: it has what rxkad has (a checksum of
// headers, bodies longer than their data, CHALLENGE and RESPONSE), and no secret.
type sealed struct{ key uint32 }

const (
	sealedIndex wire.SecurityIndex = 5
	sealBad     wire.AbortCode     = 19270408 // RXKADSEALEDINCON

	sealSize  = 8
	sealedKey = 7
)

var errSeal = &proto.AbortError{Code: sealBad, Reason: "the seal is broken"}

func (s sealed) Index() wire.SecurityIndex { return sealedIndex }
func (s sealed) Key() any                  { return s.key }

func (s sealed) NewClient(id proto.ConnID) (proto.SecurityConn, error) {
	return &sealedConn{key: s.key, id: id, verified: true}, nil
}

func (s sealed) NewServer(id proto.ConnID) (proto.SecurityConn, error) {
	return &sealedConn{key: s.key, id: id, nonce: uint32(mix(uint64(id.CID)))}, nil
}

type sealedConn struct {
	key, nonce uint32
	id         proto.ConnID
	verified   bool
}

func (c *sealedConn) Index() wire.SecurityIndex { return sealedIndex }
func (c *sealedConn) Room(body int) int         { return max(body-sealSize, 0) }

func (c *sealedConn) sum(p proto.PacketID, data []byte) uint64 {
	var b [16]byte
	binary.BigEndian.PutUint32(b[:], uint32(p.Call))
	binary.BigEndian.PutUint32(b[4:], uint32(p.Seq))
	b[8] = byte(p.Channel)
	if p.ToServer {
		b[9] = 1
	}
	binary.BigEndian.PutUint32(b[10:], c.key)
	return mix(uint64(crc32.ChecksumIEEE(b[:]))<<32 | uint64(crc32.ChecksumIEEE(data)))
}

func (c *sealedConn) cksum(p proto.PacketID) wire.Checksum {
	return wire.Checksum(c.sum(p, nil)>>48) | 1
}

func (c *sealedConn) Seal(dst []byte, p proto.PacketID, data []byte) ([]byte, wire.Checksum, error) {
	dst = binary.BigEndian.AppendUint64(dst, c.sum(p, data))
	return append(dst, data...), c.cksum(p), nil
}

func (c *sealedConn) Check(p proto.PacketID, cksum wire.Checksum) error {
	if cksum != c.cksum(p) {
		return errSeal
	}
	return nil
}

func (c *sealedConn) Open(dst []byte, p proto.PacketID, body []byte) ([]byte, error) {
	if len(body) < sealSize || binary.BigEndian.Uint64(body) != c.sum(p, body[sealSize:]) {
		return dst, errSeal
	}
	return append(dst, body[sealSize:]...), nil
}

func (c *sealedConn) NeedsChallenge() bool { return !c.verified }

func (c *sealedConn) Challenge(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 2), c.nonce)
}

func (c *sealedConn) Respond(dst, challenge []byte, calls [wire.Channels]wire.CallNumber) ([]byte, error) {
	if len(challenge) != 8 {
		return dst, errSeal
	}
	dst = binary.BigEndian.AppendUint32(dst, binary.BigEndian.Uint32(challenge[4:])+1)
	dst = binary.BigEndian.AppendUint32(dst, c.key)
	for _, n := range calls {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return dst, nil
}

func (c *sealedConn) Verify(_ proto.Time, b []byte, calls [wire.Channels]wire.CallNumber) ([wire.Channels]wire.CallNumber, error) {
	if len(b) != 8+4*wire.Channels || binary.BigEndian.Uint32(b) != c.nonce+1 || binary.BigEndian.Uint32(b[4:]) != c.key {
		return calls, errSeal
	}
	for i := range calls {
		n := wire.CallNumber(binary.BigEndian.Uint32(b[8+4*i:]))
		if n > wire.MaxCallNumber {
			return calls, errSeal
		}
		calls[i] = max(calls[i], n) // a call that was begun since may have come first
	}
	c.verified = true
	return calls, nil
}

func (c *sealedConn) Expired(proto.Time) error { return nil }
func (c *sealedConn) Describe() proto.SecurityInfo {
	return proto.SecurityInfo{Type: 3, Authenticated: c.verified}
}
func (c *sealedConn) Wipe() { c.key = 0 }
