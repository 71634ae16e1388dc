//go:build unix && !linux

package tsocket

const abstractNames = false

// struct sockaddr begins with its length and the family, a byte each.
func rawFamily(b []byte) int { return int(b[1]) }

func putFamily(raw *rawSockaddr, family, size int) {
	raw[0], raw[1] = byte(size), byte(family)
}
