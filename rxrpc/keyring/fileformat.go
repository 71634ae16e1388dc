package keyring

import (
	"encoding/binary"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// parseKeyFile parses
//
//	count 4 | count times { version 4 | DES key 8 }
//
// Old files have room for eight keys, whatever is in it.
func parseKeyFile(b []byte) ([]fileKey, error) {
	x := xdr{b: b}
	n := x.u32()
	if x.bad || uint64(n)*12 > uint64(len(x.b)) {
		return nil, ErrFormat
	}
	keys := make([]fileKey, 0, n)
	for range n {
		version, key := x.u32(), x.take(8)
		keys = append(keys, fileKey{version, rxkad.DES, rxkad.NewKey(key)})
	}
	return keys, nil
}

// Types of keys in KeyFileExt (OpenAFS afs/cellconfig.h); 1 is rxgk.
const (
	extRxKAD     = 0 // DES; it is in KeyFile usually
	extRxKADKrb5 = 2 // of the encryption type that the subtype says
)

// maxFileKey is the longest key that is read, in bytes.
const maxFileKey = 256

// parseKeyFileExt parses
//
//	count 4 | count times { length of this header 4 | type 4 | version 4 | subtype 4 | ... | key length 4 | key }
func parseKeyFileExt(b []byte) ([]fileKey, error) {
	x := xdr{b: b}
	n := x.u32()
	if x.bad || uint64(n)*20 > uint64(len(x.b)) {
		return nil, ErrFormat
	}
	var keys []fileKey
	for range n {
		header := x.u32()
		typ, version, subtype := x.u32(), x.u32(), x.u32()
		if header < 16 || header > maxFile {
			return nil, ErrFormat
		}
		x.take(int(header) - 16)
		length := x.u32()
		if length > maxFileKey {
			return nil, ErrFormat
		}
		key := x.take(int(length))
		if x.bad {
			return nil, ErrFormat
		}
		k := fileKey{version, int32(subtype), rxkad.Key{}}
		switch typ {
		case extRxKAD:
			k.enctype = rxkad.DES
		case extRxKADKrb5:
		default:
			continue // of another security class
		}
		if size, ok := rxkad.KeySize(k.enctype); ok && size == len(key) {
			k.key = rxkad.NewKey(key)
			keys = append(keys, k)
		}
	}
	if x.bad {
		return nil, ErrFormat
	}
	return keys, nil
}

// keytabVersion2 begins a keytab whose numbers are big-endian, as all have been for decades.
const keytabVersion2 = 0x0502

// checkKeytab checks the outer form of a keytab: the library's errors have the file in them, keys and all, so they are not passed on, and
// what it is given, the result, has entries of lengths that can be.
func checkKeytab(b []byte) ([]byte, error) {
	if len(b) < 2 || binary.BigEndian.Uint16(b) != keytabVersion2 {
		return nil, ErrFormat
	}
	whole := append(make([]byte, 0, len(b)), b[:2]...)
	for x := (xdr{b: b[2:]}); len(x.b) > 0; {
		n := int(int32(x.u32()))
		if n == 0 {
			break
		}
		entry := x.take(max(n, -n))
		if x.bad {
			return nil, ErrFormat
		}
		if n < 0 {
			continue // a hole
		}
		if !goodEntry(entry) {
			return nil, ErrFormat
		}
		whole = binary.BigEndian.AppendUint32(whole, uint32(n))
		whole = append(whole, entry...)
	}
	return whole, nil
}

// goodEntry checks the lengths in an entry: components 2 | realm | components | name type 4 | time 4 | version 1 | type 2 |
// key | perhaps version 4, where realm, components and key have their length, 2, before them.
func goodEntry(b []byte) bool {
	x := xdr{b: b}
	u16 := func() int {
		if b := x.take(2); b != nil {
			return int(int16(binary.BigEndian.Uint16(b)))
		}
		return 0
	}
	n := u16()
	if n < 0 {
		return false
	}
	for range n + 1 {
		if x.take(u16()); x.bad {
			return false
		}
	}
	x.take(11)
	x.take(u16())
	return !x.bad
}
