package tlsstream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// Whatever comes first, a server and a client end with an error that has an
// errno, and leave the stream alone.
func FuzzServer(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) == 0 || len(said) > 32<<10 {
			return
		}
		wire, s := pipe(t)
		_, err := wire.Writev(soon(t), said)
		require.NoError(t, err)
		require.NoError(t, wire.CloseWrite(soon(t)))
		s.SetHalfOpen(true)
		server, client := tlsstream.Server, tlsstream.Client
		for _, do := range []func() (*tsocket.Stream, error){
			func() (*tsocket.Stream, error) { return server(soon(t), s, serverConf) },
			func() (*tsocket.Stream, error) { return client(soon(t), s, clientConf) },
		} {
			_, err := do()
			require.Error(t, err)
			require.NotZero(t, tsocket.Errno(err))
		}
		require.NoError(t, s.Disconnect(soon(t)))
	})
}
