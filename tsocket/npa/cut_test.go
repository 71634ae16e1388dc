package npa_test

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

type begin = func(t testing.TB, s *tsocket.Stream) *tsocket.Request[*tsocket.Stream]

// sides are the two of a handshake, each first against the other.
var sides = map[string][2]begin{
	"client": {beginClient, beginServer},
	"server": {beginServer, beginClient},
}

func beginClient(t testing.TB, s *tsocket.Stream) *tsocket.Request[*tsocket.Stream] {
	return tsocket.Go(soon(t), "connect", func(ctx context.Context) (*tsocket.Stream, error) {
		c, _, err := npa.ConnectStream(ctx, s, &sample)
		return c, err
	})
}

func beginServer(t testing.TB, s *tsocket.Stream) *tsocket.Request[*tsocket.Stream] {
	return tsocket.Go(soon(t), "accept", func(ctx context.Context) (*tsocket.Stream, error) {
		c, _, err := npa.Accept(ctx, s, nil)
		return c, err
	})
}

// A handshake whose peer vanishes after any of its bytes fails with EPIPE; one that
// is given up there ends.
func TestHandshakeStoppedAnywhere(t *testing.T) {
	for name, side := range sides {
		for _, cut := range []bool{true, false} {
			t.Run(name+map[bool]string{true: " cut off", false: " cancelled"}[cut], func(t *testing.T) {
				n := 0
				for enough := false; !enough; n++ {
					c, s := memory(t)
					f, reached := tstest.Faulty(c, n, cut)
					closeLater(t, f)
					other, own := side[1](t, s), side[0](t, f)
					select {
					case <-reached:
					case <-own.Done():
					}
					if !cut {
						own.Cancel()
					}
					x, err := own.Wait(soon(t))
					if enough = err == nil; enough {
						require.NoError(t, x.Close())
					} else if cut {
						require.Equal(t, syscall.EPIPE, tsocket.Errno(err), "%d: %v", n, err)
						require.True(t, errorIs(err, io.EOF, io.ErrUnexpectedEOF), "%d: %v", n, err)
					} else {
						require.Equal(t, syscall.ECANCELED, tsocket.Errno(err), "%d: %v", n, err)
					}
					other.Cancel()
					if y, _ := other.Wait(soon(t)); y != nil {
						_ = y.Close()
					}
					_, _ = f.Close(), s.Close()
				}
				require.Greater(t, n, 20, "there was a handshake")
			})
		}
	}
}

func errorIs(err error, any ...error) bool {
	for _, e := range any {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
