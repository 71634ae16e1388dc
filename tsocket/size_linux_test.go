package tsocket

import (
	"math/bits"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// TestIdleStreamIsSmall: what a server has for each client stays within its size classes.
func TestIdleStreamIsSmall(t *testing.T) {
	if bits.UintSize == 64 {
		assert.LessOrEqual(t, int(unsafe.Sizeof(Stream{})+unsafe.Sizeof(fdStream{})), 240)
		assert.LessOrEqual(t, int(unsafe.Sizeof(seat{})), 128)
	}

	a, b, err := SocketPair()
	assert.NoError(t, err)
	defer a.Close()
	defer b.Close()
	n, err := a.TryWrite([]byte("x"))
	assert.NoError(t, err)
	assert.EqualValues(t, 1, n)
	var buf [2]byte
	_, err = b.TryRead(buf[:])
	assert.NoError(t, err)
	_, err = b.TryRead(buf[:])
	assert.ErrorIs(t, err, ErrAgain)
	for _, s := range []*Stream{a, b} {
		assert.Nil(t, s.atSides.Load(), "who only tries needs no operations")
		assert.Nil(t, s.atRequests.Load())
		assert.Nil(t, s.fd.rd.Load())
		assert.Nil(t, s.fd.wr.Load())
	}
}
