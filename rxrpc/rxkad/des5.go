package rxkad

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash/crc32"

	//lint:ignore SA1019 the protocol has it
	"golang.org/x/crypto/md4"
)

var errDES = errors.New("DES ticket with a wrong checksum")

// decryptDES undoes the DES encryption of Kerberos 5 (RFC 3961, section 6.2): a block of confounder, a
// checksum of everything with itself 0, the message, padding.
func decryptDES(enctype int32, key [8]byte, sealed []byte) ([]byte, error) {
	size := 16
	var iv [8]byte
	if enctype == desCBCCRC {
		size, iv = 4, key
	}
	if len(sealed)%des.BlockSize != 0 || len(sealed) < des.BlockSize+size {
		return nil, errDES
	}
	block, err := des.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv[:]).CryptBlocks(plain, sealed)
	sum := append([]byte(nil), plain[des.BlockSize:des.BlockSize+size]...)
	clear(plain[des.BlockSize : des.BlockSize+size])
	if subtle.ConstantTimeCompare(sum, desSum(enctype, plain)) != 1 {
		return nil, errDES
	}
	return plain[des.BlockSize+size:], nil
}

func desSum(enctype int32, b []byte) []byte {
	switch enctype {
	case desCBCCRC:
		// CRC-32 without the inversions before and after.
		return binary.LittleEndian.AppendUint32(nil, ^crc32.Update(^uint32(0), crc32.IEEETable, b))
	case desCBCMD4:
		h := md4.New()
		h.Write(b)
		return h.Sum(nil)
	}
	s := md5.Sum(b)
	return s[:]
}
