package fcrypt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func eight(t testing.TB, s string) (b [8]byte) {
	t.Helper()
	require.Len(t, unhex(t, s), 8)
	copy(b[:], unhex(t, s))
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// The published vectors of both other implementations.
func TestVectors(t *testing.T) {
	fox := hex.EncodeToString([]byte("The quick brown fox jumps over the lazy dogs.\x00\x00\x00"))
	for _, v := range [][4]string{
		{"0000000000000000", "0000000000000000", "0000000000000000", "0e0900c73ef7ed41"},
		{"114477aadd003366", "0000000000000000", "123456789abcdef0", "d8ed787477ec0680"},
		{
			"f0e1d2c3b4a59687", "fedcba9876543210", fox,
			"00f00e1175e62382eeac98624451e484c359d8aa6460aef7d2d9137972a3450323b562d70cf527d1f8913cac442292ef",
		},
		{
			"fedcba9876543210", "f0e1d2c3b4a59687", fox,
			"ca90f59dcbd4d23c01887f3e316e629dd8e057a3063a42582a28fe72522fdde01989091c2a8e8c94fcc768e488aade0f",
		},
	} {
		c, iv, plain := New(eight(t, v[0])), eight(t, v[1]), unhex(t, v[2])
		got := make([]byte, len(plain))
		c.Encrypt(got, plain, iv)
		require.Equal(t, v[3], hex.EncodeToString(got))
		c.Decrypt(got, got, iv)
		require.Equal(t, plain, got, "and back, in place")
	}
}

func TestBoxes(t *testing.T) {
	for i, prefix := range []string{"ffd5d4f5f65b62e1", "a8f88496c3b3b9db", "8f67fbeac3181363", "207791ac8401cbe5"} {
		sum := sha256.Sum256(boxes[i][:])
		require.Equal(t, prefix, hex.EncodeToString(sum[:8]))
	}
}

// naive is the cipher as the reference states it, a block and a round at a time.
func naive(key [8]byte, v uint64, back bool) uint64 {
	var k uint64
	for _, b := range key {
		k = k<<7 | uint64(b>>1)
	}
	var ks [16]uint32
	for i := range ks {
		ks[i] = uint32(k)
		k = k>>11 | (k&0x7ff)<<45
	}
	f := func(x, k uint32) uint32 {
		u := x ^ k
		s1 := uint32(boxes[1][u>>16&255])
		return uint32(boxes[0][u>>24])<<3 ^ ((s1&0x1f)<<27 | s1>>5) ^ uint32(boxes[2][u>>8&255])<<11 ^ uint32(boxes[3][u&255])<<19
	}
	l, r := uint32(v>>32), uint32(v)
	for n := range 16 {
		i := n
		if back {
			i = 15 - n
		}
		if i%2 == 0 {
			l ^= f(r, ks[i])
		} else {
			r ^= f(l, ks[i])
		}
	}
	return uint64(l)<<32 | uint64(r)
}

func TestAgainstTheDescription(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var key [8]byte
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		c, v := New(key), rng.Uint64()
		require.Equal(t, naive(key, v, false), uint64(c.encrypt(block(v))))
		require.Equal(t, naive(key, v, true), uint64(c.decrypt(block(v))))
		require.Equal(t, block(v), c.decrypt(c.encrypt(block(v))))
	}
}

func TestManyIsOneAfterTheOther(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 12 {
		var key, iv [8]byte
		store(key[:], block(rng.Uint64()))
		store(iv[:], block(rng.Uint64()))
		c, pieces, want := New(key), make([]Piece, n), make([][]byte, n)
		for i := range pieces {
			src := make([]byte, 8*rng.IntN(20))
			for j := range src {
				src[j] = byte(rng.Uint32())
			}
			want[i] = make([]byte, len(src))
			c.Encrypt(want[i], src, iv)
			pieces[i] = Piece{Dst: make([]byte, len(src)), Src: src}
		}
		c.EncryptMany(pieces, iv)
		for i := range pieces {
			require.Equal(t, want[i], pieces[i].Dst)
			back := make([]byte, len(want[i]))
			c.Decrypt(back, want[i], iv)
			require.Equal(t, pieces[i].Src, back)
		}
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	c := New([8]byte{})
	require.Panics(t, func() { c.Encrypt(make([]byte, 8), make([]byte, 16), [8]byte{}) })
	require.Panics(t, func() { c.Encrypt(make([]byte, 9), make([]byte, 9), [8]byte{}) })
	require.Panics(t, func() { c.Decrypt(make([]byte, 7), make([]byte, 7), [8]byte{}) })
}

func TestKeyIsNotPrinted(t *testing.T) {
	c := New(eight(t, "0123456789abcdef"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		require.Equal(t, "fcrypt.Cipher{...}", fmt.Sprintf(verb, c))
	}
	c.Wipe()
	require.Equal(t, Cipher{}, *c)
}

func TestAllocatesNothing(t *testing.T) {
	c, b := New([8]byte{1}), make([]byte, 1408)
	pieces := []Piece{{b, b}, {b, b}, {b, b}, {b, b}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.Encrypt(b, b, [8]byte{})
		c.Decrypt(b, b, [8]byte{})
		c.EncryptMany(pieces, [8]byte{})
	}))
}

func BenchmarkEncrypt(b *testing.B) {
	c, p := New([8]byte{1}), make([]byte, 1408)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		c.Encrypt(p, p, [8]byte{})
	}
}

func BenchmarkEncryptMany(b *testing.B) {
	c, pieces := New([8]byte{1}), make([]Piece, 9)
	for i := range pieces {
		p := make([]byte, 1408)
		pieces[i] = Piece{p, p}
	}
	b.SetBytes(9 * 1408)
	for b.Loop() {
		c.EncryptMany(pieces, [8]byte{})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	c, p := New([8]byte{1}), make([]byte, 1408)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		c.Decrypt(p, p, [8]byte{})
	}
}
