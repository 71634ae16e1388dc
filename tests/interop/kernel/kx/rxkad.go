//go:build linux

package main

import (
	"crypto/des"
	"encoding/binary"
	"math/bits"
	"time"
)

func parity(k []byte) {
	for i, b := range k {
		b &= 0xfe
		if bits.OnesCount8(b)%2 == 0 {
			b |= 1
		}
		k[i] = b
	}
}

// pcbcDES encrypts in PCBC mode; rxkad uses IV = key for tickets.
func pcbcDES(key, iv, in []byte) []byte {
	c, err := des.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(in))
	x := append([]byte(nil), iv...)
	var t [8]byte
	for i := 0; i < len(in); i += 8 {
		for j := range t {
			t[j] = in[i+j] ^ x[j]
		}
		c.Encrypt(out[i:], t[:])
		for j := range t {
			x[j] = in[i+j] ^ out[i+j]
		}
	}
	return out
}

// v4Ticket builds a Kerberos-v4-style rxkad ticket, big-endian time (flags=0).
func v4Ticket(name, inst, realm, sname, sinst string, session []byte, issued time.Time, life byte) []byte {
	var b []byte
	b = append(b, 0) // flags: bit0 set = little-endian issue time
	for _, s := range []string{name, inst, realm} {
		b = append(append(b, s...), 0)
	}
	b = append(b, 0, 0, 0, 0) // address: ignored
	b = append(b, session...)
	b = append(b, life) // units of 5 minutes
	b = binary.BigEndian.AppendUint32(b, uint32(issued.Unix()))
	for _, s := range []string{sname, sinst} {
		b = append(append(b, s...), 0)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// rxrpcKeyV1 is the non-XDR payload of an "rxrpc" key: native-endian
//
//	u32 version=1; u16 security_index; u16 ticket_len; u32 expiry; u32 kvno;
//	u8 session_key[8]; u8 ticket[]
func rxrpcKeyV1(secIndex uint16, expiry time.Time, kvno uint32, session, ticket []byte) []byte {
	e := binary.NativeEndian
	var b []byte
	b = e.AppendUint32(b, 1)
	b = e.AppendUint16(b, secIndex)
	b = e.AppendUint16(b, uint16(len(ticket)))
	b = e.AppendUint32(b, uint32(expiry.Unix()))
	b = e.AppendUint32(b, kvno)
	b = append(b, session...)
	return append(b, ticket...)
}
