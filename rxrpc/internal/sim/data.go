package sim

import "encoding/binary"

// A stream is the data of one direction of a call: any part of it can be made anew, to
// be sent or to be compared.
type stream uint64

func requestOf(call int) stream { return stream(mix(uint64(call)<<1 | 1)) }
func replyOf(call int) stream   { return stream(mix(uint64(call) << 1)) }

// fill writes the bytes from offset off.
func (s stream) fill(b []byte, off int) {
	for len(b) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], mix(uint64(s)+uint64(off/8)))
		n := copy(b, w[off%8:])
		b, off = b[n:], off+n
	}
}

// differs returns the offset of the first byte of b that is not the stream's from off on, or -1.
func (s stream) differs(b []byte, off int) int {
	at := off
	for len(b) >= 8 && at%8 == 0 {
		if binary.LittleEndian.Uint64(b) != mix(uint64(s)+uint64(at/8)) {
			break
		}
		b, at = b[8:], at+8
	}
	for i, v := range b {
		var w [1]byte
		s.fill(w[:], at+i)
		if w[0] != v {
			return at + i
		}
	}
	return -1
}
