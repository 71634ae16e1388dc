package rxkad

import (
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad/fcrypt"
)

// Bytes before the data of a sealed body.
const (
	authHeader    = 4 // check and length
	encryptHeader = 8 // and four that are 0
	minSealed     = fcrypt.BlockSize
)

// A sealer is what both ends of a connection do with packets, once they have its session key.
type sealer struct {
	cipher fcrypt.Cipher
	iv     [8]byte // the session key, which is every chain's beginning
	sumIV  [8]byte // of header checksums
	level  Level
}

// setKey takes the session key of the connection.
func (s *sealer) setKey(key [8]byte, id proto.ConnID) {
	s.cipher.SetKey(key)
	s.iv = key
	var b [16]byte
	binary.BigEndian.PutUint32(b[0:], uint32(id.Epoch))
	binary.BigEndian.PutUint32(b[4:], uint32(id.CID.ConnID()))
	binary.BigEndian.PutUint32(b[12:], uint32(wire.SecurityRxKAD))
	s.cipher.Encrypt(b[:], b[:], key)
	copy(s.sumIV[:], b[8:])
}

func (s *sealer) wipe() { *s = sealer{} }

// numbers is the block that the checksum of a packet's header is made of.
func numbers(b []byte, p proto.PacketID) {
	binary.BigEndian.PutUint32(b, uint32(p.Call))
	binary.BigEndian.PutUint32(b[4:], uint32(p.Channel)<<30|uint32(p.Seq)&0x3fffffff)
}

// sum takes the checksum out of that block's encryption.
func sum(b []byte) wire.Checksum { return wire.Checksum(max(binary.BigEndian.Uint16(b[4:]), 1)) }

func (s *sealer) checksum(p proto.PacketID) wire.Checksum {
	var b [8]byte
	numbers(b[:], p)
	s.cipher.Encrypt(b[:], b[:], s.sumIV)
	return sum(b[:])
}

// check compares the checksum of a header.
func (s *sealer) check(p proto.PacketID, got wire.Checksum) error {
	if subtle.ConstantTimeEq(int32(s.checksum(p)), int32(got)) != 1 {
		return errChecksum
	}
	return nil
}

// word says which packet data is of, and its length.
func word(p proto.PacketID, n int) uint32 {
	return (uint32(p.Seq)^uint32(p.Call))<<16 | uint32(n)
}

// room is how much data fits. At level Auth nothing has to be padded (OpenAFS does not, Linux does).
func (s *sealer) room(body int) int {
	switch s.level {
	case Plain:
		return body
	case Auth:
		return max(body-authHeader, 0)
	default:
		return max(body&^7-encryptHeader, 0)
	}
}

// Stretch is what is left of a packet that blocks do not fill: at level Encrypt four of the 1412 bytes that have their place
// in a jumbo datagram. Linux's packets are filled up in the same way; open looks at whole blocks only.
func (s *sealer) Stretch() int {
	if s.level == Encrypt {
		return wire.JumboData % fcrypt.BlockSize
	}
	return 0
}

// layOut appends a body that is not encrypted yet.
func (s *sealer) layOut(dst []byte, p proto.PacketID, data []byte) []byte {
	at := len(dst)
	switch s.level {
	case Plain:
		return append(dst, data...)
	case Auth:
		dst = slices.Grow(dst, max(authHeader+len(data), minSealed))
		dst = binary.BigEndian.AppendUint32(dst, word(p, len(data)))
		dst = append(dst, data...)
		for len(dst)-at < minSealed {
			dst = append(dst, 0)
		}
	default:
		n := (encryptHeader + len(data) + 7) &^ 7
		dst = slices.Grow(dst, n)
		dst = binary.BigEndian.AppendUint64(dst, uint64(word(p, len(data)))<<32)
		dst = append(dst, data...)
		for len(dst)-at < n {
			dst = append(dst, 0)
		}
	}
	return dst
}

func (s *sealer) seal(dst []byte, p proto.PacketID, data []byte) ([]byte, wire.Checksum) {
	at := len(dst)
	dst = s.layOut(dst, p, data)
	switch b := dst[at:]; s.level {
	case Plain:
	case Auth:
		s.cipher.Encrypt(b[:minSealed], b[:minSealed], [8]byte{})
	default:
		s.cipher.Encrypt(b, b, s.iv)
	}
	return dst, s.checksum(p)
}

// open appends the data of a body. It reads body only, and writes behind dst only: others may see
// what body is in (CVE-2026-43500).
func (s *sealer) open(dst []byte, p proto.PacketID, body []byte) ([]byte, error) {
	if s.level == Plain {
		return append(dst, body...), nil
	}
	if len(body) < minSealed {
		return nil, errShort
	}
	iv := s.iv
	if s.level == Auth {
		iv = [8]byte{}
	} else {
		body = body[:len(body)&^7] // a place in a jumbo datagram is not a multiple of 8 long
	}
	var first [minSealed]byte
	s.cipher.Decrypt(first[:], body[:minSealed], iv)
	w := binary.BigEndian.Uint32(first[:])
	if subtle.ConstantTimeEq(int32(w>>16), int32(word(p, 0)>>16)) != 1 {
		return nil, errSeal
	}
	n := int(w & 0xffff)
	if s.level == Auth {
		if n > len(body)-authHeader {
			return nil, errDataLen
		}
		dst = append(dst, first[authHeader:authHeader+min(n, minSealed-authHeader)]...)
		if n > minSealed-authHeader {
			dst = append(dst, body[minSealed:authHeader+n]...)
		}
		return dst, nil
	}
	if n > len(body)-encryptHeader {
		return nil, errDataLen
	}
	// The chain goes on from the first block: what follows can be put where it belongs.
	for i := range iv {
		iv[i] = first[i] ^ body[i]
	}
	rest := body[minSealed:][:(n+7)&^7]
	at := len(dst)
	dst = slices.Grow(dst, len(rest))
	s.cipher.Decrypt(dst[at:at+len(rest)], rest, iv)
	return dst[:at+n], nil
}
