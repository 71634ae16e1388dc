package proto

import (
	"math/rand/v2"
	"testing"
)

// TestAnything is the fuzz target with inputs of a generator: a small part of what the fuzzer tries,
// every time.
func TestAnything(t *testing.T) {
	n := uint64(400)
	if testing.Short() || raceDetector {
		n = 50
	}
	for seed := range n {
		r := rand.New(rand.NewPCG(seed, 3))
		input := make([]byte, 200+r.IntN(3000))
		for i := range input {
			input[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				input[i] = []byte{0, 128, 1, 129, 10, 138, 12, 140, 13, 141, 15, 143}[r.IntN(12)]
			}
		}
		fuzzOnce(t, input)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
