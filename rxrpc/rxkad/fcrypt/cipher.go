package fcrypt

import (
	"encoding/binary"
	"fmt"
)

// Sizes in bytes.
const (
	BlockSize = 8
	KeySize   = 8 // the low bit of each byte is parity and not used
)

const rounds = 16

// A Cipher holds the schedule of one key. The zero Cipher has the all-zero key's. It is not
// printed with its key; Wipe forgets it.
type Cipher struct {
	// ks[i] is round i's key. A half of the block is looked up xor the key of its round,
	// so it is kept that way: the key comes in two rounds before, when nothing waits for it.
	ks [rounds]uint32
	// step[i] turns a half that was looked up in round i into what is looked up in round i+2.
	step [rounds - 2]uint32
}

// New returns the cipher of a key.
func New(key [KeySize]byte) *Cipher {
	c := new(Cipher)
	c.SetKey(key)
	return c
}

// SetKey replaces the key.
func (c *Cipher) SetKey(key [KeySize]byte) {
	var k uint64
	for _, b := range key {
		k = k<<7 | uint64(b>>1)
	}
	for i := range c.ks {
		c.ks[i] = uint32(k)
		k = k>>11 | k<<(56-11)&(1<<56-1)
	}
	for i := range c.step {
		c.step[i] = c.ks[i] ^ c.ks[i+2]
	}
}

// Wipe forgets the key.
func (c *Cipher) Wipe() { *c = Cipher{} }

// Format prints that it is a cipher, and nothing of its key.
func (*Cipher) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("fcrypt.Cipher{...}")) }

// table[j] is what byte j of a half, from the most significant, adds to the other half.
var table = func() (t [4][256]uint32) {
	for i := range 256 {
		t[0][i] = uint32(boxes[0][i]) << 3
		t[1][i] = uint32(boxes[1][i])<<27 | uint32(boxes[1][i])>>5
		t[2][i] = uint32(boxes[2][i]) << 11
		t[3][i] = uint32(boxes[3][i]) << 19
	}
	return t
}()

// mix is the round function of a half that has its key in it already.
func mix(u uint32) uint32 {
	return table[0][u>>24] ^ table[1][uint8(u>>16)] ^ table[2][uint8(u>>8)] ^ table[3][uint8(u)]
}

// A block is two halves, as on the wire from the left: the most significant first.
type block uint64

func load(b []byte) block     { return block(binary.BigEndian.Uint64(b)) }
func store(b []byte, v block) { binary.BigEndian.PutUint64(b, uint64(v)) }

// encrypt changes the right half's keys in even rounds' step, the left one's in odd rounds'.
func (c *Cipher) encrypt(v block) block {
	l, r := uint32(v>>32)^c.ks[1], uint32(v)^c.ks[0]
	for i := 0; i < rounds-2; i += 2 {
		l ^= mix(r)
		r ^= c.step[i] ^ mix(l)
		l ^= c.step[i+1]
	}
	l ^= mix(r)
	r ^= mix(l)
	return block(l^c.ks[rounds-1])<<32 | block(r^c.ks[rounds-2])
}

func (c *Cipher) decrypt(v block) block {
	l, r := uint32(v>>32)^c.ks[rounds-1], uint32(v)^c.ks[rounds-2]
	for i := rounds - 3; i > 0; i -= 2 {
		r ^= mix(l)
		l ^= c.step[i] ^ mix(r)
		r ^= c.step[i-1]
	}
	r ^= mix(l)
	l ^= mix(r)
	return block(l^c.ks[1])<<32 | block(r^c.ks[0])
}
