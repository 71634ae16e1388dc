package tlsstream_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// TLS is a stream like any other, whatever it stands on.
func TestStreams(t *testing.T) {
	old := &tlsstream.Config{TLS: clientConf.TLS.Clone(), PeerName: clientConf.PeerName}
	old.TLS.MaxVersion = tls.VersionTLS12
	for name, k := range map[string]struct {
		lower  func(t testing.TB) (a, b *tsocket.Stream)
		cc, sc *tlsstream.Config
		blind  bool // the lower stream cannot watch its connection
	}{
		"pipe": {lower: pipe, cc: clientConf, sc: serverConf},
		"tcp":  {lower: tcp, cc: clientConf, sc: serverConf},
		"socketpair": {lower: func(t testing.TB) (a, b *tsocket.Stream) {
			a, b, err := tsocket.SocketPair()
			require.NoError(t, err)
			closeLater(t, a, b)
			return a, b
		}, cc: clientConf, sc: serverConf},
		"tls 1.2": {lower: tcp, cc: old, sc: serverConf},
		"tls, tls": {lower: func(t testing.TB) (a, b *tsocket.Stream) {
			c, s := pipe(t)
			return secure(t, c, s)
		}, cc: clientConf, sc: serverConf},
		"net.Pipe": {lower: func(t testing.TB) (a, b *tsocket.Stream) {
			c, d := net.Pipe()
			a, b = tsocket.FromNetConn(c), tsocket.FromNetConn(d)
			closeLater(t, a, b)
			return a, b
		}, cc: clientConf, sc: serverConf, blind: true},
	} {
		t.Run(name, func(t *testing.T) {
			tstest.TestStreams(t, tstest.Streams{Pair: func(t testing.TB) (a, b *tsocket.Stream) {
				c, s := k.lower(t)
				a, b, cerr, serr := handshake(t, c, s, k.cc, k.sc)
				require.NoError(t, cerr)
				require.NoError(t, serr)
				return a, b
			}, QuietPending: true, NoMonitor: k.blind})
		})
	}
}
