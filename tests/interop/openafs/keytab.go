package openafs

import (
	"encoding/binary"
	"strings"
)

// The AES key of a cell with Mode K5 or Both.
const (
	AESKey        = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	AESKeyVersion = 5
	AESType       = 18 // aes256-cts-hmac-sha1-96
)

// CellName is the name of every cell here.
const CellName = "rig.test"

// Principal of the cell's service, and its realm.
const (
	Principal = "afs/" + CellName
	Realm     = "RIG.TEST"
)

// keytab is an MIT keytab of version 0x502 with one entry: asetkey takes a krb5
// key from nothing else.
func keytab(principal, realm string, version byte, enctype uint16, key []byte) []byte {
	be := binary.BigEndian
	str := func(b []byte, s string) []byte { return append(be.AppendUint16(b, uint16(len(s))), s...) }

	parts := strings.Split(principal, "/")
	e := be.AppendUint16(nil, uint16(len(parts)))
	e = str(e, realm)
	for _, p := range parts {
		e = str(e, p)
	}
	e = be.AppendUint32(e, 1) // KRB5_NT_PRINCIPAL
	e = be.AppendUint32(e, 0) // time
	e = append(e, version)
	e = be.AppendUint16(e, enctype)
	e = str(e, string(key))
	e = be.AppendUint32(e, uint32(version))

	b := be.AppendUint16(nil, 0x502)
	b = be.AppendUint32(b, uint32(len(e)))
	return append(b, e...)
}
