package rxkad

import (
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"math/bits"

	"github.com/jcmturner/gokrb5/v8/crypto"
)

// Encryption types of Kerberos that need special treatment (RFC 3961 and the registry that it began).
const (
	desCBCCRC  = 1
	desCBCMD4  = 2
	desCBCMD5  = 3
	des3CBCMD5 = 5
	des3CBCSHA = 7
	des3SHA1KD = 16
)

var errKeyType = errors.New("a session key of a type that has none for rxkad")

// sessionKey makes the key of a connection of a Kerberos session key (draft-kaduk-afs3-rxkad-k5-kdf): a DES key
// is one, of a DES3 key the parity is taken out first, and others go through the derivation function.
func sessionKey(enctype int32, key []byte) ([8]byte, error) {
	switch enctype {
	case desCBCCRC, desCBCMD4, desCBCMD5:
		if len(key) != 8 {
			return [8]byte{}, errKeyType
		}
		return [8]byte(key), nil
	case 0, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15:
		return [8]byte{}, errKeyType
	case des3CBCMD5, des3CBCSHA, des3SHA1KD:
		if len(key) != 24 {
			return [8]byte{}, errKeyType
		}
		c := compressDES3(key)
		defer clear(c)
		return deriveDES(c)
	}
	if enctype < 0 || len(key) < 7 {
		return [8]byte{}, errKeyType
	}
	return deriveDES(key)
}

// compressDES3 takes out the bits that were parity when the key was made of 21 random bytes: in each group of eight
// the last byte has the low bits of the other seven.
func compressDES3(key []byte) []byte {
	out := make([]byte, 0, 21)
	for ; len(key) >= 8; key = key[8:] {
		for j := range 7 {
			out = append(out, key[j]&^1|key[7]>>(j+1)&1)
		}
	}
	return out
}

// deriveDES is the counter mode of SP 800-108 with HMAC-MD5: the first of 255 results that is not a weak key.
func deriveDES(key []byte) ([8]byte, error) {
	for i := range 255 {
		h := hmac.New(md5.New, key)
		h.Write([]byte{byte(i + 1), 'r', 'x', 'k', 'a', 'd', 0, 0, 0, 0, 64})
		var buf [md5.Size]byte
		k := [8]byte(h.Sum(buf[:0]))
		clear(buf[:])
		fixParity(&k)
		if !weakKey(k) {
			return k, nil
		}
	}
	return [8]byte{}, errKeyType
}

// fixParity makes the number of bits in each byte odd, by the lowest.
func fixParity(k *[8]byte) {
	for i, b := range k {
		k[i] = b&^1 | byte(bits.OnesCount8(b&^1)+1)&1
	}
}

// weakKeys are the weak and half-weak keys of DES, with odd parity.
var weakKeys = map[[8]byte]bool{
	{0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01}: true, {0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe}: true,
	{0x1f, 0x1f, 0x1f, 0x1f, 0x0e, 0x0e, 0x0e, 0x0e}: true, {0xe0, 0xe0, 0xe0, 0xe0, 0xf1, 0xf1, 0xf1, 0xf1}: true,
	{0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe}: true, {0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01}: true,
	{0x1f, 0xe0, 0x1f, 0xe0, 0x0e, 0xf1, 0x0e, 0xf1}: true, {0xe0, 0x1f, 0xe0, 0x1f, 0xf1, 0x0e, 0xf1, 0x0e}: true,
	{0x01, 0xe0, 0x01, 0xe0, 0x01, 0xf1, 0x01, 0xf1}: true, {0xe0, 0x01, 0xe0, 0x01, 0xf1, 0x01, 0xf1, 0x01}: true,
	{0x1f, 0xfe, 0x1f, 0xfe, 0x0e, 0xfe, 0x0e, 0xfe}: true, {0xfe, 0x1f, 0xfe, 0x1f, 0xfe, 0x0e, 0xfe, 0x0e}: true,
	{0x01, 0x1f, 0x01, 0x1f, 0x01, 0x0e, 0x01, 0x0e}: true, {0x1f, 0x01, 0x1f, 0x01, 0x0e, 0x01, 0x0e, 0x01}: true,
	{0xe0, 0xfe, 0xe0, 0xfe, 0xf1, 0xfe, 0xf1, 0xfe}: true, {0xfe, 0xe0, 0xfe, 0xe0, 0xfe, 0xf1, 0xfe, 0xf1}: true,
}

// weakKey tells a weak key whatever its parity.
func weakKey(k [8]byte) bool {
	fixParity(&k)
	return weakKeys[k]
}

// IsWeak reports whether a DES key is one of the sixteen weak and half-weak ones, whatever its parity.
func IsWeak(key [8]byte) bool { return weakKey(key) }

// KeySize returns the length in bytes of keys of an encryption type of Kerberos, or of DES; false if tickets cannot
// have it.
func KeySize(enctype int32) (int, bool) {
	if enctype == DES {
		return 8, true
	}
	et, err := crypto.GetEtype(enctype)
	if err != nil {
		return 0, false
	}
	return et.GetKeyByteSize(), true
}
