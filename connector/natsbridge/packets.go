package natsbridge

import "math/bits"

// sizeHint is how long packets have been of late, so that the next one needs not to grow.
type sizeHint int

const (
	packetLeast = 512
	packetRoom  = fillPacket + 4<<10
)

func (h *sizeHint) was(n int) { *h = max(sizeHint(n), *h/2) }

// packets is the memory of packets that are not needed any more, by size: steady traffic needs no other. What is made anew has to be
// cleared, and collected.
type packets struct {
	free [9][][]byte
}

// sparePackets is how many of each size are kept: of the largest half of what a link may have under way.
const sparePackets = linkFlight / fillPacket / 2

// get returns a packet without records, with room for somewhat more than size bytes.
func (s *packets) get(size sizeHint) []byte {
	class, room := packetClass(int(size) + int(size)/8)
	list := s.free[class]
	last := len(list) - 1
	if last < 0 {
		return make([]byte, packetHeaderLen, room)
	}
	b := list[last]
	list[last] = nil
	s.free[class] = list[:last]
	return b[:packetHeaderLen]
}

// put takes a packet that nobody has any more.
func (s *packets) put(b []byte) {
	class, room := packetClass(cap(b))
	if cap(b) == room && len(s.free[class]) < sparePackets { // it has not grown
		s.free[class] = append(s.free[class], b)
	}
}

// packetClass is the class of packets of at least n bytes, and how long they are.
func packetClass(n int) (class, room int) {
	n = min(max(n, packetLeast), packetRoom)
	class = bits.Len(uint(n-1) / packetLeast)
	return class, min(packetLeast<<class, packetRoom)
}
