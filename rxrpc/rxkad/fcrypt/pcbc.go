package fcrypt

// Encrypt encrypts src into dst in PCBC mode. They have the same length, a multiple of
// 8 bytes (it panics otherwise, as crypto/cipher does), and are the same memory or do not overlap.
// It allocates nothing.
func (c *Cipher) Encrypt(dst, src []byte, iv [BlockSize]byte) {
	check(dst, src)
	chain := load(iv[:])
	for len(src) >= BlockSize {
		plain := load(src)
		sealed := c.encrypt(plain ^ chain)
		store(dst, sealed)
		chain = plain ^ sealed
		dst, src = dst[BlockSize:], src[BlockSize:]
	}
}

// Decrypt undoes Encrypt, with the same rules.
func (c *Cipher) Decrypt(dst, src []byte, iv [BlockSize]byte) {
	check(dst, src)
	chain := load(iv[:])
	for len(src) >= lanes*BlockSize {
		a, b, d := load(src), load(src[8:]), load(src[16:])
		pa, pb, pd := c.decrypt3(a, b, d)
		pa ^= chain
		pb ^= pa ^ a
		pd ^= pb ^ b
		chain = pd ^ d
		store(dst, pa)
		store(dst[8:], pb)
		store(dst[16:], pd)
		dst, src = dst[lanes*BlockSize:], src[lanes*BlockSize:]
	}
	for len(src) >= BlockSize {
		sealed := load(src)
		plain := c.decrypt(sealed) ^ chain
		store(dst, plain)
		chain = plain ^ sealed
		dst, src = dst[BlockSize:], src[BlockSize:]
	}
}

// A Piece is one chain for EncryptMany: Dst and Src as in Encrypt.
type Piece struct{ Dst, Src []byte }

// EncryptMany encrypts pieces, each a chain of its own from iv, several at a time: that is
// faster than one after the other. Pieces may differ in length.
func (c *Cipher) EncryptMany(pieces []Piece, iv [BlockSize]byte) {
	for ; len(pieces) >= lanes; pieces = pieces[lanes:] {
		c.encryptThree((*[lanes]Piece)(pieces), iv)
	}
	for _, p := range pieces {
		c.Encrypt(p.Dst, p.Src, iv)
	}
}

func (c *Cipher) encryptThree(p *[lanes]Piece, iv [BlockSize]byte) {
	n := len(p[0].Src)
	for i := range p {
		check(p[i].Dst, p[i].Src)
		n = min(n, len(p[i].Src))
	}
	x, y, z := load(iv[:]), load(iv[:]), load(iv[:])
	d0, s0, d1, s1, d2, s2 := p[0].Dst, p[0].Src, p[1].Dst, p[1].Src, p[2].Dst, p[2].Src
	for i := 0; i+BlockSize <= n; i += BlockSize {
		a, b, d := load(s0[i:]), load(s1[i:]), load(s2[i:])
		sa, sb, sd := c.encrypt3(a^x, b^y, d^z)
		store(d0[i:], sa)
		store(d1[i:], sb)
		store(d2[i:], sd)
		x, y, z = a^sa, b^sb, d^sd
	}
	for i, chain := range [lanes]block{x, y, z} {
		var rest [BlockSize]byte
		store(rest[:], chain)
		c.Encrypt(p[i].Dst[n:], p[i].Src[n:], rest)
	}
}

func check(dst, src []byte) {
	if len(dst) != len(src) || len(src)%BlockSize != 0 {
		panic("fcrypt: source and destination must have the same length, whole blocks")
	}
}
