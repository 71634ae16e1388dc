package tsocket

// Piece is datagrams of one sender that came together, side by side. See Dgram.RecvPieces.
type Piece struct {
	Buf  []byte // memory for them, of 64 KiB or more
	Data []byte // all of them, in Buf
	Size int    // how long each is, but for the last, which may be shorter; 0: one without data
	Addr Addr   // where they come from
}

func validPieces(pieces []Piece) bool {
	for i := range pieces {
		if len(pieces[i].Buf) < maxUDP {
			return false
		}
	}
	return len(pieces) > 0
}

// whole makes a piece of one datagram.
func (p *Piece) whole(data []byte, src Addr) {
	p.Data, p.Size, p.Addr = p.Buf[:copy(p.Buf, data)], len(data), src
}
