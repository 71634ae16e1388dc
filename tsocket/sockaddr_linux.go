package tsocket

import "encoding/binary"

const abstractNames = true

// struct sockaddr begins with the family, two bytes.
func rawFamily(b []byte) int { return int(binary.NativeEndian.Uint16(b)) }

func putFamily(raw *rawSockaddr, family, _ int) {
	binary.NativeEndian.PutUint16(raw[:], uint16(family))
}
