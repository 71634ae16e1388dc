package tsocket

// Message is a datagram of a batch.
type Message struct {
	// Buf is memory to receive into. It may be nil, or too small: nothing is
	// ever cut off.
	Buf []byte
	// Data is the datagram: to be sent, or received. If it fits into Buf it is there; otherwise
	// it is in memory of the Dgram, valid until the next receive of any kind.
	Data []byte
	// Addr is where it goes (the zero Addr: to the peer that the socket is
	// connected to), or where it comes from.
	Addr Addr
}
