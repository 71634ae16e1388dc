package tsagent_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Connections that are made at the same time all get what they have asked for: the window of each is its own.
func TestConnectionsMadeAtTheSameTime(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		const streams = 32
		c := s.client(t)
		lis, err := c.ListenTCP(soon(t), local4(0), nil)
		require.NoError(t, err)
		defer lis.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			for range streams {
				in, err := lis.Accept(soon(t))
				if !assert.NoError(t, err) {
					return
				}
				wg.Go(func() {
					b := make([]byte, 4)
					_, err := in.Readv(soon(t), b)
					assert.NoError(t, err)
					_, err = in.Writev(soon(t), b)
					assert.NoError(t, err)
					assert.NoError(t, in.Close())
				})
			}
		})
		for range streams {
			wg.Go(func() {
				out, err := c.DialTCP(soon(t), any4(), lis.Addr())
				if !assert.NoError(t, err) {
					return
				}
				_, err = out.Writev(soon(t), []byte("ping"))
				assert.NoError(t, err)
				_, err = out.Readv(soon(t), make([]byte, 4))
				assert.NoError(t, err)
				assert.NoError(t, out.Close())
			})
		}
		wg.Wait()
	})
}
