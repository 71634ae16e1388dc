package sim

import (
	"math/rand/v2"
	"time"
)

// An rng is a source of chance that depends on a seed and on what it is for, so that drawing
// more of one thing does not change another.
type rng struct{ *rand.Rand }

func newRNG(seed, purpose uint64) *rng { return &rng{rand.New(rand.NewPCG(seed, mix(purpose)))} }

func (r *rng) chance(p float64) bool { return r.Float64() < p }

func (r *rng) int64n(n int64) int64 { return r.Int64N(n) }

// between returns a number from lo to hi, both included.
func (r *rng) between(lo, hi int) int { return lo + r.IntN(hi-lo+1) }

func (r *rng) duration(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.Int64N(int64(hi-lo)+1))
}

// Read makes it the Config.Rand of an endpoint.
func (r *rng) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

// mix is the finaliser of splitmix64: every bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
