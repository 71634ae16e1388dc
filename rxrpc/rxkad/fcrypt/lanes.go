package fcrypt

// lanes is how many blocks are worked on at once: as many as the registers of
// usual processors hold.
const lanes = 3

func (c *Cipher) encrypt3(a, b, d block) (block, block, block) {
	k0, k1 := c.ks[0], c.ks[1]
	al, ar := uint32(a>>32)^k1, uint32(a)^k0
	bl, br := uint32(b>>32)^k1, uint32(b)^k0
	dl, dr := uint32(d>>32)^k1, uint32(d)^k0
	for i := 0; i < rounds-2; i += 2 {
		s, t := c.step[i], c.step[i+1]
		al ^= mix(ar)
		bl ^= mix(br)
		dl ^= mix(dr)
		ar ^= s ^ mix(al)
		br ^= s ^ mix(bl)
		dr ^= s ^ mix(dl)
		al ^= t
		bl ^= t
		dl ^= t
	}
	k0, k1 = c.ks[rounds-2], c.ks[rounds-1]
	al ^= mix(ar)
	bl ^= mix(br)
	dl ^= mix(dr)
	ar ^= mix(al)
	br ^= mix(bl)
	dr ^= mix(dl)
	return block(al^k1)<<32 | block(ar^k0), block(bl^k1)<<32 | block(br^k0), block(dl^k1)<<32 | block(dr^k0)
}

func (c *Cipher) decrypt3(a, b, d block) (block, block, block) {
	k0, k1 := c.ks[rounds-2], c.ks[rounds-1]
	al, ar := uint32(a>>32)^k1, uint32(a)^k0
	bl, br := uint32(b>>32)^k1, uint32(b)^k0
	dl, dr := uint32(d>>32)^k1, uint32(d)^k0
	for i := rounds - 3; i > 0; i -= 2 {
		s, t := c.step[i], c.step[i-1]
		ar ^= mix(al)
		br ^= mix(bl)
		dr ^= mix(dl)
		al ^= s ^ mix(ar)
		bl ^= s ^ mix(br)
		dl ^= s ^ mix(dr)
		ar ^= t
		br ^= t
		dr ^= t
	}
	k0, k1 = c.ks[0], c.ks[1]
	ar ^= mix(al)
	br ^= mix(bl)
	dr ^= mix(dl)
	al ^= mix(ar)
	bl ^= mix(br)
	dl ^= mix(dr)
	return block(al^k1)<<32 | block(ar^k0), block(bl^k1)<<32 | block(br^k0), block(dl^k1)<<32 | block(dr^k0)
}
