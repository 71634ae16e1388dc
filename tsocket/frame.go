package tsocket

import "encoding/binary"

// SizeFunc says how long the PDU is that begins with prefix, which is at least
// one byte and as much as has been read: its length with everything, 0 if that takes more of it
// to know, or an error if no PDU begins like this. What it returns is held against the
// reader's limit before anything is allocated.
type SizeFunc func(prefix []byte) (int, error)

// U16Size is for PDUs behind two bytes, big-endian, that say how much follows.
func U16Size(prefix []byte) (int, error) {
	if len(prefix) < 2 {
		return 0, nil
	}
	return 2 + int(binary.BigEndian.Uint16(prefix)), nil
}

// U32Size is for PDUs behind four bytes, big-endian, that say how much follows.
func U32Size(prefix []byte) (int, error) {
	if len(prefix) < 4 {
		return 0, nil
	}
	n := int64(binary.BigEndian.Uint32(prefix)) + 4
	if int64(int(n)) != n {
		return 0, ErrFrame
	}
	return int(n), nil
}

// netlinkHeader is the size of a struct nlmsghdr.
const netlinkHeader = 16

// NetlinkSize is for netlink messages, one behind the other as in a netlink
// socket's datagram: the first four bytes, in the byte order of the host, are the length with the
// header of 16 bytes, and the next message begins at a multiple of four. The PDU includes
// the padding.
func NetlinkSize(prefix []byte) (int, error) {
	if len(prefix) < 4 {
		return 0, nil
	}
	n := binary.NativeEndian.Uint32(prefix)
	if n < netlinkHeader || n > 1<<31-4 {
		return 0, ErrFrame
	}
	return int(n+3) &^ 3, nil
}
