package npa

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// decoder reads NDR, the transfer syntax of DCE RPC: everything is aligned to
// its size, counted from the start of the PDU. The first error stays.
type decoder struct {
	b   []byte // the whole PDU, so that offsets can be aligned
	at  int
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// take returns the next n bytes from an offset that is a multiple of align.
func (d *decoder) take(n, align int) []byte {
	at := (d.at + align - 1) &^ (align - 1)
	if d.err != nil || at > len(d.b) || n > len(d.b)-at {
		d.fail(errShort)
		return nil
	}
	d.at = at + n
	return d.b[at:d.at]
}

func (d *decoder) u8() uint8 {
	if b := d.take(1, 1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// pointer reports whether a unique pointer is there; what it points to follows
// behind the structure.
func (d *decoder) pointer() bool { return d.u32() != 0 }

// text returns a string: three counts, then its bytes with a NUL.
func (d *decoder) text(there bool) string {
	if !there {
		return ""
	}
	most, offset, n := d.u32(), d.u32(), d.u32()
	if d.err == nil && (offset != 0 || n > most || n == 0) {
		d.fail(errMalformed)
	}
	if d.err != nil {
		return ""
	}
	if uint64(n) > uint64(len(d.b)) {
		d.fail(errShort)
		return ""
	}
	b := d.take(int(n), 1)
	if d.err != nil {
		return ""
	}
	s := b[:n-1]
	if b[n-1] != 0 || !utf8.Valid(s) || bytes.IndexByte(s, 0) >= 0 {
		d.fail(errMalformed)
	}
	return string(s)
}

// encoder writes NDR. base is where in b the PDU begins.
type encoder struct {
	b    []byte
	base int
	refs uint32
}

func (e *encoder) align(n int) {
	for (len(e.b)-e.base)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) u8(v uint8) { e.b = append(e.b, v) }

func (e *encoder) u16(v uint16) {
	e.align(2)
	e.b = binary.LittleEndian.AppendUint16(e.b, v)
}

func (e *encoder) u32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

func (e *encoder) u64(v uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, v)
}

// pointer writes a unique pointer, which is any number but 0 if there is
// something behind it.
func (e *encoder) pointer(there bool) {
	if !there {
		e.u32(0)
		return
	}
	e.u32(0x00020000 + 4*e.refs)
	e.refs++
}

func (e *encoder) text(s string) {
	if s == "" {
		return
	}
	n := uint32(len(s)) + 1
	e.u32(n)
	e.u32(0)
	e.u32(n)
	e.b = append(append(e.b, s...), 0)
}
