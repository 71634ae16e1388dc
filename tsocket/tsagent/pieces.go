package tsagent

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/tsocket"
)

// A pieceReader receives what the kernel hands over as one piece (UDP_GRO) where it is to be in the message: nothing is
// copied. Small pieces go together in one message instead. All that came with one system call is one batch.
type pieceReader struct {
	mem    [][]byte // a message each: header, record, address, data, padding
	pieces []tsocket.Piece
	alen   int
	w      BatchWriter
	never  bool // this kind of socket, or this system, has none
}

const (
	// pieceCount is how many pieces are received at a time.
	pieceCount = 8
	// smallPiece is how long a piece is that is rather copied than sent alone.
	smallPiece = 4096
	pieceRoom  = 1 << 16
)

// receive receives and sends once. It reports false, and has done nothing, where there are no pieces. Without ctx it does not wait.
func (p *pieceReader) receive(ctx context.Context, s *sock) (done bool, err error) {
	if p.never {
		return false, nil
	}
	if p.mem == nil && !p.prepare(s) {
		return false, nil
	}
	n := 0
	if ctx == nil {
		n, err = s.dgram.TryRecvPieces(p.pieces)
	} else {
		n, err = s.dgram.RecvPieces(ctx, p.pieces)
	}
	if errors.Is(err, tsocket.ErrNotSupported) {
		p.never = true
		*p = pieceReader{never: true}
		return false, nil
	}
	p.w.Reset(append(p.w.B[:0], zeroHeader[:]...))
	for i := range n {
		piece := &p.pieces[i]
		s.countIn(len(piece.Data))
		if len(piece.Data) >= smallPiece && p.put(i) {
			p.flush(s, true)
			end := HeaderLen + recordLen + p.alen + len(piece.Data)
			s.a.stats.datagramsIn.Add(uint64((len(piece.Data) + piece.Size - 1) / piece.Size))
			s.sendBatch(p.mem[i][:end+pad(len(piece.Data))], i < n-1)
			continue
		}
		for data, first := piece.Data, true; first || len(data) > 0; first = false {
			k := min(piece.Size, len(data))
			p.w.Add(data[:k], piece.Addr)
			data = data[k:]
			s.a.stats.datagramsIn.Add(1)
		}
	}
	p.flush(s, false)
	return true, err
}

// prepare makes the memory. The addresses of a socket are of one length.
func (p *pieceReader) prepare(s *sock) bool {
	raw, err := s.anyAddr().AppendRaw(nil)
	if p.never = err != nil || s.anyAddr().IsUnix(); p.never {
		return false
	}
	p.alen = len(raw)
	head := HeaderLen + recordLen + p.alen
	p.mem, p.pieces = make([][]byte, pieceCount), make([]tsocket.Piece, pieceCount)
	for i := range p.mem {
		p.mem[i] = make([]byte, head+pieceRoom+4)
		p.pieces[i].Buf = p.mem[i][head : head+pieceRoom]
	}
	return true
}

// put writes the record in front of the i-th piece, and the padding behind it.
func (p *pieceReader) put(i int) bool {
	m, piece := p.mem[i], &p.pieces[i]
	raw, err := piece.Addr.AppendRaw(m[HeaderLen+recordLen : HeaderLen+recordLen : HeaderLen+recordLen+p.alen])
	if err != nil || len(raw) != p.alen {
		return false
	}
	segment := piece.Size
	if segment >= len(piece.Data) {
		segment = 0
	}
	h := m[HeaderLen:]
	native.PutUint32(h, uint32(len(piece.Data)))
	native.PutUint16(h[4:], uint16(segment))
	native.PutUint16(h[6:], uint16(p.alen))
	clear(m[HeaderLen+recordLen+p.alen+len(piece.Data):][:4])
	return true
}

// flush sends the small pieces; more says that something follows.
func (p *pieceReader) flush(s *sock, more bool) {
	if p.w.Len() > 0 {
		s.sendBatch(p.w.Body(), more)
		p.w.Reset(append(p.w.B[:0], zeroHeader[:]...))
	}
}
