package tsagent_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// A port that is bound exclusively is there at once, and nobody else can have it.
func TestExclusiveUDP(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		c := s.client(t)
		d, err := c.ExclusiveUDP(soon(t), any4())
		require.NoError(t, err)
		defer d.Close()
		port := d.LocalAddr().Port()
		require.NotZero(t, port)
		_, err = c.ExclusiveUDP(soon(t), local4(port))
		assert.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = c.UDP(soon(t), local4(port), tsocket.Addr{})
		assert.ErrorIs(t, err, syscall.EADDRINUSE, "nor with SO_REUSEADDR")
		_, err = c.ExclusiveUDP(soon(t), tsocket.MustAddr(tsocket.UnixAddr("/x")))
		assert.ErrorIs(t, err, syscall.EINVAL)
	})
}
