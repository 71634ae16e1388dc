package rxkad

import (
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/rxkad/fcrypt"
)

// atOnce is how many packets sealMany gives the cipher: it works on some of them at a time, and
// more than these gain nothing.
const atOnce = 12

// sealMany is seal for many packets, faster than one after the other.
func (s *sealer) sealMany(packets []proto.Sealing) {
	for len(packets) > 0 {
		n := min(len(packets), atOnce)
		s.sealSome(packets[:n])
		packets = packets[n:]
	}
}

func (s *sealer) sealSome(packets []proto.Sealing) {
	var pieces [atOnce]fcrypt.Piece
	var sums [atOnce][8]byte
	n := len(packets)
	for i := range packets {
		p := &packets[i]
		at := len(p.Body)
		p.Body = s.layOut(p.Body, p.ID, p.Data)
		b := p.Body[at:]
		if s.level == Auth {
			b = b[:minSealed]
		}
		pieces[i] = fcrypt.Piece{Dst: b, Src: b}
	}
	switch s.level {
	case Plain:
	case Auth:
		s.cipher.EncryptMany(pieces[:n], [8]byte{})
	default:
		s.cipher.EncryptMany(pieces[:n], s.iv)
	}
	for i := range packets {
		numbers(sums[i][:], packets[i].ID)
		pieces[i] = fcrypt.Piece{Dst: sums[i][:], Src: sums[i][:]}
	}
	s.cipher.EncryptMany(pieces[:n], s.sumIV)
	for i := range packets {
		packets[i].Checksum = sum(sums[i][:])
	}
}
