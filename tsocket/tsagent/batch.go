package tsagent

import (
	"github.com/cnbus/cnbus/tsocket"
)

const (
	recordLen = 8
	// maxBatch is how many datagrams a batch may hold.
	maxBatch = 1024
	// batchBytes is how many bytes a batch takes before its last datagram.
	batchBytes = 64 << 10
	// maxStage is the longest batch, over all its messages: a datagram of any size fits behind a full batch.
	maxStage = batchBytes + 1<<17
)

// BatchWriter makes the body of a batch: records of
//
//	0      4         6      8
//	| len  | segment | alen | address ... | data ...
//
// address and data each padded to a multiple of 4. A record is one datagram, or, if segment is not 0, datagrams
// of that size side by side, of which the last may be shorter. alen 0xffff is the address of the
// record before. The zero BatchWriter is ready; B may be set to what the body is to be appended to.
type BatchWriter struct {
	B []byte

	rec    int // where the open record begins
	open   bool
	whole  bool // it takes no more datagrams
	named  bool // there was a record, with addr
	addr   tsocket.Addr
	first  int // size of the first datagram of the record
	length int
	n      int
}

// Reset begins a new batch behind b.
func (w *BatchWriter) Reset(b []byte) { *w = BatchWriter{B: b, addr: w.addr} }

// Len returns how many datagrams there are.
func (w *BatchWriter) Len() int { return w.n }

// Add appends a datagram.
func (w *BatchWriter) Add(data []byte, addr tsocket.Addr) {
	w.n++
	if w.open && !w.whole && addr == w.addr && len(data) > 0 && len(data) <= w.first && w.length+len(data) < 1<<16 {
		w.B = append(w.B, data...)
		w.length += len(data)
		w.whole = len(data) < w.first
		h := w.B[w.rec:]
		native.PutUint32(h, uint32(w.length))
		native.PutUint16(h[4:], uint16(w.first))
		return
	}
	w.close()
	w.rec = len(w.B)
	w.B = append(w.B, 0, 0, 0, 0, 0, 0, 0, 0)
	alen := sameAddr
	if !w.named || addr != w.addr {
		w.B, _ = addr.AppendRaw(w.B)
		alen = len(w.B) - w.rec - recordLen
		w.B = append(w.B, zeros[:pad(alen)]...)
		w.addr, w.named = addr, true
	}
	h := w.B[w.rec:]
	native.PutUint32(h, uint32(len(data)))
	native.PutUint16(h[4:], 0)
	native.PutUint16(h[6:], uint16(alen))
	w.B = append(w.B, data...)
	w.open, w.first, w.length = true, len(data), len(data)
	w.whole = len(data) == 0 || len(data) >= 1<<16
}

var zeros [4]byte

func (w *BatchWriter) close() {
	if w.open {
		w.B = append(w.B, zeros[:pad(w.length)]...)
		w.open = false
	}
}

// fits reports whether a datagram of n bytes to addr can be added without B becoming longer than most, pessimistically.
func (w *BatchWriter) fits(n, most int) bool {
	return len(w.B)+recordLen+maxRaw+n+2*4 <= most
}

// Body ends the batch and returns all of B.
func (w *BatchWriter) Body() []byte {
	w.close()
	return w.B
}

// ParseBatch appends the datagrams of a batch to msgs; their Data are parts of body. EINVAL for lengths that
// lie, EMSGSIZE for more than 1024 datagrams. msgs are then as they were.
func ParseBatch(msgs []tsocket.Message, body []byte) ([]tsocket.Message, error) {
	var names rawNames
	return names.parseBatch(msgs, body)
}

func (c *rawNames) parseBatch(msgs []tsocket.Message, body []byte) ([]tsocket.Message, error) {
	before := len(msgs)
	var addr tsocket.Addr
	for named := false; len(body) > 0; named = true {
		data, segment, rest, err := c.record(body, &addr, named)
		if err != nil {
			return msgs[:before], err
		}
		body = rest
		for first := true; first || len(data) > 0; first = false {
			if len(msgs)-before == maxBatch {
				return msgs[:before], errMany
			}
			k := min(segment, len(data))
			msgs = append(msgs, tsocket.Message{Data: data[:k:k], Addr: addr})
			data = data[k:]
		}
	}
	return msgs, nil
}

// record reads the next record: its data, the size of its datagrams, and what follows it. addr is the address of the record before, if
// there was one (named), and becomes that of this.
func (c *rawNames) record(body []byte, addr *tsocket.Addr, named bool) (data []byte, segment int, rest []byte, err error) {
	if len(body) < recordLen {
		return nil, 0, nil, errRecord
	}
	length, segment, alen := uint64(native.Uint32(body)), int(native.Uint16(body[4:])), int(native.Uint16(body[6:]))
	body = body[recordLen:]
	if alen == sameAddr {
		if !named {
			return nil, 0, nil, errSameAddr
		}
	} else {
		if alen > maxRaw || len(body) < alen+pad(alen) {
			return nil, 0, nil, errAddr
		}
		if *addr, err = c.decode(body[:alen]); err != nil {
			return nil, 0, nil, err
		}
		body = body[alen+pad(alen):]
	}
	if length > uint64(len(body)) || int(length)+pad(int(length)) > len(body) {
		return nil, 0, nil, errData
	}
	n := int(length)
	if segment == 0 {
		segment = n
	} else if segment >= n {
		return nil, 0, nil, errSegment
	}
	return body[:n:n], segment, body[n+pad(n):], nil
}

// A batchReader reads a batch some datagrams at a time.
type batchReader struct {
	rest    []byte
	data    []byte // of a record, as far as it is not read
	segment int
	named   bool
	addr    tsocket.Addr
	names   rawNames
}

func (b *batchReader) reset(body []byte) {
	*b = batchReader{rest: body, names: b.names}
}

// read puts the next datagrams into msgs, and returns them; none at the end.
func (b *batchReader) read(msgs []tsocket.Message) []tsocket.Message {
	n := 0
	for n < len(msgs) {
		if len(b.data) == 0 {
			if len(b.rest) == 0 {
				break
			}
			var err error
			if b.data, b.segment, b.rest, err = b.names.record(b.rest, &b.addr, b.named); err != nil {
				b.reset(nil) // not of a batch that was made here
				break
			}
			b.named = true
		}
		k := min(b.segment, len(b.data))
		msgs[n] = tsocket.Message{Data: b.data[:k:k], Addr: b.addr}
		b.data = b.data[k:]
		n++
	}
	return msgs[:n]
}
