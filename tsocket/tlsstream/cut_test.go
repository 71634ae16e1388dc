package tlsstream_test

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

type begin = func(t testing.TB, s *tsocket.Stream) *tsocket.Request[*tsocket.Stream]

// sides are the two of a handshake, each first against the other.
var sides = map[string][2]begin{
	"client": {beginClient, beginServer},
	"server": {beginServer, beginClient},
}

func beginClient(t testing.TB, s *tsocket.Stream) *tsocket.Request[*tsocket.Stream] {
	return tlsstream.ClientSend(soon(t), s, clientConf)
}

func beginServer(t testing.TB, s *tsocket.Stream) *tsocket.Request[*tsocket.Stream] {
	return tlsstream.ServerSend(soon(t), s, serverConf)
}

// eachByte calls do with how many bytes of the peer a handshake gets, until that
// is enough. Under the race detector it leaves some out.
func eachByte(t *testing.T, do func(n int) (enough bool)) {
	step := 1
	if raceEnabled {
		step = 13
	}
	n := 0
	for ; n < 10_000; n += step {
		if do(n) {
			require.Greater(t, n, 50, "there was a handshake")
			return
		}
	}
	require.Fail(t, "no handshake is that long")
}

// A handshake whose peer vanishes after any of its bytes fails with EPIPE.
func TestHandshakeCutAnywhere(t *testing.T) {
	for name, side := range sides {
		t.Run(name, func(t *testing.T) {
			eachByte(t, func(n int) bool {
				c, s := pipe(t)
				f, _ := tstest.Faulty(c, n, true)
				closeLater(t, f)
				other := side[1](t, s)
				own, err := side[0](t, f).Wait(soon(t))
				_ = f.Close()
				peer, _ := other.Wait(soon(t))
				for _, x := range []*tsocket.Stream{own, peer} {
					if x != nil {
						_ = x.Close()
					}
				}
				if err == nil {
					return true
				}
				require.Equal(t, syscall.EPIPE, tsocket.Errno(err), "%d: %v", n, err)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, n)
				return false
			})
		})
	}
}

// One that is given up after any of the peer's bytes ends, and leaves the plain
// stream to its owner.
func TestHandshakeCancelledAnywhere(t *testing.T) {
	for name, side := range sides {
		t.Run(name, func(t *testing.T) {
			eachByte(t, func(n int) bool {
				c, s := pipe(t)
				f, reached := tstest.Faulty(c, n, false)
				closeLater(t, f)
				other := side[1](t, s)
				own := side[0](t, f)
				select {
				case <-reached:
				case <-own.Done():
				}
				done := !own.Cancel()
				x, err := own.Wait(soon(t))
				if done {
					require.NoError(t, err)
					_, _ = x.Close(), other.Cancel()
				} else {
					require.Equal(t, syscall.ECANCELED, tsocket.Errno(err), "%d: %v", n, err)
					_, err = f.Writev(soon(t), []byte("it is open"))
					require.NoError(t, err, n)
				}
				other.Cancel()
				if y, _ := other.Wait(soon(t)); y != nil {
					_ = y.Close()
				}
				_, _ = f.Close(), s.Close()
				return done
			})
		})
	}
}
