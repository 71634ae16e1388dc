//go:build linux

package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// TestBusOverTLS: the client works over streams that have no descriptor and cannot
// be tried. They end in this process, which goes on to the broker.
func TestBusOverTLS(t *testing.T) {
	cert, trust := selfSigned(t)
	bustest.Run(t, bustest.Carrier{Name: "broker, TLS", Caps: bustest.All(), New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		s := newSite(t, opt)
		front := newFront(t, s, cert)
		s.config.Stream = func(ctx context.Context) (*tsocket.Stream, error) {
			c, err := tsocket.DialUnix(ctx, tsocket.Addr{}, front.Addr())
			if err != nil {
				return nil, err
			}
			x, err := tlsstream.Client(ctx, c, &tlsstream.Config{TLS: &tls.Config{RootCAs: trust}, PeerName: "bus.test"})
			if err != nil {
				_ = c.Close()
			}
			return x, err
		}
		return s
	}})
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"bus.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	trust := x509.NewCertPool()
	trust.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, trust
}

// newFront listens, and relays between TLS and the broker of s, as long as that is
// there.
func newFront(t testing.TB, s *site, cert tls.Certificate) *tsocket.Listener {
	a, err := tsocket.UnixAddr(filepath.Join(filepath.Dir(s.path), "tls"))
	require.NoError(t, err)
	l, err := tsocket.ListenUnix(a, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	stop := s.stop
	s.stop = func() {
		assert.NoError(t, l.Close())
		stop()
		cancel()
		all.Wait()
	}
	all.Go(func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				in, err := tlsstream.Server(ctx, c, &tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
				if err != nil {
					return
				}
				defer in.Close()
				out, err := s.dial(ctx)
				if err != nil {
					return
				}
				defer out.Close()
				in.SetHalfOpen(true)
				out.SetHalfOpen(true)
				var both sync.WaitGroup
				both.Go(func() { forward(ctx, in, out) })
				forward(ctx, out, in)
				both.Wait()
			})
		}
	})
	return l
}

// forward copies until one side ends, and passes the end on.
func forward(ctx context.Context, from, to *tsocket.Stream) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.ReadSome(ctx, b)
		if err == nil {
			_, err = to.Writev(ctx, b[:n])
		}
		if err != nil {
			_ = to.CloseWrite(ctx)
			return
		}
	}
}
