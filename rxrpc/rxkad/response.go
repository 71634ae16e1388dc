package rxkad

import (
	"encoding/binary"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad/fcrypt"
)

// A RESPONSE, in bytes:
//
//	 0  version 2             24  last call numbers, of four channels
//	 4  0                     40  nonce + 1
//	 8  epoch                 44  level
//	12  cid, channel 0        48  ticket version or type
//	16  checksum              52  ticket length
//	20  security index        56  ticket
//
// 8 to 47 are encrypted with the session key, which also is the chain's beginning. The checksum
// is of the first 56 as they are before that, with itself 0.
const (
	responseSize = 56
	sealedFrom   = 8
	sealedTo     = 48
	sumAt        = 16
)

// A response is what is sealed in a RESPONSE.
type response struct {
	calls [wire.Channels]wire.CallNumber
	nonce uint32 // as it is on the wire: one more than the challenge's
	level uint32
}

// append appends a RESPONSE with a ticket.
func (r *response) append(b []byte, id proto.ConnID, c *fcrypt.Cipher, key [8]byte, t *Token) []byte {
	at := len(b)
	be := binary.BigEndian
	b = be.AppendUint32(b, version)
	b = be.AppendUint32(b, 0)
	b = appendEndpoint(b, id)
	for _, n := range r.calls {
		b = be.AppendUint32(b, uint32(n))
	}
	b = be.AppendUint32(b, r.nonce)
	b = be.AppendUint32(b, r.level)
	b = be.AppendUint32(b, t.Version)
	b = be.AppendUint32(b, uint32(len(t.Ticket)))
	p := b[at:]
	be.PutUint32(p[sumAt:], responseSum(p))
	c.Encrypt(p[sealedFrom:sealedTo], p[sealedFrom:sealedTo], key)
	return append(b, t.Ticket...)
}

// appendEndpoint appends what a sealed response says of the connection it is for, with the checksum 0.
func appendEndpoint(b []byte, id proto.ConnID) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(id.Epoch))
	b = be.AppendUint32(b, uint32(id.CID.ConnID()))
	b = be.AppendUint32(b, 0)
	return be.AppendUint32(b, uint32(wire.SecurityRxKAD))
}

// responseSum is the checksum of the first 56 bytes of a response, where the checksum is 0.
func responseSum(p []byte) uint32 {
	h := uint32(1000003)
	for _, c := range p[:responseSize] {
		h = h*0x10204081 + uint32(c)
	}
	return h
}
